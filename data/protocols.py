"""Protocols: which face is for what. Pure functions of (sources, labels, spec) to each face's part.

Order comes from SHA-256 of the seed and a name, so no library's random stream and no row order matters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data import listings, near
from data.errors import DataError, nearest
from data.every_age import with_every_age
from data.people import NO_PART, Labelled, Parts, by_person, key, spread
from data.schema import age_labels

PARTS = ("train", "val", "test")
# The published folders of the benchmark: (train, validation, test) of each of its five splits.
BENCHMARK = (
    ((0, 1, 2, 3, 4, 5), (6, 7), (8, 9)),
    ((2, 3, 4, 5, 6, 7), (8, 9), (0, 1)),
    ((4, 5, 6, 7, 8, 9), (0, 1), (2, 3)),
    ((5, 6, 7, 8, 9, 0), (1, 2), (3, 4)),
    ((6, 7, 8, 9, 0, 1), (2, 3), (4, 5)),
)
FOLDS = 5
_SHARES = np.array([3, 1, 1])  # fifths: 60/20/20


@dataclass(frozen=True)
class Spec:
    """A protocol with its settings; which of them a protocol reads, `used` says."""

    protocol: str = "image_random"
    seed: int = 0
    folds: str = "balanced"  # or "benchmark", whose folders come from `listing`
    fold: int = 0  # which fold, or which person in the order of their names, is the test part
    listing: str | None = None
    train_on: str = "train"  # or "val": the official validation people are trained on
    ages: tuple[int, int] | None = None  # years, both included; other faces are in no part
    calibration: bool = False  # half of the validation part is kept apart
    near_duplicates: str = "together"  # or "ignore"

    def used(self) -> dict[str, object]:
        """The settings that this split depends on: what its name and its hash are made of."""
        fields = _FIELDS.get(self.protocol, ())
        if self.protocol == "folds" and self.folds == "benchmark":
            fields = ("folds", "fold")
        found: dict[str, object] = {"protocol": self.protocol, **{f: getattr(self, f) for f in fields}}
        if self.calibration or (self.protocol == "official" and self.train_on == "val"):
            found["seed"] = self.seed
        if self.protocol == "image_random":
            limits = {"bits": near.BITS, "likeness": near.LIKENESS}
            found["near_duplicates"] = limits if self.keeps_near else "ignore"
        if self.ages is not None:
            found["ages"] = list(self.ages)
        if self.calibration:
            found["calibration"] = True
        if self.listing is not None and self.needs_listing:
            found["listing"] = listings.digest(self.listing)
        return found

    @property
    def needs_listing(self) -> bool:
        """Whether a published listing decides."""
        return self.protocol == "listed" or (self.protocol == "folds" and self.folds == "benchmark")

    @property
    def keeps_near(self) -> bool:
        """Whether near-duplicates stay on one side."""
        return self.protocol == "image_random" and self.near_duplicates == "together"

    def inside(self, ages: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which faces of these ages [n] take part at all."""
        low, high = self.ages if self.ages is not None else (0, np.inf)
        years = age_labels(ages)
        return (low <= years) & (years <= high)


_FIELDS: dict[str, tuple[str, ...]] = {
    "image_random": ("seed",),
    "subject_exclusive": ("seed",),
    "folds": ("seed", "folds", "fold"),
    "leave_one_identity_out": ("seed", "fold"),
    "listed": (),
    "official": ("train_on",),
}


def assign(faces: Labelled, spec: Spec) -> Parts:
    """Return the part of each face: an index into PARTS, or NO_PART.

    Of the ages it only heeds that faces outside them need not be listed; `data.splits` leaves them out.
    Raises DataError as `check`, and for labels that the protocol needs and the data set does not have.
    """
    check(spec)
    return _PROTOCOLS[spec.protocol](faces, spec)


def check(spec: Spec) -> None:
    """Raise DataError for an unknown protocol, and for settings that do not fit it."""
    if spec.protocol not in _PROTOCOLS:
        names = ", ".join(_PROTOCOLS)
        hint = nearest(spec.protocol, _PROTOCOLS)
        raise DataError(f"no protocol {spec.protocol!r}; there are {names}.{hint}")
    if spec.needs_listing and spec.listing is None:
        raise DataError(f"{spec.protocol} needs a published listing: give data.listing=FILE.csv")
    if spec.listing is not None and not spec.needs_listing:
        raise DataError(
            f"listing: {spec.listing} is read by the protocols listed and folds (folds: benchmark), not by"
            f" {spec.protocol}; set one of them, or listing to null"
        )
    if spec.train_on != "train" and spec.protocol != "official":
        raise DataError(f"train_on: {spec.train_on} belongs to the protocol official, not {spec.protocol}")


