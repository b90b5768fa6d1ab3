"""Intervals for new people: against literal resampling, known truth, and cases worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestration import people
from orchestration.statistics import Values

STUDIES = 2_000
SLACK = 3 * math.sqrt(0.05 * 0.95 / STUDIES)


def test_images_of_a_person_go_together_and_unknown_people_stand_alone() -> None:
    differences = np.array([[1.0, 2.0, 4.0, 8.0, 16.0], [0.0, 1.0, 0.0, 0.0, 3.0]])
    sums, counts = people.per_person(differences, ["b", None, "a", "b", None])
    assert sums.tolist() == [[4, 9, 2, 16], [0, 0, 1, 3]]  # a, b, then the two unknown
    assert counts.tolist() == [1, 2, 1, 1]


def test_the_crossed_error_is_that_of_resampling_seeds_and_people() -> None:
    generator = np.random.default_rng(2)
    seeds, n = 7, 30
    counts = generator.integers(1, 6, n).astype(float)
    sums = (
        generator.normal(0.1, 1, (seeds, n)) + generator.normal(0, 1, (seeds, 1)) + generator.normal(0, 2, n)
    )
    drawn = 40_000
    of_seeds = generator.multinomial(seeds - 1, np.full(seeds, 1 / seeds), drawn)
    of_people = generator.multinomial(n - 1, np.full(n, 1 / n), drawn)
    resampled = ((of_seeds @ sums) * of_people).sum(1) / ((seeds - 1) * (of_people @ counts))
    variance = sum(people.crossed_variance(sums, counts))
    assert math.sqrt(variance) == pytest.approx(resampled.std(), rel=0.05)  # a ratio, linearised


def _studies(seeds: int, n: int, of_seed: float, of_person: float, of_both: float) -> tuple[Values, Values]:
    """Sums [study, seed, person] and counts [person] with true difference 0: seeds, people and pairs vary."""
    generator = np.random.default_rng(4)
    counts = generator.integers(1, 8, n).astype(float)
    shape = (STUDIES, seeds, n)
    per_image = (
        generator.normal(0, of_seed, (STUDIES, seeds, 1))
        + generator.normal(0, of_person, (STUDIES, 1, n))
        + generator.normal(0, of_both, shape) / np.sqrt(counts)
    )
    return per_image * counts, counts


@pytest.mark.parametrize(
    ("seeds", "n", "of_seed", "of_person", "of_both"),
    [
        (10, 60, 0.02, 0.2, 1.0),
        (10, 60, 0.1, 0.1, 0.1),
        (6, 40, 0.1, 0.0, 0.0),
        (2, 40, 0.1, 0.1, 0.1),
        (10, 82, 0.0, 0.5, 0.5),
    ],
)
def test_the_crossed_interval_covers_the_truth_for_new_seeds_and_people(
    seeds: int, n: int, of_seed: float, of_person: float, of_both: float
) -> None:
    sums, counts = _studies(seeds, n, of_seed, of_person, of_both)
    estimate = sums.sum((-2, -1)) / (seeds * counts.sum())
    covered = np.abs(estimate) <= people.crossed_half_width(sums, counts, 0.95)
    assert covered.mean() >= 0.95 - SLACK


def test_seeds_alone_are_too_narrow_for_new_people() -> None:
    """What the headline interval is for: people vary, and the seeds' interval does not know it."""
    sums, counts = _studies(10, 60, 0.02, 0.3, 0.3)
    per_seed = sums.sum(-1) / counts.sum()
    half = stats.t.ppf(0.975, 9) * per_seed.std(-1, ddof=1) / math.sqrt(10)
    assert (np.abs(per_seed.mean(-1)) <= half).mean() < 0.8


def test_the_jackknife_of_people_with_one_image_each_is_the_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.2, 1, 25)
    found = people.jackknife_interval(values, np.ones(25), 0.95)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_bca_is_scipys_where_people_have_one_image_each() -> None:
    values = np.random.default_rng(1).exponential(1, 80) - 1
    found = people.bca_interval(values, np.ones(80), 0.95)
    expected = stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=3).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)
    with pytest.raises(ValueError, match="at least 20 people"):
        people.bca_interval(values[:19], np.ones(19), 0.95)


def test_clustered_images_need_their_people() -> None:
    """30 people of 10 images that err alike: people as the unit cover, images as the unit do not."""
    generator = np.random.default_rng(6)
    of_person = generator.normal(0, 1, (STUDIES, 30, 1))
    images = of_person + generator.normal(0, 0.5, (STUDIES, 30, 10))

    def covered(values: Values) -> float:
        n = values.shape[-1]
        half = stats.t.ppf(0.975, n - 1) * values.std(-1, ddof=1) / math.sqrt(n)
        return float((np.abs(values.mean(-1)) <= half).mean())

    one = people.jackknife_interval(images[0].sum(-1), np.full(30, 10.0), 0.95)
    t = stats.ttest_1samp(images[0].mean(-1), 0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((t.low, t.high), rel=1e-9)
    assert covered(images.mean(-1)) >= 0.95 - SLACK
    assert covered(images.reshape(STUDIES, -1)) < 0.6


def test_from_forty_people_on_the_bootstrap_is_used() -> None:
    generator = np.random.default_rng(8)
    sums, counts = generator.normal(0, 1, 60), generator.integers(1, 5, 60).astype(float)
    assert people.people_interval(sums, counts, 0.95) == people.bca_interval(sums, counts, 0.95)
    few = sums[:39], counts[:39]
    assert people.people_interval(*few, 0.95) == people.jackknife_interval(*few, 0.95)
