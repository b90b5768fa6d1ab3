"""Split-conformal prediction intervals of age. Pure numpy.

A head gives each face a band from `low` to `high`: its estimate twice, or two of its quantiles. The score
of an age is how far it lies outside the band, negative inside: |ŷ − y| for an estimate (Lei et al., 2018),
the score of conformalised quantile regression for quantiles (Romano et al., 2019). An interval is the band
widened by a threshold on the scores of faces that neither trained nor chose the model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestration.statistics import Values

BIN_YEARS = 10
LEAST = 50  # faces in a bin
_ROUNDING = 1e-9  # (n + 1)·(1 − α) that should be whole may come out a little above


@dataclass(frozen=True)
class Binned:
    """A threshold in years for each bin of ages; bins are parted by `edges`, and one begins at its edge."""

    edges: tuple[float, ...]
    faces: tuple[int, ...]  # that each threshold rests on
    thresholds: tuple[float, ...]  # infinite where faces or people are too few for the level

    def bins(self, ages: Values) -> NDArray[np.int64]:
        """The bin [n] of ages [n]."""
        return np.searchsorted(self.edges, ages, side="right")

    def at(self, ages: Values) -> Values:
        """The threshold [n] of the bin of ages [n]."""
        found: Values = np.asarray(self.thresholds, np.float64)[self.bins(ages)]
        return found


def scores(low: Values, high: Values, age: Values) -> Values:
    """How far ages [n] lie outside their bands [n], in years; negative inside."""
    found: Values = np.maximum(low - age, age - high)
    return found


def threshold(given: Values, level: float, identities: Sequence[str | None] | None = None) -> float:
    """The ⌈(n + 1)·level⌉-th smallest of n scores, infinite where n is too small for it.

    With `identities` [n] the unit is the person: the scores of each weigh one person, and (k + 1)·level
    of k people must be reached (hierarchical conformal prediction; Lee, Barber & Willett, 2023). Then the
    coverage is that of a new person's image. An image without identity stands for itself.
    """
    weight = np.ones(len(given)) if identities is None else of_equal_people(identities)
    order = np.argsort(given, kind="stable")
    units = round(float(weight.sum()))
    reached = np.cumsum(weight[order])
    index = int(np.searchsorted(reached, (units + 1) * level - _ROUNDING))
    return float(given[order][index]) if index < len(given) else math.inf


def of_equal_people(identities: Sequence[str | None]) -> Values:
    """Weights [n] under which every person counts once; an image without identity is a person."""
    names = [name if name is not None else row for row, name in enumerate(identities)]
    codes = {name: code for code, name in enumerate(dict.fromkeys(names))}
    code = np.array([codes[name] for name in names], np.int64)
    weights: Values = 1 / np.bincount(code, minlength=1)[code]
    return weights


def edges(ages: Values, least: int = LEAST) -> tuple[float, ...]:
    """What parts ages [n] into bins of ten years, merged with the next older until each holds `least` faces.

    Too few at the end join the bin before; fewer than 2·least faces may so leave one bin, without edges.
    """
    decades = np.floor(np.asarray(ages) / BIN_YEARS).astype(np.int64)
    found: list[float] = []
    held, left = 0, len(decades)
    for decade, count in zip(*np.unique(decades, return_counts=True), strict=True):
        if held >= least and left >= least:
            found.append(float(decade * BIN_YEARS))
            held = 0
        held, left = held + int(count), left - int(count)
    return tuple(found)


def fit(
    given: Values,
    level: float,
    identities: Sequence[str | None] | None = None,
    by: Values | None = None,
) -> Binned:
    """Thresholds of scores [n] within bins of the ages `by` [n], or one for all where `by` is None."""
    if by is None:
        return Binned((), (len(given),), (threshold(given, level, identities),))
    cuts = edges(by)
    index = np.searchsorted(cuts, by, side="right")
    faces, found = [], []
    for one in range(len(cuts) + 1):
        rows = np.flatnonzero(index == one)
        names = None if identities is None else [identities[row] for row in rows.tolist()]
        faces.append(len(rows))
        found.append(threshold(given[rows], level, names))
    return Binned(cuts, tuple(faces), tuple(found))


def widened(low: Values, high: Values, by: Values) -> tuple[Values, Values]:
    """Bands [n] widened by thresholds `by` [n] to intervals [n], in years from 0 on.

    Where a negative threshold would leave nothing of a band its middle stays, which covers no less.
    """
    middle = (low + high) / 2
    return np.clip(np.minimum(low - by, middle), 0, None), np.clip(np.maximum(high + by, middle), 0, None)


def of_accepting_bins(low: Values, high: Values, binned: Binned) -> tuple[Values, Values]:
    """The hull [n] of all ages whose own bin of true age accepts them, in years from 0 on.

    An age is accepted if its score is at most its own bin's threshold, so that each bin of true ages is
    covered by itself. Where no age is accepted the band's middle stays.
    """
    begins, ends = (0.0, *binned.edges), (*binned.edges, math.inf)
    lowest, highest = np.full(len(low), math.inf), np.full(len(low), -math.inf)
    for begin, end, by in zip(begins, ends, binned.thresholds, strict=True):
        first, last = np.maximum(low - by, begin), np.minimum(high + by, end)
        accepts = (first <= last) & ((first < end) | (end == math.inf))
        lowest = np.where(accepts, np.minimum(lowest, first), lowest)
        highest = np.where(accepts, np.maximum(highest, last), highest)
    empty = lowest > highest
    middle = np.clip((low + high) / 2, 0, None)
    return np.where(empty, middle, lowest), np.where(empty, middle, highest)
