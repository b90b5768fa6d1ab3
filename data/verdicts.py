"""Whether the test part was seen before: the three-valued verdict and what it rests on.

Images are compared by hash of file and pixels and by perceptual hash (data/near.py), people by the names that
the data set gives them. Face embeddings are not compared.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data import beside, near
from data.splits import Split

if TYPE_CHECKING:
    from data.faces import Faces

LEAK, NONE, UNKNOWN = "leak", "none found", "cannot be determined"
METHODS = f"hash of file and pixels; perceptual hash within {near.BITS} bits, likeness ≥ {near.LIKENESS}"
TRAIN, VAL, TEST = range(3)
_VERSION = 1  # of the verdicts kept beside a data set


@dataclass(frozen=True)
class Verdict:
    """A verdict with the sentences that it rests on, and the counts in them."""

    verdict: str
    reasons: tuple[str, ...]
    counts: dict[str, int] = field(default_factory=dict)


def of_split(faces: Faces, split: Split) -> Verdict:
    """Return whether faces of the split's test part, or people on them, are in its train part.

    Found once for a split, then kept beside the data set.
    """
    name = f"audit/split-{split.hash[:16]}-v{_VERSION}.json"
    kept = known(faces, name)
    if kept is not None:
        return kept
    found = split_verdict(split, faces.identities, identical(faces), faces.near_pairs())
    beside.keep(faces, name, json.dumps(asdict(found)))
    return found


def known(faces: Faces, name: str) -> Verdict | None:
    """Return the verdict kept under `name`; None where there is none or its file is damaged."""
    path = beside.find(faces, name)
    if path is None:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):  # damaged: found again
        told = json.loads(path.read_text())
        if told["verdict"] in (LEAK, NONE, UNKNOWN):
            return Verdict(told["verdict"], tuple(told["reasons"]), dict(told["counts"]))
    return None


def split_verdict(
    split: Split, identities: Sequence[str | None], copies: NDArray[np.int64], pairs: NDArray[np.int64]
) -> Verdict:
    """Return the verdict of a split over people [n], pairs of identical and of near images [k, 2] each."""
    part = np.full(len(identities), -1)
    for index, name in enumerate(("train", "val", "test", "calibration")):
        part[getattr(split, name)] = index
    seen = {identities[row] for row in split.train.tolist()} - {None}
    shown = [row for row in split.test.tolist() if identities[row] in seen]
    people = {identities[row] for row in shown}
    nameless = sum(identities[row] is None for row in (*split.train.tolist(), *split.test.tolist()))
    counts = {
        "test": len(split.test),
        "identical": _across(part, copies),
        "near": _across(part, pairs),
        "people": len(people),
        "images_of_people": len(shown),
        "nameless": nameless,
    }
    leaks = []
    if counts["identical"]:
        leaks.append(f"{_counted(counts['identical'], 'test image')} identical to one of train")
    if counts["near"]:
        leaks.append(f"{_counted(counts['near'], 'test image')} nearly the same as one of train")
    if people:
        leaks.append(f"{len(shown)} of {len(split.test)} test images show a person of train")
    if leaks:
        return Verdict(LEAK, tuple(leaks), counts)
    if nameless:
        unknown = f"no image is shared; {_counted(nameless, 'face')} without identity, so people may be"
        return Verdict(UNKNOWN, (unknown,), counts)
    return Verdict(NONE, ("no image and no person of test is in train",), counts)


def against_name(fingerprint: str) -> str:
    """Return the name under which the comparison with another data set is kept beside a data set."""
    return f"audit/against-{fingerprint[:16]}-v{_VERSION}.json"


def against(faces: Faces, other: Faces) -> Verdict:
    """Return whether `other`, as pretraining data, has images or people of `faces`."""
    files = len(set(faces.digests) & set(other.digests))
    pixels = len(set(pixel_hashes(faces)) & set(pixel_hashes(other)))
    pairs = near.shared_pairs(faces.images, other.images)
    ours, theirs = (_names(given.identities) for given in (faces, other))
    people = ours.keys() & theirs.keys()
    counts = {
        "identical": max(files, pixels),
        "near": len(set(pairs[:, 0].tolist())),
        "people": len(people),
        "images_of_people": sum(ours[name] for name in people),
    }
    leaks = []
    if counts["identical"]:
        leaks.append(f"{_counted(counts['identical'], 'image')} identical")
    if counts["near"]:
        leaks.append(f"{_counted(counts['near'], 'image')} nearly the same")
    if people:
        leaks.append(f"{len(people)} people of one name, on {counts['images_of_people']} images")
    if leaks:
        return Verdict(LEAK, tuple(leaks), counts)
    unnamed = [
        given.name for given, names in ((faces, ours), (other, theirs)) if sum(names.values()) < len(given)
    ]
    if unnamed:
        return Verdict(
            UNKNOWN, (f"no image is shared; people have no names to compare in {', '.join(unnamed)}",), counts
        )
    return Verdict(NONE, ("no image and no name is shared",), counts)


def of_other(faces: Faces, other: Faces) -> Verdict:
    """Return `against`, found once for two data sets, then kept beside the first."""
    name = against_name(other.fingerprint)
    kept = known(faces, name)
    if kept is not None:
        return kept
    found = against(faces, other)
    beside.keep(faces, name, json.dumps(asdict(found)))
    return found


def identical(faces: Faces) -> NDArray[np.int64]:
    """Return the pairs [k, 2] of rows with identical pixels: the first of its kind, and each other."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(pixel_hashes(faces)):
        groups[digest].append(row)
    found = [(low, high) for rows in groups.values() for i, low in enumerate(rows) for high in rows[i + 1 :]]
    return np.array(found, np.int64).reshape(-1, 2)


def pixel_hashes(faces: Faces) -> list[bytes]:
    """Return the hash of each face's prepared pixels, [n]; identical files have identical pixels."""
    return [hashlib.blake2b(image, digest_size=16).digest() for image in faces.images]


def normalised(name: str) -> str:
    """Return a person's name as it is compared: letters and digits alone, without accents and case."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(c for c in plain if c.isalnum()).casefold()


def _names(identities: Iterable[str | None]) -> dict[str, int]:
    """Return how many images each person has who is known by name; numbers are names in one data set only."""
    names: dict[str, int] = defaultdict(int)
    for identity in identities:
        if identity is not None and sum(c.isalpha() for c in identity) >= 3:
            names[normalised(identity)] += 1
    return names


def _across(part: NDArray[np.int64], pairs: NDArray[np.int64]) -> int:
    """Return how many test images are in a pair with an image of train."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return len(np.unique(both[(part[both[:, 0]] == TEST) & (part[both[:, 1]] == TRAIN), 0]))


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
