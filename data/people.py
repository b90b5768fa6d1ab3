"""People spread over the parts of a split, and what a split needs to know of samples."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.schema import age_labels

NO_PART = -1
BIN = 5  # years of the age bins that people are spread by

Parts = NDArray[np.int64]


class Labelled(Protocol):
    """What a split needs to know of n samples; `data.faces.Faces` is one."""

    @property
    def name(self) -> str: ...
    @property
    def sources(self) -> Sequence[str]: ...
    @property
    def identities(self) -> Sequence[str | None]: ...
    @property
    def ages(self) -> NDArray[np.float32]: ...
    @property
    def official(self) -> Sequence[str | None]: ...
    def near_groups(self) -> NDArray[np.int64]: ...


def by_person(faces: Labelled, protocol: str) -> dict[str, list[int]]:
    """Return the rows of each person; DataError where someone's name is not known."""
    people: dict[str, list[int]] = defaultdict(list)
    for row, identity in enumerate(faces.identities):
        if identity is not None:
            people[identity].append(row)
    missing = len(faces.identities) - sum(map(len, people.values()))
    if missing:
        raise DataError(
            f"{faces.name}: {protocol} needs an identity for every image; "
            f"{missing} of {len(faces.identities)} have none. Use image_random."
        )
    return people


def spread(
    faces: Labelled, people: dict[str, list[int]], shares: NDArray[np.int64] | NDArray[np.float64], seed: int
) -> Parts:
    """Return a part 0…k−1 for every face of `people`, nobody in two, NO_PART for all others.

    People come in order of their number of faces, the largest first, and go where the squared distance of
    the age histograms (bins of 5 years) to their targets, relative to those, grows least.
    """
    bins = age_labels(faces.ages) // BIN
    width = int(bins.max()) + 1
    counts = {name: np.bincount(bins[rows], minlength=width) for name, rows in people.items()}
    total = np.sum(list(counts.values()), axis=0)
    target = np.outer(shares / shares.sum(), np.maximum(total, 1))
    placed = np.zeros_like(target)
    parts = np.full(len(bins), NO_PART, np.int64)
    for name in sorted(people, key=lambda name: (-len(people[name]), key(seed, name))):
        own = counts[name]
        growth = ((2 * placed * own + own**2) / target).sum(axis=1)
        part = int(np.argmin(growth))
        placed[part] += own
        parts[people[name]] = part
    return parts


def halved(rows: NDArray[np.int64], names: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return half of `rows`, sorted: the part that calibrates and never selects. Names stay together."""
    members: dict[str, list[int]] = defaultdict(list)
    for row, name in zip(rows.tolist(), names, strict=True):
        members[name].append(row)
    taken: list[int] = []
    for name in sorted(members, key=lambda name: key(seed, f"calibration\0{name}")):
        if 2 * len(taken) + len(members[name]) <= len(rows):  # nearer to the half with them than without
            taken += members[name]
    return np.array(sorted(taken), np.int64)


def key(seed: int, name: str) -> bytes:
    """Return what names are put in order by."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
