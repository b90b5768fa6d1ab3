"""Labels of a data set without its pictures, for tests of splits, and AgeDB's real ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Samples:
    """What a split needs to know, given as columns; file names count up where none are given."""

    ages: NDArray[np.float32]
    identities: list[str | None]
    official: list[str | None] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)  # of near-duplicates
    name: str = "samples"

    def __post_init__(self) -> None:
        count = len(self.ages)
        for column, default in (
            ("official", [None] * count),
            ("sources", [f"{i:04d}.jpg" for i in range(count)]),
            ("groups", list(range(count))),
        ):
            if not getattr(self, column):
                object.__setattr__(self, column, default)

    def near_groups(self) -> NDArray[np.int64]:
        return np.array(self.groups, np.int64)

    def reordered(self, order: Sequence[int]) -> Samples:
        """The same samples in another row order; near groups get other numbers."""
        columns = (self.identities, self.official, self.sources, [g * 3 + 1 for g in self.groups])
        return Samples(self.ages[list(order)], *([c[i] for i in order] for c in columns))  # type: ignore[arg-type]


def agedb(listing: Path) -> Samples:
    """AgeDB's names, people and ages as its published listing has them."""
    with listing.open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    parts = [name.removesuffix(".jpg").split("_") for name in names]
    return Samples(
        np.array([float(part[2]) for part in parts], np.float32), [part[1] for part in parts], sources=names
    )
