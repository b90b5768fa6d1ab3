"""How often training faces are drawn: probabilities by hand, the kernel by a loop, no worker apart."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import sampling

AGES = np.array([20, 20, 20, 20, 21, 30.4, 29.6, 29.5, 30.4], np.float32)  # 4 of 20, 1 of 21, 4 of 30


def test_uniform_draws_every_face_alike() -> None:
    np.testing.assert_allclose(sampling.weights(AGES, "uniform"), np.full(9, 1 / 9))


def test_inverse_sqrt_by_hand() -> None:
    """One over 2, 1 and 2: 4 · ½ + 1 + 4 · ½ = 5."""
    expected = [0.1] * 4 + [0.2] + [0.1] * 4
    np.testing.assert_allclose(sampling.weights(AGES, "inverse_sqrt"), expected)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60))
def test_lds_is_one_over_the_smoothed_number_of_faces(ages: list[int]) -> None:
    counts = Counter(ages)
    kernel = {d: math.exp(-(d**2) / (2 * 2.0**2)) for d in range(-2, 3)}
    total = sum(kernel.values())
    smooth = {a: sum(w / total * counts[a + d] for d, w in kernel.items()) for a in counts}
    shares = [1 / smooth[a] for a in ages]
    expected = [share / sum(shares) for share in shares]
    np.testing.assert_allclose(sampling.weights(np.array(ages, np.float32), "lds"), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["inverse_sqrt", "lds"])
def test_draws_follow_the_probabilities(kind: str) -> None:
    """The share of each age over 60 epochs of 1,800 draws, within four standard errors."""
    ages = np.repeat(AGES, 200)
    probability = sampling.weights(ages, kind)
    rows = np.arange(len(ages))
    drawn = np.concatenate([sampling.drawn(rows, probability, 0, epoch) for epoch in range(60)])
    for year in (20, 21, 30):
        of_age = np.round(ages) == year
        p = probability[of_age].sum()
        error = math.sqrt(p * (1 - p) / len(drawn))
        assert abs(of_age[drawn].mean() - p) < 4 * error


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    rows, probability = np.arange(10, 19), sampling.weights(AGES, "lds")
    first = sampling.drawn(rows, probability, 3, 5)
    np.testing.assert_array_equal(first, sampling.drawn(rows, probability, 3, 5))
    assert set(first.tolist()) <= set(rows.tolist()) and len(first) == 9
    others = [sampling.drawn(rows, probability, seed, epoch) for seed, epoch in ((4, 5), (3, 6))]
    assert all((other != first).any() for other in others)


@given(st.lists(st.integers(0, 5), max_size=40))
def test_repeats_are_counted(rows: list[int]) -> None:
    expected = [rows[:i].count(row) for i, row in enumerate(rows)]
    assert sampling.occurrences(np.array(rows, np.int64)).tolist() == expected
