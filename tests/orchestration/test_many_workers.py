"""Several workers give the numbers of one: real processes, gloo, uneven shares, missing genders."""

import gc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from data.feature_store import open_pass
from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.kept import KeptFeatures
from orchestration.training import Training

CLOCK = ("train/seconds", "train/images_per_second")

Result = tuple[list[dict[str, float]], Tensor, dict[str, Tensor]]


def _trained(run: RunConfig, inputs: Inputs, folder: Path) -> Result:
    torch.set_num_threads(1)
    training = Training(run, inputs, torch.device("cpu"))
    kept = KeptFeatures(run, str(folder), 0, inputs.fingerprint)
    lines = []
    for epoch in range(1, run.train.epochs + 1):
        lines.append(training.step())
        kept.after_epoch(epoch, False, training.position, training.workers)
    exchange = training.position.exchange
    assert exchange is not None and exchange.next is not None
    return lines, exchange.next.features, training.network.state_dict()


def _worker(rank: int, count: int, folder: str, run: RunConfig, inputs: Inputs) -> None:
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=count)
    torch.save(_trained(run, inputs, Path(folder)), f"{folder}/{rank}.pt")
    gc.collect()  # DistributedDataParallel is in reference cycles
    dist.barrier()  # no worker hangs up on one that still listens
    dist.destroy_process_group()
    # Gloo's threads outlive their group once DistributedDataParallel was built on it. One that asks for the
    # interpreter while that shuts down ends the process with SIGABRT, so it is not shut down.
    os._exit(0)


def _together(count: int, folder: Path, run: RunConfig, inputs: Inputs) -> list[Result]:
    folder.mkdir()
    mp.spawn(_worker, (count, str(folder), run, inputs), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(count)]


def _require_close(one: Result, other: Result, tolerance: float) -> None:
    for line, same in zip(one[0], other[0], strict=True):
        assert line.keys() == same.keys()
        for key in line.keys() - set(CLOCK):
            assert line[key] == pytest.approx(same[key], abs=tolerance), key
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=tolerance)
    for key, value in one[2].items():
        torch.testing.assert_close(value, other[2][key], rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("count", "precision", "epochs", "batch_size", "tolerance", "references"),
    [
        # 180 rows: shares of 21 and 20, a last batch of 16.
        (2, "float64", 3, 41, 1e-6, {"name": "min_error"}),
        # The last batch of 2 has a share for one worker only.
        (3, "float64", 3, 89, 1e-6, {"name": "min_error", "exclude_self": True}),
        (2, "float32", 2, 41, 1e-4, {"name": "min_error"}),
        # Batches so small that one worker gets most samples of a pass.
        (3, "float64", 1, 3, 1e-6, {"name": "min_error"}),
        (2, "float64", 2, 41, 1e-6, {"name": "medoid", "source": "clean_pass"}),
        (2, "float64", 2, 41, 1e-6, {"name": "class_mean", "ema": 0.5}),
        (2, "float64", 2, 41, 1e-6, {"name": "error_weighted", "refresh": "on_improvement"}),
    ],
)
def test_several_workers_give_the_numbers_of_one(
    config: Callable[..., RunConfig],
    prepared: Callable[..., Inputs],
    weights: Path,
    tmp_path: Path,
    count: int,
    precision: str,
    epochs: int,
    batch_size: int,
    tolerance: float,
    references: dict[str, Any],
) -> None:
    values: dict[str, Any] = {
        "model.backbone.weights": str(weights),
        "model.train_backbone": False,
        "model.neck.name": "mlp",
        "model.neck.width": 16,
        "train.precision": precision,
        "train.epochs": epochs,
        "train.batch_size": batch_size,
        "optimizer.weight_decay": 0.01,
        **{f"references.{key}": value for key, value in references.items()},
    }
    run = config(values)
    inputs = prepared(run)
    alone = _trained(run, inputs, tmp_path / "alone")
    ranks = _together(count, tmp_path / "group", run, inputs)
    for result in ranks:
        _require_close(alone, result, tolerance)
    for key, value in ranks[0][2].items():
        assert all(torch.equal(value, other[2][key]) for other in ranks[1:]), key


def test_a_face_that_two_workers_draw_counts_once_with_what_was_last_seen_of_it(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path, tmp_path: Path
) -> None:
    run = config(
        {
            "model.backbone.weights": str(weights),
            "model.train_backbone": False,
            "model.neck.name": "mlp",
            "model.neck.width": 16,
            "data.sampling": "inverse_sqrt",
            "features.keep": "every_n",
            "features.keep_every": 2,
            "train.precision": "float64",
            "train.epochs": 2,
            "train.batch_size": 41,
            "references.name": "class_mean",
        }
    )
    inputs = prepared(run)
    alone = _trained(run, inputs, tmp_path / "alone")
    ranks = _together(2, tmp_path / "group", run, inputs)
    for result in ranks:
        _require_close(alone, result, 1e-6)
    one, two = (open_pass(tmp_path / name / "features", 2) for name in ("alone", "group"))
    assert len(two.shards) == 2
    order = np.argsort(two.column("sample_id"))
    expected = np.argsort(one.column("sample_id"))
    for name in ("sample_id", "predicted_age", "feature"):
        np.testing.assert_allclose(two.column(name)[order], one.column(name)[expected], atol=1e-5)
