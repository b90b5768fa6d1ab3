"""How often intervals hold the true age, over all faces and by age group, and how wide they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestration import report_numbers
from orchestration.evaluation_numbers import Names, rate_interval
from orchestration.intervals import CLAIMS, KINDS, Intervals, Kind
from orchestration.predictions import Predictions
from orchestration.report_tables import Table
from orchestration.statistics import Interval

ALL = "all ages"


@dataclass(frozen=True)
class Coverage:
    """The share of images of a group whose interval holds the true age, and the mean width in years."""

    kind: Kind
    group: str
    images: int
    share: float
    interval: Interval | None  # of the share, for new people
    width: float  # infinite where an interval has no bound


def coverage(fitted: Intervals, kept: Predictions, identities: Names) -> list[Coverage]:
    """Of every kind of interval over all images and by group of true age; `identities` [n]."""
    age = kept.column("age")
    columns = {name: kept.column(name) for name in {"predicted_age", *fitted.band}}
    masks = {ALL: np.ones(len(age), bool), **report_numbers.age_groups(age)}
    found = []
    for kind in KINDS:
        low, high = fitted.of(columns, kind)
        inside = (low <= age) & (age <= high)
        for group, mask in masks.items():
            names = [identities[row] for row in np.flatnonzero(mask).tolist()]
            found.append(
                Coverage(
                    kind,
                    group,
                    int(mask.sum()),
                    float(inside[mask].mean()),
                    rate_interval(inside[mask], names),
                    float((high - low)[mask].mean()),
                )
            )
    return found


def table(fitted: Intervals, found: Sequence[Coverage]) -> Table:
    """Coverage in per cent and mean width in years, a row for each group."""
    groups = list(dict.fromkeys(one.group for one in found))
    by = {(one.kind, one.group): one for one in found}
    columns = ["true age", "images"]
    for kind in KINDS:
        columns += [kind.replace("_", " "), "width"]
    rows = [
        [
            group,
            f"{by[KINDS[0], group].images:,}",
            *(cell for kind in KINDS for cell in _cells(by[kind, group])),
        ]
        for group in groups
    ]
    notes = [
        f"Share of images in per cent whose interval holds the true age, with its 95 % interval, and the mean"
        f" width in years; intervals of {100 * fitted.level:g} %, calibrated on {fitted.faces:,} faces of"
        f" {fitted.data}.",
        "Promised: "
        + "; ".join(f"{kind.replace('_', ' ')}, {CLAIMS[kind]}" for kind in KINDS)
        + f"; {fitted.whom}.",
    ]
    return Table("Prediction intervals", columns, rows, notes)


def _cells(one: Coverage) -> list[str]:
    ends = "" if one.interval is None else f" ({100 * one.interval.low:.1f} to {100 * one.interval.high:.1f})"
    width = f"{one.width:.1f}" if np.isfinite(one.width) else "no bound"
    return [f"{100 * one.share:.1f}{ends}", width]
