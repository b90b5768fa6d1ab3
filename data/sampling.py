"""How often training faces are drawn in an epoch: each once, or rare ages more often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data.rng import uniforms
from data.schema import age_labels

SAMPLING = 12  # the stream of these draws, apart from augmentation, order and noise
# Label distribution smoothing as its paper has it: a Gaussian of 2 years, cut after 2 years. (Its released
# code lets scipy reflect the Gaussian at the window's ends, which gives a flatter window.)
_SD, _REACH = 2.0, 2


def weights(ages: NDArray[np.float32], kind: str) -> NDArray[np.float64]:
    """Return the probability of each face [n] at a draw.

    `uniform`; `inverse_sqrt`: by one over the root of the number of faces of its age; `lds`: by one over that
    number after smoothing over neighbouring ages (label distribution smoothing, Yang et al. 2021).
    """
    years = age_labels(ages)
    counts = np.bincount(years).astype(np.float64)
    if kind == "uniform":
        weight = np.ones(len(years))
    elif kind == "inverse_sqrt":
        weight = 1 / np.sqrt(counts[years])
    else:
        kernel = np.exp(-0.5 * (np.arange(-_REACH, _REACH + 1) / _SD) ** 2)
        weight = 1 / np.convolve(counts, kernel / kernel.sum())[_REACH:-_REACH][years]
    share: NDArray[np.float64] = weight / weight.sum()
    return share


def drawn(
    rows: NDArray[np.int64], probability: NDArray[np.float64], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Return as many of `rows` as there are, drawn with replacement, in random order: [len(rows)].

    A pure function of (seed, epoch), the same on every worker.
    """
    edges = np.cumsum(probability)
    draws = uniforms(seed, epoch, np.arange(len(rows)), 1, SAMPLING)[:, 0].astype(np.float64)
    found = np.searchsorted(edges / edges[-1], draws, side="right")
    return rows[np.minimum(found, len(rows) - 1)]


def occurrences(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each of `rows` how often it came before: 0, 1, …; so that repeats can be told apart."""
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    within = np.arange(len(rows)) - np.repeat(first, np.diff(np.r_[first, len(rows)]))
    found = np.empty(len(rows), np.int64)
    found[order] = within
    return found
