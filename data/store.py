"""Writes faces.arrow, one record batch, so that its image column is one array that maps into memory."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data.duplicates import Copy
from data.schema import QUARANTINE_FILE, Rejected, arrow_schema

_RUN = 32  # rows copied at once


def write_faces(path: Path, raw: Path, kept: Sequence[Copy], size: int) -> str:
    """Write the kept rows of `raw` ([n, size, size, 3] uint8) and their labels as Arrow IPC at `path`.

    Returns the SHA-256 (hex) of the file. What lies in memory doesn't grow with the data set.
    """
    import pyarrow as pa

    schema = arrow_schema(size)
    records = [copy.record for copy in kept]
    stride = size * size * 3
    pixels: NDArray[np.uint8] = np.memmap(raw, np.uint8, mode="r")[: len(kept) * stride]
    column = [None, pa.py_buffer(pixels)]
    columns = [
        pa.array(range(len(kept)), pa.int64()),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(stride), len(kept), column),
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
    with path.open("wb", buffering=0) as file, raw.open("rb") as source:
        sink = _Sink(file, source, [copy.row for copy in kept], stride, pixels.ctypes.data)
        with pa.PythonFile(sink, "w") as out, pa.ipc.new_file(out, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
    assert sink.copied, "Arrow did not hand over the image column as it was given"
    return sink.digest.hexdigest()


class _Sink:
    """A file that hashes what it is given, and has the kept rows of `source` for the buffer at `address`.

    The image column is thus written without bringing its rows together first, and without a page fault for
    every 4 KiB of it.
    """

    def __init__(self, file: BinaryIO, source: BinaryIO, rows: list[int], stride: int, address: int) -> None:
        self.digest = hashlib.sha256()
        self.copied = False
        self.closed = False
        self._file, self._source, self._rows = file, source, rows
        self._stride, self._address = stride, address

    def write(self, data: Any) -> int:
        if getattr(data, "address", None) == self._address:
            self._copy()
        else:
            self._put(memoryview(data))
        return len(data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def _copy(self) -> None:
        block = memoryview(bytearray(_RUN * self._stride))
        for first, count in _runs(self._rows):
            self._source.seek(first * self._stride)
            self._put(block[: self._source.readinto(block[: count * self._stride])])  # type: ignore[attr-defined]
        self.copied = True

    def _put(self, data: memoryview) -> None:
        self.digest.update(data)
        while data:
            data = data[self._file.write(data) :]


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the number of consecutive rows, at most _RUN at a time."""
    first = count = 0
    for row in rows:
        if count and (row != first + count or count == _RUN):
            yield first, count
            count = 0
        first, count = (first, count + 1) if count else (row, 1)
    if count:
        yield first, count


def write_quarantine(folder: Path, rejected: Sequence[Rejected]) -> None:
    """Write quarantine.csv (source, reason), sorted by source."""
    with (folder / QUARANTINE_FILE).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "reason"])
        writer.writerows(sorted((r.source, r.reason) for r in rejected))


def content_hash(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
