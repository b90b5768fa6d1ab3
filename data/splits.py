"""Splits of a data set: made by a protocol, stored beside the data, recognised by a hash.

A split is a pure function of (sources, labels, spec); its own hash says which one a number was computed on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data import beside
from data.errors import DataError
from data.people import NO_PART, Labelled, halved
from data.protocols import FOLDS, PARTS, Spec, assign, check

CALIBRATION = 3
_NAMES = (*PARTS, "calibration")
_FORMAT_VERSION = 3


class DamagedSplitError(DataError):
    """A stored split that cannot be read or is not that of its data set."""


class Stored(Labelled, beside.Placed, Protocol):
    """Samples that lie in a folder, where their splits are kept."""


@dataclass(frozen=True)
class Split:
    """Sorted row numbers of each part, int64; `hash` names the spec and every sample's part.

    Faces outside the ages of the spec are in no part. `calibration` is empty unless the spec asks for it.
    """

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    spec: Spec
    hash: str
    calibration: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


def make(faces: Labelled, spec: Spec) -> Split:
    """Return the split of `faces` by `spec`.

    Raises DataError for a spec that makes no sense for these faces, and for an empty part.
    """
    inside = _inside(faces, spec)
    parts = np.full(len(faces.sources), NO_PART, np.int64)
    # A listing may be of all faces or of those inside the ages; everything else looks at these alone.
    parts[inside] = (
        assign(faces, spec)[inside] if spec.needs_listing else assign(_Subset(faces, inside), spec)
    )
    if spec.calibration:
        rows = np.flatnonzero(parts == 1)
        parts[halved(rows, _inseparable(faces, parts, spec), spec.seed)] = CALIBRATION
    split = _split(faces, parts, spec)
    for name in _NAMES if spec.calibration else PARTS:
        if not len(getattr(split, name)):
            raise DataError(f"{faces.name}: {spec.protocol} leaves no image for {name} out of {len(parts)}")
    return split


def fold_count(faces: Labelled, spec: Spec) -> int:
    """Return how many folds the spec's protocol has: five, or one for each person; 1 for other protocols."""
    if spec.protocol == "folds":
        return FOLDS
    if spec.protocol != "leave_one_identity_out":
        return 1
    return len({faces.identities[row] for row in _inside(faces, spec).tolist()} - {None})


def labels_within(labels: Sequence[int], spec: Spec) -> tuple[int, ...]:
    """Return the age labels of a split: those of the data set inside the ages of the spec."""
    if spec.ages is None:
        return tuple(labels)
    return tuple(label for label in labels if spec.ages[0] <= label <= spec.ages[1])


def _inside(faces: Labelled, spec: Spec) -> NDArray[np.int64]:
    rows = np.flatnonzero(spec.inside(faces.ages))
    if not len(rows) and spec.ages is not None:
        raise DataError(f"{faces.name}: no face is {spec.ages[0]} to {spec.ages[1]} years old")
    return rows


def _inseparable(faces: Labelled, parts: NDArray[np.int64], spec: Spec) -> list[str]:
    """Return a name for each validation face; those that share one stay on one side of the calibration.

    Whole people where the protocol keeps the validation people apart, near-duplicates where it keeps those
    together, else single images.
    """
    rows = np.flatnonzero(parts == 1).tolist()
    people = [faces.identities[row] for row in rows]
    others = {faces.identities[row] for row in np.flatnonzero((parts == 0) | (parts == 2)).tolist()}
    if None not in people and not set(people) & others:
        return [str(person) for person in people]
    groups = faces.near_groups()[rows].tolist() if spec.keeps_near else rows
    first: dict[int, str] = {}
    for row, group in zip(rows, groups, strict=True):
        first[group] = min(first.get(group, faces.sources[row]), faces.sources[row])
    return [first[group] for group in groups]


class _Subset:
    """Some rows of a data set, as protocols see them."""

    def __init__(self, faces: Labelled, rows: NDArray[np.int64]) -> None:
        self._faces, self._rows = faces, rows
        self.name = faces.name
        self.ages = faces.ages[rows]

    def _chosen(self, column: Sequence[Any]) -> list[Any]:
        return [column[row] for row in self._rows.tolist()]

    @property
    def sources(self) -> Sequence[str]:
        return self._chosen(self._faces.sources)

    @property
    def identities(self) -> Sequence[str | None]:
        return self._chosen(self._faces.identities)

    @property
    def official(self) -> Sequence[str | None]:
        return self._chosen(self._faces.official)

    def near_groups(self) -> NDArray[np.int64]:
        return self._faces.near_groups()[self._rows]


def _split(faces: Labelled, parts: NDArray[np.int64], spec: Spec) -> Split:
    train, val, test, calibration = (np.flatnonzero(parts == part).astype(np.int64) for part in range(4))
    return Split(train, val, test, spec, _hash(faces.sources, parts, spec), calibration)


def load(faces: Stored, spec: Spec) -> Split:
    """Return the split stored beside `faces`, making and storing it the first time.

    Raises DataError as `make`, where a split is stored too if settings do not fit the protocol, and
    DamagedSplitError for a stored split that is damaged or belongs to another data set.
    """
    check(spec)  # a split's name leaves out the settings that its protocol does not read
    name = f"splits/{spec.protocol}-{_digest(spec)}.json"
    path = beside.find(faces, name)
    if path is not None:
        return _read(path, faces, spec)
    split = make(faces, spec)
    beside.keep(faces, name, _text(split, faces.fingerprint))
    return split


def _digest(spec: Spec) -> str:
    named = {"format_version": _FORMAT_VERSION, **spec.used()}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:12]


def _hash(sources: Sequence[str], parts: Iterable[int], spec: Spec) -> str:
    lines = sorted(
        [source, _NAMES[part]] for source, part in zip(sources, parts, strict=True) if part != NO_PART
    )
    return hashlib.sha256(json.dumps([spec.used(), lines], sort_keys=True).encode()).hexdigest()


def _read(path: Path, faces: Stored, spec: Spec) -> Split:
    wrong = DamagedSplitError(
        f"{path} is damaged or belongs to another data set; remove it and it is made again"
    )
    parts = np.full(len(faces.sources), NO_PART, np.int64)
    count = 0
    try:
        content = json.loads(path.read_text())
        for part, name in enumerate(_NAMES):
            members = np.array(content[name], np.int64)
            parts[members] = part
            count += len(members)
        told = content["format_version"], content["fingerprint"], content["hash"]
    except (ValueError, KeyError, TypeError, IndexError, OverflowError):
        raise wrong from None
    split = _split(faces, parts, spec)
    if count != (parts != NO_PART).sum() or told != (_FORMAT_VERSION, faces.fingerprint, split.hash):
        raise wrong
    return split


def _text(split: Split, fingerprint: str) -> str:
    content = {
        "format_version": _FORMAT_VERSION,
        **split.spec.used(),
        "fingerprint": fingerprint,
        "hash": split.hash,
        **{name: getattr(split, name).tolist() for name in _NAMES},
    }
    return json.dumps(content)
