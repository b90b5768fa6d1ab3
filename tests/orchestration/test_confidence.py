"""The confidence score (eq. 12) and its interval."""

import numpy as np
import pytest

from orchestration.confidence import confidence


def test_the_score_is_the_share_of_faces_in_percent() -> None:
    rows = confidence([6, 8, 10], 10)
    assert [row["tolerance"] for row in rows] == [0, 1, 2]
    assert [row["score"] for row in rows] == pytest.approx([60, 80, 100])


@pytest.mark.parametrize("count", [1, 10, 333])
def test_the_interval_holds_the_score_and_lies_between_none_and_all(count: int) -> None:
    for row in confidence(range(count + 1), count):
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 100


def test_of_no_and_of_all_faces_there_is_nothing_to_resample() -> None:
    none, every = confidence([0, 50], 50)
    assert (none["low"], none["high"], every["low"], every["high"]) == (0, 0, 100, 100)


@pytest.mark.parametrize(("hits", "count"), [(6, 10), (130, 200), (990, 1000)])
def test_the_interval_is_that_of_resampling_faces_by_index(hits: int, count: int) -> None:
    agrees = np.arange(count) < hits
    random = np.random.default_rng(1)
    shares = [agrees[random.integers(0, count, count)].mean() for _ in range(10_000)]
    low, high = 100 * np.quantile(shares, [0.025, 0.975])
    (row,) = confidence([hits], count)
    # A quantile of 10,000 draws is off by about 0.03 sd, or by one face where these are coarser.
    error = max(100 / count, 0.1 * 100 * np.std(shares)) + 1e-9
    assert abs(row["low"] - low) <= error and abs(row["high"] - high) <= error
