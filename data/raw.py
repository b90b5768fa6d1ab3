"""The file in which a data set is made: decoded rows first, which then become faces.arrow where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEAD = 1 << 16  # bytes: Arrow's schema and the description of its one batch take 2 KiB


@dataclass(frozen=True)
class Raw:
    """`rows` images [size, size, 3] uint8 in the file at `path`, behind room for what Arrow has before them.

    So the images that are kept only move to the front, and pixels need no second file.
    """

    path: Path
    rows: int
    size: int

    @property
    def stride(self) -> int:
        """Bytes of an image."""
        return self.size**2 * 3

    def at(self, row: int) -> int:
        """Return where in the file the pixels of a row begin, in bytes."""
        return _HEAD + self.rows * 8 + row * self.stride  # 8: the column of sample ids

    def write(self, start: int, pixels: NDArray[np.uint8]) -> None:
        """Put `pixels` [n, size, size, 3] at rows `start` and after."""
        with self.path.open("r+b") as file:
            file.seek(self.at(start))
            file.write(pixels.data)  # at once: a write for each image takes twice as long

    def map(self) -> NDArray[np.uint8]:
        """Return the pixels [rows, size, size, 3] of all rows, mapped into memory, read-only."""
        if not self.rows:
            return np.empty((0, self.size, self.size, 3), np.uint8)  # there is no map of nothing
        return np.memmap(self.path, np.uint8, "r", self.at(0), (self.rows, self.size, self.size, 3))
