"""Tests and intervals over seeds: against scipy, against values worked out by hand, against known truth."""

import math

import numpy as np
import pytest
from scipy import stats

from orchestration import statistics
from orchestration.statistics import Values

STUDIES = 2_000
# Three standard errors of a share counted over the simulated studies.
SLACK = 3 * math.sqrt(0.05 * 0.95 / STUDIES)

DIFFERENCES = np.array([-0.05, 0.01, -0.04, -0.02, -0.06, 0.02, -0.03])


def test_paired_t_and_its_interval_are_scipys() -> None:
    reference = stats.ttest_1samp(DIFFERENCES, 0)
    interval = statistics.t_interval(DIFFERENCES, 0.99)
    expected = reference.confidence_interval(0.99)
    assert float(statistics.paired_t(DIFFERENCES)) == pytest.approx(reference.pvalue, rel=1e-12)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_the_interval_excludes_zero_exactly_when_p_is_below_its_level() -> None:
    p = float(statistics.paired_t(DIFFERENCES))
    assert statistics.t_interval(DIFFERENCES, 1 - p - 1e-9).excludes_zero
    assert not statistics.t_interval(DIFFERENCES, 1 - p + 1e-9).excludes_zero


def test_pairs_that_never_differ_are_no_evidence() -> None:
    assert float(statistics.paired_t(np.zeros(5))) == 1
    assert statistics.sign_flip(np.zeros(5)) == 1
    assert statistics.detectable(0.0, 5, 0.05) == 0


def test_one_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two pairs"):
        statistics.paired_t(np.array([0.3]))


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        # by hand: 0.01·4; max(0.04, 0.02·3); max(0.06, 0.03·2); max(0.06, 0.04·1)
        ([0.04, 0.01, 0.03, 0.02], [0.06, 0.04, 0.06, 0.06]),
        ([0.6, 0.5], [1.0, 1.0]),
        ([0.02], [0.02]),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert statistics.holm(p) == pytest.approx(adjusted)


def test_sign_flips_of_few_pairs_are_scipys_exact_permutation_test() -> None:
    def mean(values: Values, axis: int) -> Values:
        return np.mean(values, axis=axis)

    reference = stats.permutation_test(
        (DIFFERENCES,), mean, permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert statistics.sign_flip(DIFFERENCES) == pytest.approx(reference.pvalue, rel=1e-12)


def test_sign_flips_cannot_go_below_their_floor() -> None:
    """All of one sign: only that pattern and its mirror image of 2ⁿ reach the mean."""
    assert statistics.sign_flip(np.full(6, -0.3)) == 2 / 2**6 == statistics.sign_flip_floor(6)
    assert statistics.sign_flip(np.full(20, -0.3)) == 1 / 10_000 == statistics.sign_flip_floor(20)


def test_drawn_sign_flips_agree_with_the_exact_ones() -> None:
    values = np.random.default_rng(3).normal(0.4, 1, 14)
    exact = statistics.sign_flip(values)
    # One pair more, of no weight, leaves every share as it was; but now patterns are drawn.
    drawn = statistics.sign_flip(np.append(values, 0.0))
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / statistics.FLIPS))


def test_the_variance_of_overlapping_splits_is_nadeau_and_bengios() -> None:
    """By hand for k = 4 and n_test/n_train = 1/3: t = mean / (s·√(1/4 + 1/3))."""
    splits = np.array([0.1, 0.3, 0.2, 0.4])
    t = 0.25 / (np.std(splits, ddof=1) * math.sqrt(1 / 4 + 1 / 3))
    assert float(statistics.paired_t(splits, 1 / 3)) == pytest.approx(2 * stats.t.sf(t, 3))
    assert statistics.t_interval(splits, 0.95, 1 / 3).low == pytest.approx(
        0.25 - stats.t.ppf(0.975, 3) * 0.25 / t
    )


@pytest.mark.parametrize(("n", "alpha", "overlap"), [(10, 0.05, 0.0), (6, 0.05 / 6, 0.0), (5, 0.05, 0.25)])
def test_a_detectable_difference_is_detected_four_times_in_five(n: int, alpha: float, overlap: float) -> None:
    sd = 0.02
    effect = statistics.detectable(sd, n, alpha, overlap)
    generator = np.random.default_rng(1)
    own = generator.normal(0, sd, (20_000, n))
    shared = generator.normal(0, sd * math.sqrt(overlap), (20_000, 1))
    share = (statistics.paired_t(effect + own + shared, overlap) < alpha).mean()
    assert share == pytest.approx(0.8, abs=0.01)


def test_more_seeds_see_smaller_differences_and_larger_families_larger_ones() -> None:
    few, many = (statistics.detectable(0.02, n, 0.05) for n in (6, 20))
    assert many < few < statistics.detectable(0.02, 6, 0.05 / 6)
    assert statistics.detectable(0.02, 1, 0.05) == math.inf


def _null(n: int, variants: int) -> Values:
    """Paired differences [study, variant, n] where no variant differs; all share the base's noise."""
    generator = np.random.default_rng(0)
    runs = generator.normal(0, 0.02, (STUDIES, variants + 1, n))
    return runs[:, 1:] - runs[:, :1]


@pytest.mark.parametrize("n", [3, 6, 10])
def test_the_paired_t_test_has_its_size(n: int) -> None:
    share = (statistics.paired_t(_null(n, 1)) < 0.05).mean()
    assert share <= 0.05 + SLACK


def test_the_sign_flip_test_has_its_size() -> None:
    p = np.array([statistics.sign_flip(values) for values in _null(8, 1)[:, 0]])
    assert (p <= 0.05).mean() <= 0.05 + SLACK


def test_holm_keeps_the_familywise_error() -> None:
    p = statistics.paired_t(_null(10, 6))
    assert (p < 0.05).any(-1).mean() > 0.1, "the simulated family is large enough to need an adjustment"
    assert (statistics.holm(p) < 0.05).any(-1).mean() <= 0.05 + SLACK


def test_bonferroni_intervals_cover_all_differences_of_a_family_together() -> None:
    truth = np.array([0.0, -0.01, 0.03, 0.2])
    low, high = statistics.t_bounds(_null(10, 4) + truth[:, None], 1 - 0.05 / 4)
    assert ((low <= truth) & (truth <= high)).all(-1).mean() >= 0.95 - SLACK


def _overlapping() -> tuple[Values, float]:
    """Differences [study, k] over random splits of two methods that are as good, and n_test/n_train.

    Each method predicts a quantity of its own by its mean over the training part; its score is the squared
    error on the test part. Parts overlap from split to split, as they do in a study.
    """
    generator = np.random.default_rng(5)
    n, test, k = 60, 12, 10
    faces = generator.normal(0, 1, (STUDIES, 2, n))
    order = generator.random((STUDIES, k, n)).argsort(-1)[:, None]
    drawn = np.take_along_axis(faces[:, :, None], order, -1)  # [study, method, split, face]
    learnt = drawn[..., test:].mean(-1)
    scores = ((drawn[..., :test] - learnt[..., None]) ** 2).mean(-1)
    return scores[:, 0] - scores[:, 1], test / (n - test)


def test_over_overlapping_splits_only_the_corrected_test_has_its_size() -> None:
    differences, overlap = _overlapping()
    plain = (statistics.paired_t(differences) < 0.05).mean()
    corrected = (statistics.paired_t(differences, overlap) < 0.05).mean()
    assert plain > 0.15, "splits that overlap make the plain test reject far too often"
    assert corrected <= 0.05 + SLACK
