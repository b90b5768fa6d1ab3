"""Writes faces.arrow, one record batch, so that its image column is one array that maps into memory."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.duplicates import Copy
from data.schema import QUARANTINE_FILE, Rejected, arrow_schema

_BLOCK = 1 << 22


def write_faces(path: Path, raw: Path, kept: Sequence[Copy], size: int) -> None:
    """Write the kept rows of `raw` ([n, size, size, 3] uint8) and their labels as Arrow IPC at `path`.

    `raw` is compacted in place and memory-mapped: what lies in memory doesn't grow with the data set.
    """
    import pyarrow as pa

    schema = arrow_schema(size)
    records = [copy.record for copy in kept]
    columns = [
        pa.array(range(len(kept)), pa.int64()),
        _image_column(raw, [copy.row for copy in kept], size),
        pa.array([r.age for r in records], pa.float32()),
        *(
            pa.array([getattr(r, name) for r in records], pa.string())
            for name in ("gender", "identity", "ethnicity", "split", "source")
        ),
        pa.array([copy.file_hash for copy in kept], pa.string()),
        *(
            pa.array([getattr(r, name) for r in records], pa.float32())
            for name in ("apparent_age", "apparent_age_sd")
        ),
    ]
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))


def _image_column(raw: Path, rows: list[int], size: int) -> Any:
    import pyarrow as pa

    stride = size * size * 3
    pixels: NDArray[np.uint8] = np.memmap(raw, np.uint8, mode="r+").reshape(-1, stride)
    for target, row in enumerate(rows):  # rows ascend, so no row is overwritten before it is moved
        if target != row:
            pixels[target] = pixels[row]
    buffers = [None, pa.py_buffer(pixels[: len(rows)])]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(stride), len(rows), buffers)


def write_quarantine(folder: Path, rejected: Sequence[Rejected]) -> None:
    """Write quarantine.csv (source, reason), sorted by source."""
    with (folder / QUARANTINE_FILE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "reason"])
        writer.writerows(sorted((r.source, r.reason) for r in rejected))


def content_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
