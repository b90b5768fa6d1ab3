"""Makes faces.arrow, one record batch, so that its image column is one array that maps into memory."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from data.duplicates import Copy
from data.raw import Raw
from data.schema import QUARANTINE_FILE, Rejected, arrow_schema

_RUN = 32  # rows copied at once


def write_faces(raw: Raw, kept: Sequence[Copy]) -> str:
    """Make Arrow IPC of `raw`, where it lies: the kept rows, in this order, and their labels.

    Returns the SHA-256 (hex) of the file. What lies in memory doesn't grow with the data set. A run that is
    killed here has rows that aren't as its journal notes, and decodes those again.
    """
    import pyarrow as pa

    schema = arrow_schema(raw.size)
    records = [copy.record for copy in kept]
    pixels = raw.map()[: len(kept)]
    column = [None, pa.py_buffer(pixels)]
    columns = [
        pa.array(range(len(kept)), pa.int64()),
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(raw.stride), len(kept), column),
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
    with raw.path.open("r+b", buffering=0) as file:
        sink = _Sink(file, raw, [copy.row for copy in kept], pixels.ctypes.data)
        with pa.PythonFile(sink, "w") as out, pa.ipc.new_file(out, schema) as writer:
            writer.write_batch(pa.record_batch(columns, schema=schema))
        file.truncate()
    assert sink.copied, "Arrow did not hand over the image column as it was given"
    return sink.digest.hexdigest()


class _Sink:
    """The file of `raw`, which hashes what it is given, and takes the kept rows for the buffer at `address`.

    The image column is thus written without bringing its rows together first, and without a page fault for
    every 4 KiB of it.
    """

    def __init__(self, file: BinaryIO, raw: Raw, rows: list[int], address: int) -> None:
        self.digest = hashlib.sha256()
        self.copied = False
        self.closed = False
        self._file, self._raw, self._rows, self._address = file, raw, rows, address

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
        assert self.tell() <= self._raw.at(0), "rows would be written over before they are read"
        stride = self._raw.stride
        block = memoryview(bytearray(_RUN * stride))
        with self._raw.path.open("rb") as source:
            for first, count in _runs(self._rows):
                source.seek(self._raw.at(first))
                self._put(block[: source.readinto(block[: count * stride])])
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
