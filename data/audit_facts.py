"""What an audit finds in a data set by itself: labels, copies, conflicts, people, what was set aside."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data import near, verdicts
from data.schema import FEMALE, MALE, QUARANTINE_FILE, UNKNOWN, age_labels

if TYPE_CHECKING:
    from data.faces import Faces

EXAMPLES = 5  # of what is too long to list


def facts(faces: Faces) -> dict[str, Any]:
    """Return everything that can be said without a protocol, ready for JSON; rows are sample_ids."""
    return {
        "name": faces.name,
        "fingerprint": faces.fingerprint,
        "faces": len(faces),
        "labels": labels(faces),
        "ages": histogram(faces),
        "constant": constant(faces.ages),
        "copies": copies(faces),
        "people": people(faces),
        "quarantine": quarantine(faces),
        "flat": np.flatnonzero(near.hashes(faces.images)[1]).tolist(),
    }


def labels(faces: Faces) -> dict[str, Any]:
    """Return the lowest and highest label, their number, and the ages between that are none."""
    known = set(faces.labels)
    gaps = [age for age in range(min(known), max(known)) if age not in known]
    empty = sorted(known - set(age_labels(faces.ages).tolist()))
    return {"count": len(known), "low": min(known), "high": max(known), "gaps": gaps, "without_faces": empty}


def histogram(faces: Faces) -> dict[str, Any]:
    """Return the ages that faces have, and how many faces of each are M, F and unknown."""
    years = age_labels(faces.ages)
    ages = np.unique(years)
    counts = {
        name: [int(((years == age) & (faces.genders == code)).sum()) for age in ages]
        for name, code in (("M", MALE), ("F", FEMALE), ("unknown", UNKNOWN))
    }
    return {"age": ages.tolist(), **counts}


def constant(ages: NDArray[np.float32]) -> dict[str, float]:
    """Return the one age that predicts all with the lowest MAE, the median, and that MAE in years."""
    exact = ages.astype(np.float64)
    median = float(np.median(exact))
    return {"age": median, "mae": float(np.abs(exact - median).mean())}


def copies(faces: Faces) -> dict[str, Any]:
    """Return the pairs of identical and of near pictures, and how many of them conflict in a label."""
    found: dict[str, Any] = {"methods": verdicts.METHODS}
    for kind, pairs in (("identical", verdicts.identical(faces)), ("near", faces.near_pairs())):
        ages, genders = faces.ages[pairs], faces.genders[pairs]
        years = np.abs(ages[:, 0] - ages[:, 1])
        known = (genders != UNKNOWN).all(axis=1)
        found[kind] = {
            "pairs": len(pairs),
            "faces": len(np.unique(pairs)),
            "ages_conflict": int((years > 0).sum()),
            "ages_differ_by_5_or_more": int((years >= 5).sum()),
            "genders_conflict": int((known & (genders[:, 0] != genders[:, 1])).sum()),
            "rows": pairs.tolist(),
            "years_apart": years.tolist(),
        }
    return found


def people(faces: Faces) -> dict[str, Any]:
    """Return how many people there are, their images, and those who are entered under both genders.

    Of these at least the smaller number of each has a wrong gender: `wrong_at_least`.
    """
    images = Counter(name for name in faces.identities if name is not None)
    by_gender = Counter(zip(faces.identities, faces.genders.tolist(), strict=True))
    both = sorted(name for name in images if by_gender[name, MALE] and by_gender[name, FEMALE])
    wrong = sum(min(by_gender[name, MALE], by_gender[name, FEMALE]) for name in both)
    sizes = list(images.values())
    return {
        "count": len(images),
        "nameless": sum(name is None for name in faces.identities),
        "fewest": min(sizes, default=0),
        "most": max(sizes, default=0),
        "both_genders": {
            "people": len(both),
            "images": sum(images[name] for name in both),
            "wrong_at_least": wrong,
            "names": both[:EXAMPLES],
        },
    }


def quarantine(faces: Faces) -> dict[str, Any]:
    """Return how many files were set aside for which reason, and some of each."""
    path = faces.root / QUARANTINE_FILE
    found: dict[str, list[str]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["reason"], []).append(row["source"])
    return {
        reason: {"count": len(names), "examples": names[:EXAMPLES]} for reason, names in sorted(found.items())
    }
