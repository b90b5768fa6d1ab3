"""Which faces train, validate and test. A split is a pure function of (sources, labels, protocol, seed).

Order comes from SHA-256 of the seed and the source name, so no library's random stream and no row order
can change a split; its own hash says which one a number was computed on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError, nearest
from data.schema import age_labels

PARTS = ("train", "val", "test")
_SHARES = np.array([3, 1, 1])  # fifths: 60/20/20
_FORMAT_VERSION = 1


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


class Stored(Labelled, Protocol):
    """Samples that lie in a folder, where their splits are kept."""

    @property
    def root(self) -> Path: ...
    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class Split:
    """Sorted row numbers of each part, int64; `hash` names protocol, seed and every sample's part."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    protocol: str
    seed: int
    hash: str


def make(faces: Labelled, protocol: str, seed: int = 0) -> Split:
    """Return the split of `faces` by `protocol`: image_random or subject_exclusive.

    Raises DataError for an unknown protocol, an empty part, or a sample without identity where
    identities are needed.
    """
    if protocol not in _PROTOCOLS:
        names = ", ".join(_PROTOCOLS)
        raise DataError(f"no protocol {protocol!r}; there are {names}.{nearest(protocol, _PROTOCOLS)}")
    parts = _PROTOCOLS[protocol](faces, seed)
    train, val, test = (np.flatnonzero(parts == part).astype(np.int64) for part in range(3))
    for name, rows in zip(PARTS, (train, val, test), strict=True):
        if not len(rows):
            raise DataError(f"{faces.name}: {protocol} leaves no image for {name} out of {len(parts)}")
    return Split(train, val, test, protocol, seed, _hash(faces.sources, parts, protocol, seed))


def load(faces: Stored, protocol: str, seed: int = 0) -> Split:
    """Return the split stored beside `faces`, making and storing it the first time.

    A folder that can't be written is left as it is. Raises DataError as `make`, and for a stored split
    that is damaged or belongs to another data set.
    """
    path = faces.root / "splits" / f"{protocol}-{seed}.json"
    if path.is_file():
        return _read(path, faces, protocol, seed)
    split = make(faces, protocol, seed)
    try:
        _store(path, split, faces.fingerprint)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return split


def _image_random(faces: Labelled, seed: int) -> NDArray[np.int64]:
    """Return each row's part: 60/20/20 along the ages, each age's first image in train."""
    labels = age_labels(faces.ages).tolist()
    sources = faces.sources
    order = sorted(range(len(labels)), key=lambda row: (labels[row], _key(seed, sources[row])))
    parts = np.empty(len(labels), np.int64)
    placed = np.zeros(3, np.int64)
    previous = None
    for row in order:
        parts[row] = _neediest(placed, 1) if labels[row] == previous else 0
        placed[parts[row]] += 1
        previous = labels[row]
    return parts


def _subject_exclusive(faces: Labelled, seed: int) -> NDArray[np.int64]:
    """Return each row's part: 60/20/20 of the images, no identity in two parts."""
    people: dict[str, list[int]] = defaultdict(list)
    for row, identity in enumerate(faces.identities):
        if identity is not None:
            people[identity].append(row)
    missing = len(faces.identities) - sum(map(len, people.values()))
    if missing:
        raise DataError(
            f"{faces.name}: subject_exclusive needs an identity for every image; "
            f"{missing} of {len(faces.identities)} have none. Use image_random."
        )
    parts = np.empty(len(faces.identities), np.int64)
    placed = np.zeros(3, np.int64)
    for identity in sorted(people, key=lambda name: _key(seed, name)):
        part = _neediest(placed, len(people[identity]))
        parts[people[identity]] = part
        placed[part] += len(people[identity])
    return parts


_PROTOCOLS: dict[str, Callable[[Labelled, int], NDArray[np.int64]]] = {
    "image_random": _image_random,
    "subject_exclusive": _subject_exclusive,
}


def _neediest(placed: NDArray[np.int64], arriving: int) -> int:
    """Return the part furthest below its share once `arriving` images more are in (ties: the first)."""
    return int(np.argmax(_SHARES * (placed.sum() + arriving) - _SHARES.sum() * placed))


def _key(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def _hash(sources: Sequence[str], parts: Iterable[int], protocol: str, seed: int) -> str:
    lines = sorted([source, PARTS[part]] for source, part in zip(sources, parts, strict=True))
    return hashlib.sha256(json.dumps([protocol, seed, lines]).encode()).hexdigest()


def _read(path: Path, faces: Stored, protocol: str, seed: int) -> Split:
    wrong = DataError(f"{path} is damaged or belongs to another data set; remove it and it is made again")
    parts = np.full(len(faces.sources), -1, np.int64)
    try:
        content = json.loads(path.read_text())
        train, val, test = (np.array(content[name], np.int64) for name in PARTS)
        for part, members in enumerate((train, val, test)):
            parts[members] = part
        told = content["format_version"], content["fingerprint"], content["hash"]
    except (ValueError, KeyError, TypeError, IndexError):
        raise wrong from None
    if parts.min() < 0 or len(train) + len(val) + len(test) != len(parts):
        raise wrong
    if told != (_FORMAT_VERSION, faces.fingerprint, _hash(faces.sources, parts, protocol, seed)):
        raise wrong
    return Split(train, val, test, protocol, seed, content["hash"])


def _store(path: Path, split: Split, fingerprint: str) -> None:
    content = {
        "format_version": _FORMAT_VERSION,
        "protocol": split.protocol,
        "seed": split.seed,
        "fingerprint": fingerprint,
        "hash": split.hash,
        **{name: getattr(split, name).tolist() for name in PARTS},
    }
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content))
    partial.replace(path)
