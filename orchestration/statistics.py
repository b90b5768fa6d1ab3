"""Tests and intervals over seeds or splits: paired t, Holm, sign flips, overlapping splits, power.

Pure numpy and scipy. Differences are [..., n]: the last axis holds the n pairs, any axes before it are
separate comparisons, so that thousands of simulated studies are one call.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

Values = NDArray[np.float64]

EXACT_PAIRS = 14  # up to 2¹⁴ sign patterns are gone through one by one
FLIPS = 9_999  # else so many are drawn
POWER = 0.8


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`, at a confidence `level` such as 0.95."""

    low: float
    high: float
    level: float

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside."""
        return self.low > 0 or self.high < 0


def mean_sd(values: ArrayLike) -> tuple[float, float]:
    """Mean and standard deviation (ddof 1); NaN is the sd of one value."""
    given = np.asarray(values, np.float64)
    return float(given.mean()), float(given.std(ddof=1)) if len(given) > 1 else float("nan")


def _mean_error(differences: ArrayLike, overlap: float) -> tuple[Values, Values, int]:
    """Mean [...], its standard error [...] and the number of pairs. Raises ValueError for fewer than two."""
    given = np.asarray(differences, np.float64)
    n = given.shape[-1]
    if n < 2:
        raise ValueError(f"a paired comparison needs at least two pairs. Received: {n}")
    # Nadeau & Bengio (2003): splits that share training images have means that vary together.
    return given.mean(-1), given.std(-1, ddof=1) * np.sqrt(1 / n + overlap), n


def paired_t(differences: ArrayLike, overlap: float = 0.0) -> Values:
    """Two-sided p [...] of the paired t test on differences [..., n] that their mean is 0.

    `overlap` is n_test/n_train where the pairs are overlapping random splits: the variance of the mean is
    then (1/n + n_test/n_train)·s² (Nadeau & Bengio, 2003). Differences that are all 0 have p = 1.
    """
    mean, error, n = _mean_error(differences, overlap)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(mean == 0, 0.0, mean / error)
    p: Values = 2 * stats.t.sf(np.abs(t), n - 1)
    return p


def t_bounds(differences: ArrayLike, level: float, overlap: float = 0.0) -> tuple[Values, Values]:
    """Both ends [...] of the t interval of the mean of differences [..., n]; `overlap` as in `paired_t`."""
    mean, error, n = _mean_error(differences, overlap)
    half = stats.t.ppf((1 + level) / 2, n - 1) * error
    return mean - half, mean + half


def t_interval(differences: ArrayLike, level: float, overlap: float = 0.0) -> Interval:
    """`t_bounds` of one comparison."""
    low, high = t_bounds(differences, level, overlap)
    return Interval(float(low), float(high), level)


def holm(p: ArrayLike) -> Values:
    """Holm's adjusted p values [..., m] of a family of m along the last axis (Holm, 1979)."""
    given = np.asarray(p, np.float64)
    m = given.shape[-1]
    order = np.argsort(given, axis=-1)
    scaled = np.take_along_axis(given, order, -1) * (m - np.arange(m))
    adjusted = np.minimum(1.0, np.maximum.accumulate(scaled, axis=-1))
    result = np.empty_like(given)
    np.put_along_axis(result, order, adjusted, -1)
    return result


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the sign-flip permutation test on differences [n], whose statistic is their mean.

    Exact up to 14 pairs; else (b + 1)/(B + 1) over B = 9,999 drawn patterns (Phipson & Smyth, 2010).
    """
    given = np.asarray(differences, np.float64)
    n = len(given)
    # Sums that are equal but for rounding are ties.
    observed = abs(given.sum()) - 1e-9 * np.abs(given).sum()
    if n <= EXACT_PAIRS:
        # A pattern and its mirror image give the same statistic: half of them are enough.
        patterns = np.array(list(itertools.product((1.0, -1.0), repeat=n - 1))).reshape(-1, n - 1)
        sums = np.abs(given[0] + patterns @ given[1:])
        return float((sums >= observed).mean())
    generator = np.random.default_rng(seed)
    reached = sum(
        int((np.abs((1 - 2 * generator.integers(0, 2, (size, n))) @ given) >= observed).sum())
        for size in _chunks(FLIPS, n)
    )
    return (reached + 1) / (FLIPS + 1)


def _chunks(draws: int, width: int) -> list[int]:
    """`draws` in pieces of at most about 4 million numbers."""
    size = max(1, 4_000_000 // max(1, width))
    return [min(size, draws - start) for start in range(0, draws, size)]


def sign_flip_floor(n: int) -> float:
    """The least p that n pairs can have under sign flips: 2/2ⁿ."""
    return float(2.0 ** (1 - n)) if n <= EXACT_PAIRS else 1 / (FLIPS + 1)


def power(effect: float, n: int, alpha: float, overlap: float = 0.0) -> float:
    """How often a two-sided paired t test of n pairs at `alpha` rejects a mean of `effect` sds of a pair."""
    shift = effect / np.sqrt(1 / n + overlap)
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    # The far tail is 0 where it matters, and scipy's series does not always end there.
    far = np.nan_to_num(stats.nct.cdf(-critical, n - 1, shift))
    return float(stats.nct.sf(critical, n - 1, shift) + far)


def detectable(sd: float, n: int, alpha: float, overlap: float = 0.0) -> float:
    """The mean difference that n pairs detect with power .8, given the `sd` of paired differences.

    `alpha` is the level of one comparison: α/m in a family of m. Infinite for fewer than two pairs.
    """
    if n < 2:
        return float("inf")
    if sd == 0:
        return 0.0

    def missing(effect: float) -> float:
        return power(effect, n, alpha, overlap) - POWER

    high = 1.0
    while missing(high) < 0:
        high *= 2
    found: Any = optimize.brentq(missing, 0.0, high, xtol=1e-6)
    return float(found) * sd
