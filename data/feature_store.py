"""The features of one pass over the training data: what all workers recorded at one epoch, as one.

Only complete attempts are read (data/feature_folder.py), so what a lost worker left behind never mixes with
what came after.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import DataError
from data.feature_file import PASS
from data.feature_folder import attempts, complete, contents, epoch_name, epochs
from data.feature_shard import COLUMNS, FORMAT_VERSION, Shard, Source, open_shard, write_shard

__all__ = ["FORMAT_VERSION", "FeaturePass", "Shard", "Source", "epochs", "open_pass", "write_shard"]


@dataclass(frozen=True, eq=False)
class FeaturePass:
    """The shards of one attempt, `shards[i]` from worker i, mapped and not copied; `folder` is the epoch's.

    A sample counts once: seen twice by its worker, the last counts. Every method leaves out what does not
    count, except `shards`, which shows the files as they are.
    """

    folder: Path
    shards: tuple[Shard, ...]
    batches: tuple[Any, ...]  # the shards' Arrow batches

    @property
    def channels(self) -> int:
        """Width of a feature."""
        return int(self.shards[0].feature.shape[1])

    def __len__(self) -> int:
        """Return how many samples count. Raises DataError as `rows` does."""
        return len(self.rows())

    def rows(self) -> NDArray[np.int64]:
        """Return [m, 2] the (shard, row) of every sample that counts, ascending.

        Raises DataError where two workers saw the same sample.
        """
        return self._rows

    def column(self, name: str) -> NDArray[Any]:
        """Return [m] (`feature`: [m, c]) a column of the samples that count, in the order of `rows`: a copy.

        To go through features without a copy, index `shards[i].feature`.
        """
        if name != "error" and name not in COLUMNS:
            raise ValueError(f"no column {name!r}; there are {', '.join([*COLUMNS, 'error'])}")
        return np.concatenate(
            [getattr(shard, name)[self._counting(i)] for i, shard in enumerate(self.shards)]
        )

    def ages(self) -> NDArray[np.float32]:
        """Return [m] ages in years, in the order of `rows`."""
        return self.column("age")

    def errors(self) -> NDArray[np.float32]:
        """Return [m] |predicted age − age| in years, in the order of `rows`; NaN where the prediction is."""
        return self.column("error")

    def table(self) -> Any:
        """Return the samples that count as a pyarrow Table over the mapped files, without a copy.

        Each unbroken run of rows that count is one chunk: a shard without repeats is one chunk, one with k
        repeats at most k + 1. Its metadata is the shards' without `worker`.
        """
        schema = self.batches[0].schema
        common = json.loads(schema.metadata[PASS])
        del common["worker"]
        schema = schema.with_metadata({PASS: json.dumps(common).encode()})
        parts = []
        for i, batch in enumerate(self.batches):
            rows = self._counting(i)
            for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
                if len(run):
                    parts.append(batch.slice(int(run[0]), len(run)).replace_schema_metadata(schema.metadata))
        return pa.Table.from_batches(parts, schema)

    def _counting(self, shard: int) -> NDArray[np.int64]:
        """The rows of one shard that count, ascending."""
        first, last = np.searchsorted(self._rows[:, 0], (shard, shard + 1))
        return self._rows[first:last, 1]

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        kept = [_last_rows(shard.sample_id) for shard in self.shards]
        ids = np.concatenate([shard.sample_id[rows] for shard, rows in zip(self.shards, kept, strict=True)])
        owner = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
        order = np.argsort(ids, kind="stable")
        twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
        if len(twice):
            one, other = owner[order[twice[0]]], owner[order[twice[0] + 1]]
            raise DataError(
                f"{self.folder}: sample {ids[order[twice[0]]]} is in the shards of workers {one} and {other} "
                f"({len(twice):,} such samples); each sample belongs to one worker"
            )
        rows = np.stack([owner, np.concatenate(kept)], axis=1)
        rows.flags.writeable = False
        return rows


def open_pass(folder: Path, epoch: int, attempt: int | None = None) -> FeaturePass:
    """Return the pass at `epoch` in `folder`, a run's features folder, mapped and not read.

    By default the highest attempt that is complete. Raises DataError, saying what is there, where none is,
    and for shards that are damaged or don't belong together.
    """
    place = folder / epoch_name(epoch)
    found = attempts(place)
    whole = [number for number, shards in found.items() if complete(shards)]
    if not whole or (attempt is not None and attempt not in whole):
        wanted = "no complete attempt" if attempt is None else f"no complete attempt {attempt}"
        raise DataError(f"{place} holds {wanted}: {contents(place)}")
    opened = [open_shard(path) for path in found[max(whole) if attempt is None else attempt]]
    shards = tuple(shard for shard, _ in opened)
    for label in ("fingerprint", "source"):
        _same(place, label, [getattr(shard, label) for shard in shards])
    _same(place, "channels", [shard.feature.shape[1] for shard in shards])
    return FeaturePass(place, shards, tuple(batch for _, batch in opened))


def _last_rows(sample_id: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows, ascending, that no later row of the same id follows."""
    _, from_end = np.unique(sample_id[::-1], return_index=True)
    return np.sort(len(sample_id) - 1 - from_end)


def _same(place: Path, label: str, values: list[Any]) -> None:
    if len(set(values)) > 1:
        raise DataError(f"{place}: the workers' shards differ in {label}: {', '.join(map(str, values))}")
