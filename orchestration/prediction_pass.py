"""What a part's pass predicts, sample by sample, gathered over the workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.network import Network, Outputs
from orchestration.batches import Batch
from orchestration.workers import Workers

_NAMES = ("sample_id", "age", "predicted_age", "position_age", "gender", "female_probability")


def predicted(network: Network, outputs: Outputs) -> dict[str, Tensor]:
    """What a network says of b faces, [b] float64 each: age and position age in years, the probability of
    female, and the age head's spread; NaN where there is no such head or it is not ready."""
    age = network.predict_age(outputs).double()
    unknown = torch.full_like(age, torch.nan)
    position_age = network.predict_position_age(outputs)
    found = {
        "predicted_age": age,
        "position_age": unknown if position_age is None else position_age.double(),
        "female_probability": unknown if outputs.gender is None else outputs.gender.double().softmax(1)[:, 1],
    }
    spread = network.age_head.spread(outputs.age).double()
    return found | dict(zip(network.age_head.spread_names, spread.unbind(1), strict=True))


class PredictionPass:
    """Collects what `predictions` stores: this worker's share by `add`, the part's by `columns`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._names = (*_NAMES, *network.age_head.spread_names)
        self._rows = [network.labels.new_empty((0, len(self._names)), dtype=torch.float64)]

    def add(self, batch: Batch, outputs: Outputs) -> None:
        """Keep a batch's predictions."""
        known = {
            "sample_id": batch.sample_id.double(),
            "age": batch.age.double(),
            "gender": batch.gender.double(),
            **predicted(self._network, outputs),
        }
        self._rows.append(torch.stack([known[name] for name in self._names], 1))

    def columns(self, rows: NDArray[np.int64], workers: Workers) -> dict[str, NDArray[Any]]:
        """The columns of the whole part [n], in no order; `rows` are its samples. Every worker gets them.

        Raises RuntimeError unless each of `rows` was predicted exactly once.
        """
        mine = torch.cat(self._rows)
        # Shares differ by a row, and a gather wants one shape: what a short one lacks is marked by its id.
        padded = mine.new_full((-(-len(rows) // workers.count), len(self._names)), -1.0)
        padded[: len(mine)] = mine
        whole = torch.cat(workers.gather(padded)).cpu().numpy()
        whole = whole[whole[:, 0] >= 0]
        found: dict[str, NDArray[Any]] = {name: whole[:, i] for i, name in enumerate(self._names)}
        for name in ("sample_id", "gender"):
            found[name] = found[name].astype(np.int64)
        if not np.array_equal(np.sort(found["sample_id"]), np.sort(rows)):
            raise RuntimeError(f"{len(whole)} predictions of {len(rows)} samples: not each of them once")
        return found
