"""What an evaluation says of ages and genders beyond the run's own metrics. Pure numpy.

`age` and `predicted` are [n] years, `error` is predicted − age, `identities` [n] says who a face shows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.schema import age_labels
from orchestration import people
from orchestration.report_numbers import UNLABELLED
from orchestration.statistics import Interval, Values

LEVEL = 0.95
MANY, FEW = 100, 20  # training faces of an age: many-shot above, few-shot below (Yang et al., 2021)
SHOTS = ("many", "medium", "few")
BINS = 10  # of P(female)
MANY_PEOPLE = 2_000

Mask = NDArray[np.bool_]
Names = Sequence[str | None]


def mean_interval(values: Values, identities: Names) -> Interval | None:
    """95 % interval for new people of the mean of values [n] ≥ 0; None for fewer than two people.

    A bootstrap of people; of more than 2,000 the jackknife's, which is the same there and takes no time.
    """
    sums, counts = people.per_person(values, identities)
    if len(sums) < 2:
        return None
    many = len(sums) > MANY_PEOPLE
    found = (people.jackknife_interval if many else people.people_interval)(sums, counts, LEVEL)
    return Interval(max(found.low, 0.0), found.high, LEVEL)


def rate_interval(hits: Mask, identities: Names) -> Interval | None:
    """`mean_interval` of a share, within 0 and 1.

    Where nobody or everybody is hit resamples do not vary: there the bound is the exact binomial's for as
    many trials as there are people (Clopper & Pearson, 1934).
    """
    if not len(hits):
        return None
    units = len(people.per_person(hits.astype(np.float64), identities)[1])
    free = 1 - ((1 - LEVEL) / 2) ** (1 / units)
    if not hits.any():
        return Interval(0.0, free, LEVEL)
    if hits.all():
        return Interval(1 - free, 1.0, LEVEL)
    found = mean_interval(hits.astype(np.float64), identities)
    return None if found is None else Interval(found.low, min(found.high, 1.0), LEVEL)


def macro_mae(age: Values, error: Values) -> float:
    """Mean over ages, rounded half up, of each age's MAE in years: rare ages weigh like frequent ones."""
    _, code = np.unique(age_labels(age), return_inverse=True)
    return float((np.bincount(code, np.abs(error)) / np.bincount(code)).mean())


@dataclass(frozen=True)
class Group:
    """The faces that carry all of `names`; MAE and bias in years."""

    names: tuple[str, ...]
    images: int
    people: int | None  # None where not everybody is named
    mae: float
    interval: Interval | None
    bias: float


def groups(by: Sequence[Mapping[str, Mask]], error: Values, identities: Names) -> list[Group]:
    """Every combination of groups that has faces, such as an age group of one gender.

    `by` holds the faces [n] of each group by its name, for one property after the other. Faces that a
    property leaves unlabelled are in no combination; by themselves they are.
    """
    found = []
    for names in itertools.product(*by):
        if len(by) > 1 and UNLABELLED in names:
            continue
        inside = np.logical_and.reduce([masks[name] for masks, name in zip(by, names, strict=True)])
        if inside.any():
            found.append(_group(names, error[inside], _taken(identities, inside)))
    return found


def _group(names: tuple[str, ...], error: Values, identities: Names) -> Group:
    known = None if None in identities else len(set(identities))
    return Group(
        names,
        len(error),
        known,
        float(np.abs(error).mean()),
        mean_interval(np.abs(error), identities),
        float(error.mean()),
    )


def _taken(identities: Names, inside: Mask) -> Names:
    return [identities[row] for row in np.flatnonzero(inside).tolist()]


def shots(age: Values, counts: Mapping[int, int]) -> dict[str, Mask]:
    """Which faces [n] are of many-, medium- and few-shot ages, by the `counts` of training faces of an age.

    More than 100, 20 to 100, and fewer than 20, none included (Yang et al., 2021).
    """
    seen = np.array([counts.get(label, 0) for label in age_labels(age).tolist()])
    many, few = seen > MANY, seen < FEW
    return dict(zip(SHOTS, (many, ~many & ~few, few), strict=True))


def epsilon_error(predicted: Values, mean: Values, sd: Values) -> float:
    """1 − mean exp(−(ŷ − μ)²/(2σ²)) over faces whose apparent age has mean μ and deviation σ (ChaLearn LAP,
    Escalera et al., 2015).

    A face on which all guesses agreed counts as 0 if it is met exactly, else as 1.
    """
    gap = predicted - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        met = np.where(sd > 0, np.exp(-(gap**2) / (2 * sd**2)), gap == 0)
    return float(1 - met.mean())


@dataclass(frozen=True)
class Challenge:
    """A check that asks everybody for papers who is estimated younger than `challenge` years.

    `passed` is the share of those under the `legal` age who are estimated `challenge` or older (false
    positives, as in NIST's FATE age estimation); `asked` the share of the others who are estimated younger.
    """

    legal: float
    challenge: float
    group: str
    under: int
    passed: float | None  # None where nobody is under the legal age
    interval: Interval | None
    over: int
    asked: float | None


def challenge(
    age: Values, predicted: Values, legal: float, at: float, group: tuple[str, Mask], identities: Names
) -> Challenge:
    """The two shares of one group, with the interval of the first for new people."""
    name, inside = group
    under, over = inside & (age < legal), inside & (age >= legal)
    passes = predicted >= at
    interval = rate_interval(passes[under], _taken(identities, under)) if under.any() else None
    return Challenge(
        legal,
        at,
        name,
        int(under.sum()),
        float(passes[under].mean()) if under.any() else None,
        interval,
        int(over.sum()),
        float((~passes[over]).mean()) if over.any() else None,
    )


@dataclass(frozen=True)
class Reliability:
    """Faces whose P(female) lies in [low, high): how many, the mean of it, and the share of women."""

    low: float
    high: float
    images: int
    probability: float
    share: float


def reliability(probability: Values, female: Mask) -> list[Reliability]:
    """Ten bins of P(female) [n] beside who is [n]; empty bins are left out. 1 is in the last bin."""
    index = np.minimum((probability * BINS).astype(np.int64), BINS - 1)
    found = []
    for one in np.unique(index).tolist():
        inside = index == one
        mean, share = float(probability[inside].mean()), float(female[inside].mean())
        found.append(Reliability(one / BINS, (one + 1) / BINS, int(inside.sum()), mean, share))
    return found


def calibration_error(bins: Sequence[Reliability]) -> float:
    """Expected calibration error: Σ n_b/n · |mean P(female) − share of women| (Naeini et al., 2015)."""
    total = sum(one.images for one in bins)
    if not total:
        return math.nan
    return sum(one.images * abs(one.probability - one.share) for one in bins) / total


def worst(error: Values, count: int) -> NDArray[np.int64]:
    """The rows [count] of the largest absolute errors, the largest first."""
    rows: NDArray[np.int64] = np.argsort(-np.abs(error), kind="stable")[:count]
    return rows