def _image_random(faces: Labelled, spec: Spec) -> Parts:
    """60/20/20 along the ages; every age has a face in train; near-duplicates stay on one side."""
    labels = age_labels(faces.ages).tolist()
    sources = faces.sources
    together = faces.near_groups() if spec.keeps_near else np.arange(len(labels))
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(together.tolist()):
        members[group].append(row)
    parts = np.full(len(labels), NO_PART, np.int64)
    placed = np.zeros(3, np.int64)
    in_train: set[int] = set()
    for row in sorted(range(len(labels)), key=lambda row: (labels[row], key(spec.seed, sources[row]))):
        if parts[row] != NO_PART:
            continue
        rows = members[int(together[row])]
        ages = {labels[member] for member in rows}
        part = 0 if ages - in_train else _neediest(placed, len(rows))
        if part == 0:
            in_train |= ages
        parts[rows] = part
        placed[part] += len(rows)
    return parts


def _neediest(placed: NDArray[np.int64], arriving: int) -> int:
    """Return the part furthest below its share once `arriving` images more are in (ties: the first)."""
    return int(np.argmax(_SHARES * (placed.sum() + arriving) - _SHARES.sum() * placed))


def _subject_exclusive(faces: Labelled, spec: Spec) -> Parts:
    """60/20/20 of the images and of every age as far as people allow; nobody in two parts."""
    people = by_person(faces, spec.protocol)
    return with_every_age(faces, people, spread(faces, people, _SHARES, spec.seed))


def _folds(faces: Labelled, spec: Spec) -> Parts:
    """One of five folds of people is the test part, the next one validation; or the benchmark's folders."""
    if spec.fold >= FOLDS:
        raise DataError(f"fold must be 0 to {FOLDS - 1} of the {FOLDS} folds. Received: {spec.fold}")
    if spec.folds == "benchmark":
        assert spec.listing is not None
        folder = listings.folders(spec.listing, faces.sources, spec.inside(faces.ages))
        part_of = {f: part for part, given in enumerate(BENCHMARK[spec.fold]) for f in given}
        return np.array([part_of.get(f, NO_PART) for f in folder], np.int64)
    fold = spread(faces, by_person(faces, spec.protocol), np.ones(FOLDS), spec.seed)
    return np.select([fold == spec.fold, fold == (spec.fold + 1) % FOLDS], [2, 1], 0).astype(np.int64)


def _leave_one_out(faces: Labelled, spec: Spec) -> Parts:
    """One person is the test part; a fifth of the others validates."""
    people = by_person(faces, spec.protocol)
    names = sorted(people)
    if spec.fold >= len(names):
        raise DataError(f"fold must be 0 to {len(names) - 1}, a person each. Received: {spec.fold}")
    rows = people.pop(names[spec.fold])
    parts = spread(faces, people, np.array([4, 1]), spec.seed)
    parts[rows] = 2
    return parts


def _listed(faces: Labelled, spec: Spec) -> Parts:
    """The parts of a published listing."""
    assert spec.listing is not None
    return np.array(listings.parts(spec.listing, faces.sources, spec.inside(faces.ages)), np.int64)


def _official(faces: Labelled, spec: Spec) -> Parts:
    """The parts that the data set came with.

    `train_on: val` trains on four fifths of the official validation people and validates on the rest: the
    noisy training people are left out.
    """
    index = {"train": 0, "val": 1, "valid": 1, "test": 2}
    told = zip(faces.sources, faces.official, strict=True)
    missing = [source for source, part in told if part not in index]
    if missing:
        raise DataError(
            f"{faces.name}: official needs the data set's own split of every image; {len(missing)} of"
            f" {len(faces.sources)} have none, the first is {missing[0]}"
        )
    parts = np.array([index[str(part)] for part in faces.official], np.int64)
    if spec.train_on == "train":
        return parts
    people = by_person(faces, "official with train_on: val")
    chosen = {name: rows for name, rows in people.items() if (parts[rows] == 1).all()}
    inner = spread(faces, chosen, np.array([4, 1]), spec.seed)
    return np.where(parts == 2, 2, inner)


_PROTOCOLS: dict[str, Callable[[Labelled, Spec], Parts]] = {
    "image_random": _image_random,
    "subject_exclusive": _subject_exclusive,
    "folds": _folds,
    "leave_one_identity_out": _leave_one_out,
    "listed": _listed,
    "official": _official,
}
