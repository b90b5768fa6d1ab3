"""Every age into train, where people stay together: two people change places for an age that train lacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.people import BIN, NO_PART, Labelled, Parts
from data.schema import age_labels

Counts = NDArray[np.int64]

_LEAST = 0.9  # of a part's faces stay in it


def with_every_age(faces: Labelled, people: dict[str, list[int]], parts: Parts) -> Parts:
    """Return `parts` [n], so changed that part 0 has the ages of `people` that exchanges can bring to it.

    For each age that it lacks, someone who has it changes places with one of its people, or comes without an
    exchange: of the ways that take no age from part 0, and leave the other part nine tenths of the faces it
    had, the one after which Σ (faces in a bin)² / (as many as before) over parts and bins of years is least.
    """
    labels = age_labels(faces.ages)
    width = labels.max() + 1
    names = sorted(people)
    ages = np.array([np.bincount(labels[people[name]], minlength=width) for name in names])
    home = np.array([parts[people[name][0]] for name in names])
    before = np.array([_binned(ages[home == part].sum(0)) for part in range(parts.max() + 1)])
    for age in np.flatnonzero(ages.sum(0)).tolist():
        if not ages[home == 0, age].any():
            _exchange(age, ages, home, before)
    changed = np.full(len(parts), NO_PART, np.int64)
    for name, part in zip(names, home, strict=True):
        changed[people[name]] = part
    return changed


def _exchange(age: int, ages: Counts, home: Counts, before: Counts) -> None:
    """Change `home` [people] so that part 0 has `age`, if that can be.

    `ages` [people, ages] counts faces; `before` [parts, bins] did before any exchange.
    """
    target = np.maximum(before, 1)
    train = ages[home == 0].sum(0)
    leaving = np.append(np.flatnonzero(home == 0), -1)  # -1: nobody
    given = np.where(leaving[:, None] >= 0, ages[leaving], 0)
    best, chosen = np.inf, None
    for person in np.flatnonzero(ages[:, age]):
        after = train + ages[person] - given
        allowed = (after[:, train > 0] > 0).all(1)
        there = ages[home == home[person]].sum(0) - ages[person] + given
        allowed &= there.sum(-1) >= _LEAST * before[home[person]].sum()
        cost = _cost(after, target[0]) + _cost(there, target[home[person]])
        cost -= _cost(ages[home == home[person]].sum(0), target[home[person]])  # else parts would not compare
        cost[~allowed] = np.inf
        if cost.min() < best:
            best, chosen = float(cost.min()), (person, int(leaving[cost.argmin()]))
    if chosen is not None:
        person, other = chosen
        home[person], part = 0, home[person]
        if other >= 0:
            home[other] = part


def _cost(counts: Counts, target: Counts) -> NDArray[np.float64]:
    """Return Σ count² / target over age bins, [...], of faces by age [..., ages]."""
    cost: NDArray[np.float64] = (_binned(counts) ** 2 / target).sum(-1)
    return cost


def _binned(counts: Counts) -> Counts:
    """Return faces by age bin of faces by age, [..., ages]."""
    return np.add.reduceat(counts, np.arange(0, counts.shape[-1], BIN), axis=-1)
