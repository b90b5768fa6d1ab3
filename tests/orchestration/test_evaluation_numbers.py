"""An evaluation's numbers against hand-computed values, naive loops and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestration import evaluation_numbers as numbers

NOBODY = [None] * 6


def test_macro_mae_weighs_every_age_alike() -> None:
    age = np.array([10.0, 10.0, 10.0, 49.6, 50.4, 50.5])  # 10, 50 and, rounded half up, 51
    error = np.array([1.0, -1.0, 4.0, 6.0, -2.0, 9.0])
    assert numbers.macro_mae(age, error) == pytest.approx((2 + 4 + 9) / 3)


def test_groups_are_all_combinations_that_have_faces() -> None:
    young = np.array([True, True, True, False, False, False])
    man = np.array([True, False, False, True, True, False])
    unlabelled = ~man & ~np.array([False, True, True, False, False, False])
    woman = ~man & ~unlabelled
    by = [{"0–9": young, "10–19": ~young}, {"F": woman, "M": man, numbers.UNLABELLED: unlabelled}]
    error = np.array([1.0, -2.0, 4.0, 3.0, -5.0, 100.0])
    found = {group.names: group for group in numbers.groups(by, error, ["a", "b", "b", "c", "c", "d"])}
    assert set(found) == {("0–9", "M"), ("0–9", "F"), ("10–19", "M")}
    women = found["0–9", "F"]
    assert (women.images, women.people, women.mae, women.bias) == (2, 1, 3.0, 1.0)
    assert women.interval is None  # one person: no telling how people vary
    assert [g.images for g in numbers.groups(by[1:], error, NOBODY)] == [2, 3, 1]


def test_interval_of_images_of_their_own_is_the_t_interval() -> None:
    # Fewer than 40 units: the jackknife of a mean is the textbook standard error.
    values = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    found = numbers.mean_interval(values, NOBODY)
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))


def test_interval_is_wider_where_images_of_a_person_go_together() -> None:
    random = np.random.default_rng(0)
    values = np.repeat(random.normal(5, 1, 100), 9)
    names = [str(i) for i in np.repeat(np.arange(100), 9)]
    clustered, single = (numbers.mean_interval(values, who) for who in (names, [None] * 900))
    assert clustered is not None
    assert single is not None
    assert (clustered.high - clustered.low) / (single.high - single.low) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("hit", [False, True])
def test_interval_of_a_share_without_variation_is_clopper_and_pearsons(hit: bool) -> None:
    names = [f"p{i // 2}" for i in range(60)]  # 30 people
    found = numbers.rate_interval(np.full(60, hit), names)
    exact = stats.binomtest(30 if hit else 0, 30).proportion_ci(0.95, "exact")
    assert found is not None
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_intervals_stay_where_values_can_be() -> None:
    found = numbers.rate_interval(np.array([True, True, True, True, False]), NOBODY[:5])
    assert found is not None
    assert found.high == 1.0
    of_few = numbers.mean_interval(np.array([0.1, 9.0]), NOBODY[:2])
    assert of_few is not None
    assert of_few.low == 0.0  # the t interval would reach below


def test_shots_follow_the_training_faces_of_an_age() -> None:
    counts = {10: 101, 20: 100, 30: 20, 40: 19}
    found = numbers.shots(np.array([10.0, 20.0, 30.0, 40.0, 50.0, 10.4]), counts)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "many": [0, 5],
        "medium": [1, 2],
        "few": [3, 4],
    }


def test_epsilon_error_against_its_formula() -> None:
    predicted, mean, sd = (
        np.array([30.0, 26.0, 50.0]),
        np.array([30.0, 20.0, 45.0]),
        np.array([4.0, 3.0, 5.0]),
    )
    naive = 1 - (1 + math.exp(-36 / 18) + math.exp(-25 / 50)) / 3
    assert numbers.epsilon_error(predicted, mean, sd) == pytest.approx(naive)


def test_epsilon_error_where_all_guesses_agreed() -> None:
    zeros = np.zeros(2)
    assert numbers.epsilon_error(np.array([20.0, 21.0]), np.array([20.0, 20.0]), zeros) == 0.5


def test_challenge_counts_minors_that_pass_and_adults_that_are_asked() -> None:
    age = np.array([15.0, 17.9, 16.0, 18.0, 30.0, 40.0])
    predicted = np.array([26.0, 25.0, 24.9, 20.0, 31.0, 24.0])
    group = ("all", np.ones(6, bool))
    found = numbers.challenge(age, predicted, 18, 25, group, NOBODY)
    assert (found.under, found.passed) == (3, pytest.approx(2 / 3))
    assert (found.over, found.asked) == (3, pytest.approx(2 / 3))
    of_one = numbers.challenge(age, predicted, 18, 25, ("F", age < 17), NOBODY)
    assert (of_one.under, of_one.passed, of_one.over, of_one.asked) == (2, 0.5, 0, None)
    without = numbers.challenge(age, predicted, 10, 25, group, NOBODY)
    assert (without.under, without.passed, without.interval) == (0, None, None)


def test_reliability_and_its_error_by_hand() -> None:
    probability = np.array([0.05, 0.15, 0.15, 0.95, 1.0, 0.1])
    female = np.array([False, True, False, True, True, False])
    bins = numbers.reliability(probability, female)
    assert [(one.low, one.images, one.share) for one in bins] == [
        (0.0, 1, 0.0),
        (0.1, 3, 1 / 3),
        (0.9, 2, 1.0),
    ]
    expected = (1 * 0.05 + 3 * (1 / 3 - 0.4 / 3) + 2 * (1 - 0.975)) / 6
    assert numbers.calibration_error(bins) == pytest.approx(expected)


def test_calibration_error_vanishes_where_probabilities_are_true() -> None:
    random = np.random.default_rng(0)
    probability = random.uniform(size=200_000)
    female = random.uniform(size=200_000) < probability
    assert numbers.calibration_error(numbers.reliability(probability, female)) < 0.01
    overconfident = np.where(probability > 0.5, 0.99, 0.01)
    assert numbers.calibration_error(numbers.reliability(overconfident, female)) == pytest.approx(
        0.24, abs=0.01
    )


def test_worst_rows_come_by_their_absolute_error() -> None:
    assert numbers.worst(np.array([1.0, -7.0, 3.0, 5.0]), 3).tolist() == [1, 3, 2]
