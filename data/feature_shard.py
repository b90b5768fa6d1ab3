"""One worker's samples of one pass over the training data, as a file: its columns and its labels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import DataError
from data.feature_file import PASS, open_batch, write_batch
from data.feature_folder import epoch_name, shard_name

FORMAT_VERSION = 1
# train_pass: what the network saw while it learnt; clean_pass: seen again, in eval mode, at the epoch's end.
Source = Literal["train_pass", "clean_pass"]
COLUMNS: dict[str, type[np.generic]] = {
    "sample_id": np.int64,
    "age": np.float32,
    "predicted_age": np.float32,
    "gender": np.int8,
    "feature": np.float32,
}
_REMEDY = "Remove it: the epoch's other attempts can then be read."


@dataclass(frozen=True)
class Shard:
    """What worker `worker` of `workers` saw in attempt `attempt` at epoch `epoch`, in the order seen.

    fingerprint: of the data set that sample_id counts in. sample_id: [n] int64. age, predicted_age: [n]
    float32 years. gender: [n] int8, 0 male, 1 female, −1 unknown. feature: [n, c] float32. Other widths of
    the same kinds are taken and stored as these. A shard that was opened has read-only arrays that lie in
    the mapped file.
    """

    epoch: int
    attempt: int
    worker: int
    workers: int
    fingerprint: str
    source: Source
    sample_id: NDArray[Any]
    age: NDArray[Any]
    predicted_age: NDArray[Any]
    gender: NDArray[Any]
    feature: NDArray[Any]

    @property
    def error(self) -> NDArray[np.float32]:
        """[n] |predicted_age − age| in years, as the file's column `error` has it."""
        difference = self.predicted_age.astype(np.float32, copy=False) - self.age.astype(
            np.float32, copy=False
        )
        return np.abs(difference)

    @property
    def path(self) -> str:
        """Where the shard lies in a run's features folder."""
        return f"{epoch_name(self.epoch)}/{shard_name(self.attempt, self.worker, self.workers)}"


def write_shard(folder: Path, shard: Shard) -> Path:
    """Write `shard` whole under `folder`, a run's features folder; return its file, readable by its owner.

    A shard of the same epoch, attempt, worker and workers is replaced. Raises ValueError where arrays
    disagree, MachineError for a full disk.
    """
    kept = _checked(shard)
    values = pa.array(np.ascontiguousarray(kept.feature).reshape(-1))
    columns = {
        **{name: pa.array(getattr(kept, name)) for name in ("sample_id", "age", "predicted_age")},
        "error": pa.array(kept.error),
        "gender": pa.array(kept.gender),
        "feature": pa.FixedSizeListArray.from_arrays(values, kept.feature.shape[1]),
    }
    metadata = {name: getattr(kept, name) for name in _labels()}
    path = folder / kept.path
    write_batch(path, columns, PASS, {"format_version": FORMAT_VERSION, **metadata})
    return path


def open_shard(path: Path) -> tuple[Shard, Any]:
    """Return the shard at `path`, mapped and not read, and its Arrow batch.

    Raises DataError for a missing or truncated file, another kind of file, another format version, and a
    file that lies under another shard's name.
    """
    batch, metadata = open_batch(path, PASS, FORMAT_VERSION, "shard of a pass", _REMEDY)
    try:
        channels = batch.schema.field("feature").type.list_size
        arrays = {name: batch.column(name) for name in COLUMNS}
        arrays["feature"] = arrays["feature"].flatten()
        views = {name: array.to_numpy(zero_copy_only=True) for name, array in arrays.items()}
        views["feature"] = views["feature"].reshape(batch.num_rows, channels)
        shard = Shard(**{name: metadata[name] for name in _labels()}, **views)
    except (KeyError, AttributeError, TypeError, ValueError, pa.ArrowInvalid):
        raise DataError(f"{path} is not a whole shard of a pass. {_REMEDY}") from None
    if Path(shard.path) != Path(path.parent.name, path.name):
        raise DataError(f"{path} is the shard {shard.path} under another name. {_REMEDY}")
    return shard, batch


def _labels() -> list[str]:
    """The fields that go to the metadata."""
    return [field.name for field in fields(Shard) if field.name not in COLUMNS]


def _checked(shard: Shard) -> Shard:
    """The shard with arrays as they are stored. Raises ValueError."""
    if not (0 <= shard.worker < shard.workers and shard.epoch >= 0 and shard.attempt >= 0):
        raise ValueError(f"no shard can be called {shard.path}")
    if shard.source not in get_args(Source):
        raise ValueError(f"source must be one of {get_args(Source)}. Received: {shard.source!r}")
    count = len(shard.sample_id)
    stored: dict[str, Any] = {}
    for name, dtype in COLUMNS.items():
        array = np.asarray(getattr(shard, name))
        dimensions = 2 if name == "feature" else 1
        if (
            array.ndim != dimensions
            or len(array) != count
            or not np.can_cast(array.dtype, dtype, "same_kind")
        ):
            raise ValueError(
                f"{name} must be {'[n, c]' if dimensions == 2 else '[n]'} {dtype.__name__} with n = {count}. "
                f"Received: {array.shape} {array.dtype}"
            )
        stored[name] = array
    if not stored["feature"].shape[1]:
        raise ValueError("feature must have at least one channel")
    if not np.isin(stored["gender"], (-1, 0, 1)).all():
        raise ValueError("gender must be 0, 1 or −1")
    if not np.isfinite(stored["age"]).all():
        raise ValueError("age must be finite")
    stored = {name: array.astype(COLUMNS[name], copy=False) for name, array in stored.items()}
    return replace(shard, **stored)
