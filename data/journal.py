"""Which rows of an unfinished data set are there: what lets a killed preparation go on where it was."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import BinaryIO

from data.raw import Raw

_DECODERS = (
    "pillow",
    "opencv-python-headless",
    "onnxruntime",
)  # whose versions may change pixels but not the fingerprint


@dataclass(frozen=True)
class Decoded:
    """The CRC-32 of an image's prepared pixels, or the reason why there are none; a note worth counting.

    The sum tells whether pixels were written as noted, and which images to compare when looking for copies.
    """

    checksum: int
    reason: str
    note: str = ""


def journal_name(fingerprint: str) -> str:
    """Return the name of the journal of a data set made by the decoders installed here."""
    versions = [_version(package) for package in _DECODERS]
    return f"{hashlib.sha256(json.dumps([fingerprint, *versions]).encode()).hexdigest()[:16]}.rows"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


class Journal:
    """Runs of rows whose pixels have been written: one line each, appended when they have."""

    def __init__(self, path: Path) -> None:
        """Open the journal at `path`, new or left by a run that was cut short."""
        self._path = path
        with path.open("a+b") as file:
            if file.tell() and path.read_bytes()[-1:] != b"\n":  # the run was killed within a line
                file.write(b"\n")

    def add(self, start: int, rows: Sequence[Decoded]) -> None:
        """Note that `rows`, the first of them row `start`, have been written."""
        with self._path.open("a") as file:
            file.write(json.dumps([start, [[row.checksum, row.reason, row.note] for row in rows]]) + "\n")

    def done(self, raw: Raw) -> dict[int, list[Decoded]]:
        """Return the noted runs by first row, where the pixels in `raw` are as noted."""
        runs = {}
        for line in self._path.read_text().splitlines():
            try:
                start, rows = json.loads(line)
            except ValueError:
                continue
            runs[start] = [Decoded(*row) for row in rows]
        with raw.path.open("rb") as file:
            return {start: rows for start, rows in runs.items() if _as_noted(file, raw, start, rows)}


def _as_noted(file: BinaryIO, raw: Raw, start: int, rows: Sequence[Decoded]) -> bool:
    stride = raw.stride
    file.seek(raw.at(start))
    content = file.read(len(rows) * stride)
    sums = (zlib.crc32(content[at : at + stride]) for at in range(0, len(content), stride))
    return len(content) == len(rows) * stride and all(
        row.reason or row.checksum == seen for row, seen in zip(rows, sums, strict=True)
    )
