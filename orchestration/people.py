"""Intervals for new people: seeds × people resampled together, and people alone where there is one seed.

Errors of several images of one person go together, so whole people are resampled. `sums` are sums of
paired differences of absolute errors over a person's images, `counts` how many images that is: the
difference of MAE is Σ sums / Σ counts. Pure numpy and scipy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from orchestration.statistics import Interval, Values

RESAMPLES = 10_000
FEW_PEOPLE = 40  # below this a bootstrap of people is too narrow
BCA_LEAST = 20  # BCa covers .84 instead of .95 at n = 6


def per_person(differences: Values, identities: Sequence[str | None]) -> tuple[Values, Values]:
    """Sums [..., i] of differences [..., n] over each person's images, and counts [i] of them.

    An image whose person is not known stands for itself.
    """
    known = {name: code for code, name in enumerate(sorted({x for x in identities if x is not None}))}
    codes = np.array(
        [known[x] if x is not None else len(known) + row for row, x in enumerate(identities)], np.int64
    )
    _, codes = np.unique(codes, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return np.add.reduceat(differences[..., order], starts, axis=-1), np.bincount(codes).astype(np.float64)


def crossed_half_width(sums: Values, counts: Values, level: float) -> Values:
    """Half the width [...] of the interval at `level` of the mean of sums [..., r, i] over counts [i].

    t with Satterthwaite's degrees of freedom on the crossed variance; where two or three seeds make those
    meaningless, at least what seeds alone or people alone would give.
    """
    of_seeds, of_people, of_both = crossed_variance(sums, counts)
    seeds, people = sums.shape[-2:]
    variance = of_seeds + of_people + of_both
    parts = (of_seeds, seeds - 1), (of_people, people - 1), (of_both, (seeds - 1) * (people - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = np.where(variance > 0, variance**2 / sum(v**2 / f for v, f in parts), 1.0)
    side = (1 + level) / 2
    widths = [stats.t.ppf(side, freedom) * np.sqrt(variance)]
    widths += [stats.t.ppf(side, f) * np.sqrt(v) for v, f in parts[:2]]
    widest: Values = np.max(widths, axis=0)
    return widest


def crossed_variance(sums: Values, counts: Values) -> tuple[Values, Values, Values]:
    """Variance [...] of the mean of sums [..., r, i] over counts [i]: the parts of seeds, people and both.

    r seeds and i people are resampled independently, each with replacement, r − 1 and i − 1 of them so
    that the variance of either alone is unbiased (Rao & Wu, 1988). The statistic is bilinear in both sets
    of weights, so the variance over infinitely many resamples has a closed form: seeds' part + people's
    part + that of both (Owen, 2007). It counts the last three times: it errs to the wide side.
    """
    seeds, people = sums.shape[-2:]
    if seeds < 2 or people < 2:
        raise ValueError(f"needs two seeds and two people. Received: {seeds} and {people}")
    total = counts.sum()
    estimate = sums.sum((-2, -1), keepdims=True) / (seeds * total)
    rest = (sums - estimate * counts) / total  # what each seed and person adds to the linearised statistic
    of_seeds = rest.sum(-1).var(-1, ddof=1) / seeds
    of_people = (rest.mean(-2) * people).var(-1, ddof=1) / people
    centred = rest - rest.mean(-1, keepdims=True) - rest.mean(-2, keepdims=True)
    centred = centred + rest.mean((-2, -1), keepdims=True)
    of_both = (centred**2).sum((-2, -1)) * people / (seeds * (seeds - 1) * (people - 1))
    return of_seeds, of_people, of_both


def crossed_interval(sums: Values, counts: Values, level: float) -> Interval:
    """The interval for new seeds and new people of a difference with sums [r, i] and counts [i]."""
    estimate = float(sums.sum() / (len(sums) * counts.sum()))
    half = float(crossed_half_width(sums, counts, level))
    return Interval(estimate - half, estimate + half, level)


def people_interval(sums: Values, counts: Values, level: float, seed: int = 0) -> Interval:
    """The interval for new people of a difference with sums [i] and counts [i].

    From 40 people on the BCa bootstrap of people; below, a t interval on the jackknife that leaves out one
    person at a time.
    """
    if len(sums) < FEW_PEOPLE:
        return jackknife_interval(sums, counts, level)
    return bca_interval(sums, counts, level, seed)


def _left_out(sums: Values, counts: Values) -> Values:
    """The statistic without each person [i]."""
    found: Values = (sums.sum() - sums) / (counts.sum() - counts)
    return found


def jackknife_interval(sums: Values, counts: Values, level: float) -> Interval:
    """t interval with the leave-one-person-out standard error and i − 1 degrees of freedom."""
    people = len(sums)
    if people < 2:
        raise ValueError(f"needs two people. Received: {people}")
    estimate = sums.sum() / counts.sum()
    left = _left_out(sums, counts)
    error = np.sqrt((people - 1) / people * ((left - left.mean()) ** 2).sum())
    half = float(stats.t.ppf((1 + level) / 2, people - 1) * error)
    return Interval(float(estimate) - half, float(estimate) + half, level)


def bca_interval(sums: Values, counts: Values, level: float, seed: int = 0) -> Interval:
    """Bias-corrected and accelerated bootstrap of people (Efron, 1987): 10,000 resamples of ≥ 20 people."""
    people = len(sums)
    if people < BCA_LEAST:
        raise ValueError(f"BCa needs at least {BCA_LEAST} people. Received: {people}")
    estimate = sums.sum() / counts.sum()
    drawn = _resampled(sums, counts, seed)
    left = _left_out(sums, counts)
    away = left.mean() - left
    spread = (away**2).sum()
    if spread == 0:
        return Interval(float(estimate), float(estimate), level)
    acceleration = (away**3).sum() / (6 * spread**1.5)
    # Resamples equal to the estimate count half.
    below = ((drawn < estimate).sum() + 0.5 * (drawn == estimate).sum()) / len(drawn)
    bias = stats.norm.ppf(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    tails = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(drawn, stats.norm.cdf(bias + tails / (1 - acceleration * tails)))
    return Interval(float(low), float(high), level)


def _resampled(sums: Values, counts: Values, seed: int) -> Values:
    """The statistic of 10,000 resamples of people."""
    generator = np.random.default_rng(seed)
    people = len(sums)
    found = []
    size = max(1, 4_000_000 // people)
    for start in range(0, RESAMPLES, size):
        rows: NDArray[np.int64] = generator.integers(0, people, (min(size, RESAMPLES - start), people))
        found.append(sums[rows].sum(1) / counts[rows].sum(1))
    return np.concatenate(found)
