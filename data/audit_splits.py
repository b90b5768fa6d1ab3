"""What an audit finds across the parts of the protocols that a data set supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data import splits, verdicts
from data.errors import DataError
from data.protocols import FOLDS, PARTS, Spec

if TYPE_CHECKING:
    from data.faces import Faces


def supported(faces: Faces) -> dict[str, Spec]:
    """Return the splits that the labels allow, by name; a published listing is none of them."""
    found = {
        "image_random": Spec("image_random"),
        "image_random, near-duplicates ignored": Spec("image_random", near_duplicates="ignore"),
    }
    if None not in faces.identities and len(set(faces.identities)) >= FOLDS:
        found["subject_exclusive"] = Spec("subject_exclusive")
        found |= {f"folds, fold {fold}": Spec("folds", fold=fold) for fold in range(FOLDS)}
    if None not in faces.official and {"train", "test"} <= set(faces.official):
        found["official"] = Spec("official")
    return found


def protocols(faces: Faces) -> dict[str, Any]:
    """Return for each supported split its verdict and what its parts share, pair by pair.

    A split that leaves a part empty says so instead (`not_made`), as does one whose stored file is damaged
    (`not_read`).
    """
    copies = {"identical": verdicts.identical(faces), "near": faces.near_pairs()}
    found: dict[str, Any] = {}
    for name, spec in supported(faces).items():
        try:
            split = splits.load(faces, spec)
        except splits.DamagedSplitError as error:
            found[name] = {"not_read": str(error)}
            continue
        except DataError as error:
            found[name] = {"not_made": str(error)}
            continue
        found[name] = {
            **asdict(verdicts.of_split(faces, split)),
            "sizes": {part: len(getattr(split, part)) for part in PARTS},
            "shared": shared(split, faces.identities, copies),
        }
    return found


def shared(
    split: splits.Split, identities: Sequence[str | None], copies: dict[str, NDArray[np.int64]]
) -> dict[str, dict[str, int]]:
    """Return for each pair of parts the pairs of copies of each kind across them, and the people in both."""
    part = np.full(len(identities), -1)
    people = []
    for index, name in enumerate(PARTS):
        rows = getattr(split, name)
        part[rows] = index
        people.append({identities[row] for row in rows.tolist()} - {None})
    found = {}
    for one, other in combinations(range(len(PARTS)), 2):
        ends = {kind: np.sort(part[pairs], axis=1) for kind, pairs in copies.items()}
        found[f"{PARTS[one]} and {PARTS[other]}"] = {
            **{kind: int((given == [one, other]).all(axis=1).sum()) for kind, given in ends.items()},
            "people": len(people[one] & people[other]),
        }
    return found


def leaking(found: dict[str, Any]) -> list[str]:
    """Return the names of the splits whose test part leaks into train."""
    return [name for name, told in found.items() if told.get("verdict") == verdicts.LEAK]


def unread(found: dict[str, Any]) -> list[str]:
    """Return the names of the splits of which nothing is known, since their stored files are damaged."""
    return [name for name, told in found.items() if "not_read" in told]
