"""Conformal thresholds, bins and intervals against hand-computed values and simulated coverage."""

import math

import numpy as np
import pytest

from orchestration import conformal
from orchestration.conformal import Binned

RUNS = 4000
ERROR = math.sqrt(0.9 * 0.1 / RUNS)  # of a simulated coverage near .9


def test_threshold_is_the_score_of_the_right_rank() -> None:
    scores = np.array([5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0])  # n = 9: ⌈10 · 0.8⌉ = 8th
    assert conformal.threshold(scores, 0.8) == 8.0
    assert conformal.threshold(scores, 0.81) == 9.0
    assert conformal.threshold(scores, 0.9) == 9.0  # 10 · 0.9 is 9 exactly


@pytest.mark.parametrize(("n", "finite"), [(8, False), (9, True)])
def test_too_few_scores_give_an_infinite_threshold(n: int, finite: bool) -> None:
    assert math.isfinite(conformal.threshold(np.arange(float(n)), 0.9)) is finite


def test_no_scores_give_an_infinite_threshold() -> None:
    assert conformal.threshold(np.array([]), 0.5) == math.inf


def test_people_weigh_alike_whatever_their_number_of_images() -> None:
    # Three people: of the 4 units 0.75 · 4 = 3 are to be reached, which takes all images of all three.
    scores = np.array([1.0, 2.0, 3.0, 4.0, 10.0, 5.0])
    names = ["a", "a", "a", "a", "b", "c"]
    assert conformal.threshold(scores, 0.75, names) == 10.0
    assert conformal.threshold(scores, 0.5, names) == 5.0  # a and c: 2 of 4
    assert conformal.threshold(scores, 0.5) == 4.0  # of images the ⌈3.5⌉-th
    assert conformal.threshold(scores, 0.8, names) == math.inf


def test_one_image_each_is_the_threshold_of_images() -> None:
    scores = np.random.default_rng(0).normal(size=57)
    names = [f"p{i}" for i in range(57)]
    for level in (0.1, 0.5, 0.9, 0.95):
        assert conformal.threshold(scores, level, names) == conformal.threshold(scores, level)


def test_faces_without_identity_are_people_of_their_own() -> None:
    assert conformal.of_equal_people(["a", None, "a", None]).tolist() == [0.5, 1.0, 0.5, 1.0]


def test_scores_of_a_band() -> None:
    low, high = np.array([10.0, 10.0, 10.0, 30.0]), np.array([20.0, 20.0, 20.0, 30.0])
    assert conformal.scores(low, high, np.array([8.0, 23.0, 18.0, 27.0])).tolist() == [2, 3, -2, 3]


def test_coverage_of_new_faces_is_the_rank_over_n_plus_one() -> None:
    random = np.random.default_rng(1)
    draws = random.exponential(size=(RUNS, 31))
    covered = [row[30] <= conformal.threshold(row[:30], 0.9) for row in draws]
    assert np.mean(covered) == pytest.approx(28 / 31, abs=4 * ERROR)  # ⌈31 · 0.9⌉ = 28


def test_coverage_of_new_people_where_images_of_a_person_go_together() -> None:
    # Those with many images are easy: thresholds that count images are too small for a new person.
    random = np.random.default_rng(2)
    by_person, by_image = 0, 0
    for _ in range(RUNS):
        images = random.choice([1, 8], 41)
        hardness = np.where(images == 8, 1.0, 4.0)
        code = np.repeat(np.arange(41), images)
        scores = hardness[code] * np.abs(random.normal(size=41)[code] + 0.3 * random.normal(size=len(code)))
        seen, new = code < 40, int(np.flatnonzero(code == 40)[0])
        names = [str(one) for one in code[seen]]
        by_person += scores[new] <= conformal.threshold(scores[seen], 0.9, names)
        by_image += scores[new] <= conformal.threshold(scores[seen], 0.9)
    assert 0.9 - 4 * ERROR < by_person / RUNS < 0.9 + 1 / 41 + 4 * ERROR
    assert by_image / RUNS < 0.8


def test_bins_hold_fifty_faces_or_join_their_neighbour() -> None:
    ages = np.repeat([5.0, 15.0, 25.0, 35.0, 45.0], [20, 40, 60, 50, 49])
    assert conformal.edges(ages) == (20.0, 30.0)
    assert conformal.fit(np.zeros(len(ages)), 0.9, by=ages).faces == (60, 60, 99)
    assert conformal.edges(ages[:99]) == ()
    assert conformal.edges(np.array([])) == ()


