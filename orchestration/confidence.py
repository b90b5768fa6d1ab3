"""The confidence score (eq. 12): how often the age and the age of the predicted position agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 10_000


def confidence(agreeing: Sequence[int], count: int) -> list[dict[str, float]]:
    """Eq. (12) over `count` faces for t = 0, 1, … years, each with its 95 % bootstrap interval, in percent.

    `agreeing[t]` faces have ages at most t years apart. Resampling faces with replacement draws their number
    from a binomial distribution, so the bootstrap needs the counts alone. The paper used 10 faces and no
    interval; this one is over faces, and too narrow for new people where a person has several.
    """
    random = np.random.default_rng(0)
    rows = []
    for tolerance, hits in enumerate(agreeing):
        resampled = random.binomial(count, hits / count, RESAMPLES) / count
        low, high = np.quantile(resampled, [0.025, 0.975])
        rows.append(
            {
                "tolerance": float(tolerance),
                "score": 100 * hits / count,
                "low": 100 * float(low),
                "high": 100 * float(high),
            }
        )
    return rows
