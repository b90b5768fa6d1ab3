"""Numbers recomputed from kept predictions: metrics, shares within l years, errors of groups. Pure numpy.

`predicted` and `age` are [n] years; every mean is over images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestration.predictions import Predictions

Values = NDArray[np.float64]

CS_LEVELS = range(16)  # l of CS@l, in years
AGE_GROUPS = ((0, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 200))
BIN_YEARS = 5  # of the bias by age
TOLERANCES = range(11)  # t of eq. (12), in years
UNLABELLED = "not labelled"  # the images of a group that the data set does not name
FEW = 20  # a mean over fewer images is not drawn


def errors(kept: Predictions) -> Values:
    """Predicted minus true age [n], years."""
    found: Values = kept.column("predicted_age") - kept.column("age")
    return found


def metrics(kept: Predictions) -> dict[str, float]:
    """What the run's own metrics say (eq. 9 to 11), under the same names; from the rows alone."""
    error = errors(kept)
    rounded = np.floor(kept.column("predicted_age") + 0.5) - kept.column("age")
    found = {
        "count": float(len(error)),
        "age_mae": float(np.abs(error).mean()),
        "age_rmse": float(np.sqrt((error**2).mean())),
        "age_bias": float(error.mean()),
        "age_cs5": float(100 * (np.abs(error) <= 5).mean()),
        "age_cs5_rounded": float(100 * (np.abs(rounded) <= 5).mean()),
    }
    genders = np.array(kept.table["gender"].to_pylist(), object)
    female = kept.column("female_probability")
    known = (genders == "M") | (genders == "F")
    if known.any() and not np.isnan(female).all():
        # Argmax of two logits takes the first, male, where they are equal.
        right = (female > 0.5) == (genders == "F")
        found["gender_accuracy"] = float(100 * right[known].mean())
    return found


def cumulative_scores(error: Values) -> Values:
    """CS@l in percent for l = 0 … 15 years (eq. 10): [16]."""
    return np.array([100 * (np.abs(error) <= level).mean() for level in CS_LEVELS])


def age_groups(age: Values) -> dict[str, NDArray[np.bool_]]:
    """Which images [n] are in each age group that has any, by its name."""
    found = {}
    for low, high in AGE_GROUPS:
        inside = (np.floor(age) >= low) & (np.floor(age) <= high)
        if inside.any():
            found[f"{low}–{high}" if high < 200 else f"{low} and over"] = inside
    return found


def named_groups(names: Sequence[Any]) -> dict[str, NDArray[np.bool_]]:
    """Which images [n] carry each name, unnamed ones last; empty where none is named."""
    column = np.array(names, object)
    known = sorted({name for name in names if name is not None})
    found = {str(name): column == name for name in known}
    unknown = np.array([name is None for name in names])
    if known and unknown.any():
        found[UNLABELLED] = unknown
    return found


def bias_by_age(age: Values, error: Values) -> tuple[Values, Values]:
    """Middles [k] of bins of 5 years that hold at least 20 images, and their mean error [k] in years."""
    bins = np.floor(age / BIN_YEARS).astype(int)
    held = [b for b in np.unique(bins) if (bins == b).sum() >= FEW]
    middles = np.array([(b + 0.5) * BIN_YEARS for b in held])
    return middles, np.array([error[bins == b].mean() for b in held])


def agreement(kept: Predictions) -> list[int] | None:
    """For t = 0 … 10 the images whose age and age of the position differ by at most t years; eq. (12)."""
    position = kept.column("position_age")
    if np.isnan(position).any():
        return None
    gap = np.abs(kept.column("predicted_age") - position)
    return [int((gap <= t).sum()) for t in TOLERANCES]


def mean_of(rows: Sequence[Mapping[str, float]], name: str) -> tuple[float, float, int] | None:
    """Mean and sd (ddof 1; NaN of one) of a metric over runs, and how many have it; None for none."""
    values = np.array([row[name] for row in rows if name in row])
    if not len(values):
        return None
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"), len(values)