def test_a_bin_begins_at_its_edge() -> None:
    binned = Binned((20.0, 30.0), (50, 50, 50), (1.0, 2.0, 3.0))
    assert binned.at(np.array([0.0, 19.9, 20.0, 29.9, 30.0, 99.0])).tolist() == [1, 1, 2, 2, 3, 3]


def test_widened_bands_start_at_birth_and_never_turn_inside_out() -> None:
    low, high = np.array([3.0, 20.0, 20.0]), np.array([3.0, 40.0, 22.0])
    given = conformal.widened(low, high, np.array([5.0, -4.0, -4.0]))
    assert np.array(given).T.tolist() == [[0, 8], [24, 36], [21, 21]]


def test_an_infinite_threshold_bounds_nothing() -> None:
    low, high = conformal.widened(np.array([30.0]), np.array([30.0]), np.array([math.inf]))
    assert (low[0], high[0]) == (0, math.inf)


def test_hull_of_the_ages_that_their_own_bin_accepts() -> None:
    # Of 24 years: bin 0–20 accepts 21.5 … 26.5, so none of its own; 20–30 accepts 23 … 25; over 30 accepts
    # 14 … 34, of its own 30 … 34. The hull is 23 … 34.
    binned = Binned((20.0, 30.0), (50, 50, 50), (2.5, 1.0, 10.0))
    ages = np.array([24.0, 21.0, 8.0])
    low, high = conformal.of_accepting_bins(ages, ages, binned)
    # 21: 18.5 … 20 of the first, 20 … 22 of the second, 30 … 31 of the third.
    assert np.array([low, high]).T.tolist() == [[23, 34], [18.5, 31], [5.5, 10.5]]


def test_where_no_bin_accepts_the_estimate_stays() -> None:
    binned = Binned((20.0,), (50, 50), (-1.0, -1.0))
    given = conformal.of_accepting_bins(np.array([25.0]), np.array([25.5]), binned)
    assert [ends.tolist() for ends in given] == [[25.25], [25.25]]


@pytest.fixture(scope="module")
def simulated() -> dict[str, np.ndarray]:
    """Coverage [repetition, bin] of kinds of intervals, where the old are guessed worse and too young."""
    random = np.random.default_rng(3)
    found: dict[str, list[list[float]]] = {"overall": [], "by_true_age": [], "by_predicted_age": []}
    for _ in range(25):
        age = random.uniform(0, 80, 12_000)
        guess = np.clip(30 + 0.8 * (age - 30) + (1 + age / 10) * random.normal(size=len(age)), 0, None)
        given = conformal.scores(guess, guess, age)
        fitted, tested = slice(2_000), slice(2_000, None)
        overall = conformal.fit(given[fitted], 0.9)
        of_true = conformal.fit(given[fitted], 0.9, by=age[fitted])
        of_guess = conformal.fit(given[fitted], 0.9, by=guess[fitted])
        new = guess[tested]
        kinds = {
            "overall": (conformal.widened(new, new, overall.at(new)), age[tested] // 10),
            "by_true_age": (conformal.of_accepting_bins(new, new, of_true), of_true.bins(age[tested])),
            "by_predicted_age": (conformal.widened(new, new, of_guess.at(new)), of_guess.bins(new)),
        }
        for name, ((low, high), bins) in kinds.items():
            inside = (low <= age[tested]) & (age[tested] <= high)
            found[name].append([inside[bins == one].mean() for one in range(6)])
    return {name: np.array(rows) for name, rows in found.items()}


def test_by_true_age_covers_every_bin_of_true_age(simulated: dict[str, np.ndarray]) -> None:
    # 25 calibrations of about 250 faces a bin: standard error .004.
    assert simulated["by_true_age"].mean(0).min() > 0.9 - 0.015


def test_by_predicted_age_covers_every_bin_of_predicted_age(simulated: dict[str, np.ndarray]) -> None:
    assert simulated["by_predicted_age"].mean(0) == pytest.approx(np.full(6, 0.9), abs=0.02)


def test_one_threshold_for_all_does_not_cover_every_age(simulated: dict[str, np.ndarray]) -> None:
    by_decade = simulated["overall"].mean(0)
    assert by_decade.max() > 0.98
    assert by_decade.min() < 0.9
