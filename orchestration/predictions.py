"""Predictions of a run's best epoch as Parquet: written whole, read with their origin, joined with the faces.

Names no person: `sample_id` is the row in the data set whose fingerprint the file carries. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.errors import DataError
from data.faces import Faces
from data.schema import GENDERS
from orchestration.errors import UserError
from orchestration.storage import Storage

FORMAT_VERSION = 1
FOLDER = "predictions"  # below a run's folder: val.parquet, test.parquet, calibration.parquet
_KEY = b"rapl.predictions"

_REQUIRED = ("sample_id", "age", "predicted_age", "position_age", "gender", "female_probability")


@dataclass(frozen=True)
class Origin:
    """What predictions are of: the part of which split of which data set, by which run at which epoch."""

    part: str
    data: str
    fingerprint: str
    protocol: dict[str, Any]  # the settings that decide the split
    split_hash: str
    age_head: dict[str, Any]  # its name, and how it is decoded where that can be chosen
    identity: str
    seed: int
    epoch: int


@dataclass(frozen=True)
class Predictions:
    """A part's predictions, a row for each sample in the order of `sample_id`.

    Columns: sample_id int64; age (true) and predicted_age in years; position_age, the label in years at the
    likeliest position, null where there is none; gender M, F or null; female_probability, null without a
    gender head; and what the age head knows of its spread: `sd` in years, or quantiles such as `q05`.
    """

    origin: Origin
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> NDArray[Any]:
        """A column of numbers [n]; NaN where a value is null."""
        values: NDArray[Any] = self.table.column(name).to_numpy()
        return values

    @property
    def spread(self) -> list[str]:
        """Names of the columns that say how sure the age head is."""
        return [name for name in self.table.column_names if name not in _REQUIRED]


def from_columns(origin: Origin, columns: Mapping[str, NDArray[Any]]) -> Predictions:
    """Predictions of numpy columns [n]; `gender` are codes, NaN in another column is null."""
    order = np.argsort(columns["sample_id"])
    made: dict[str, pa.Array] = {}
    for name, values in columns.items():
        ordered = values[order]
        if name == "sample_id":
            made[name] = pa.array(ordered, pa.int64())
        elif name == "gender":
            letters = [GENDERS[int(code)] if code >= 0 else None for code in ordered]
            made[name] = pa.array(letters, pa.string())
        else:
            made[name] = pa.array(ordered, pa.float64(), from_pandas=True)
    return Predictions(origin, pa.table(made))


def write(storage: Storage, predictions: Predictions) -> None:
    """Write predictions below a run's folder, whole. Raises MachineError."""
    said = json.dumps({"format_version": FORMAT_VERSION, **asdict(predictions.origin)}, sort_keys=True)
    sink = pa.BufferOutputStream()
    pq.write_table(predictions.table.replace_schema_metadata({_KEY: said}), sink, compression="zstd")
    storage.put(_name(predictions.origin.part), sink.getvalue().to_pybytes())


def read(storage: Storage, part: str) -> Predictions | None:
    """The predictions of a part, or None where a run has none. Raises UserError for any other file."""
    data = storage.get(_name(part))
    if data is None:
        return None
    path = storage.address(_name(part))
    try:
        table = pq.read_table(pa.BufferReader(data))
        said = json.loads((table.schema.metadata or {})[_KEY])
        version = said.pop("format_version")
        missing = [name for name in _REQUIRED if name not in table.column_names]
    except (pa.ArrowInvalid, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a file of predictions: {type(error).__name__}") from None
    if version != FORMAT_VERSION or missing:
        lacks = f", which lacks {', '.join(missing)}" if missing else ""
        raise UserError(f"{path}: format version {version!r}{lacks}; this code reads {FORMAT_VERSION}")
    return Predictions(Origin(**said), table.replace_schema_metadata(None))


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """The test parts of several folds as one, in the order of sample_id; an image in two of them counts once.

    The origin is the first part's.
    """
    table = pa.concat_tables([part.table for part in parts])
    _, first = np.unique(table.column("sample_id").to_numpy(), return_index=True)
    return Predictions(parts[0].origin, table.take(pa.array(first)))


def _name(part: str) -> str:
    return f"{FOLDER}/{part}.parquet"


def join(predictions: Predictions, faces: Faces) -> pa.Table:
    """The table with what the data set knows besides: gender, ethnicity and identity, null where unknown.

    Raises DataError if `faces` is not the data set that was predicted.
    """
    if faces.fingerprint != predictions.origin.fingerprint:
        raise DataError(
            f"{faces.root}: these are predictions of {predictions.origin.data} with fingerprint"
            f" {predictions.origin.fingerprint[:12]}; the data set there has {faces.fingerprint[:12]}"
        )
    table = predictions.table
    rows = table.column("sample_id")
    for name in ("gender", "ethnicity", "identity"):
        found = faces.column(name).take(rows)
        if name in table.column_names:
            table = table.drop_columns(name)
        table = table.append_column(name, found)
    return table
