"""Variants against the base: which numbers are said, and that the words follow from them."""

import numpy as np
import pytest
from scipy import stats

from orchestration import comparisons, people, statistics
from orchestration.comparisons import Measured, Setting
from orchestration.designs import factorial

IMAGES = 120
IDENTITIES = [f"p{i // 2}" for i in range(IMAGES)]


def _measured(shift: float, seeds: int, noise: float = 0.3, first: int = 0) -> Measured:
    generator = np.random.default_rng(first + 17)
    errors = {s: 5 + shift + generator.normal(0, noise, IMAGES) for s in range(first, first + seeds)}
    return Measured({s: float(e.mean()) for s, e in errors.items()}, errors)


SETTING = Setting(family=2, alpha=0.05, identities=IDENTITIES)


def _judged(**variants: Measured) -> dict[str, comparisons.Comparison]:
    base = _measured(0.0, 8, first=100)
    base = Measured({s - 100: m for s, m in base.mae.items()}, {s - 100: e for s, e in base.errors.items()})
    return comparisons.judged(
        {name: comparisons.compare(base, m, SETTING) for name, m in variants.items()}, SETTING
    )


def test_a_family_is_paired_adjusted_and_told() -> None:
    found = _judged(better=_measured(-0.5, 8), same=_measured(0.0, 8))
    raw = [found[name].p for name in ("better", "same")]
    assert [found[name].p_holm for name in ("better", "same")] == pytest.approx(statistics.holm(raw).tolist())
    assert found["better"].words.startswith("better by 0.5")
    same = found["same"]
    assert same.interval is not None and same.interval.level == 0.975 and not same.interval.excludes_zero
    assert same.detectable is not None
    assert same.words == f"no difference detected (could have seen ≥ {comparisons.years(same.detectable)})"
    assert found["better"].p_sign_flip == 2 / 2**8


def test_only_seeds_that_both_have_are_paired() -> None:
    found = _judged(few=_measured(-0.5, 3))["few"]
    assert found.pairs == 3


def test_a_difference_that_new_people_do_not_confirm_is_said_to_be_of_this_test_set() -> None:
    generator = np.random.default_rng(0)
    # People differ by 1.5 years, seeds hardly: the mean over these people is sure, over new ones it is not.
    of_person = np.repeat(generator.normal(-0.05, 1.5, IMAGES // 2), 2)
    base = {s: 5 + generator.normal(0, 0.01, IMAGES) for s in range(8)}
    gain = of_person - of_person.mean() - 0.1
    variant = {s: e + gain + generator.normal(0, 0.01, IMAGES) for s, e in base.items()}
    both = [Measured({s: float(e.mean()) for s, e in m.items()}, m) for m in (base, variant)]
    one = comparisons.judged({"v": comparisons.compare(*both, SETTING)}, SETTING)["v"]
    assert one.words == "better by 0.10 on this test set; for new people not shown"
    assert one.headline is not None and not one.headline.excludes_zero
    assert one.headline_about == "new seeds and new people"


def test_one_seed_speaks_of_two_checkpoints() -> None:
    found = _judged(one=_measured(-0.5, 1))["one"]
    assert found.words == "these two checkpoints differ" and found.detectable is None and found.sd is None
    base, variant = _measured(0.0, 1), _measured(0.1, 1, noise=3.0, first=3)
    variant = Measured({0: variant.mae[3]}, {0: variant.errors[3]})
    compared = comparisons.compare(base, variant, SETTING)
    sums, counts = people.per_person(variant.errors[0] - base.errors[0], IDENTITIES)
    assert compared.interval == people.people_interval(sums, counts, 0.975)
    assert compared.p == statistics.sign_flip(sums)
    words = comparisons.judged({"v": compared}, SETTING)["v"].words
    assert words == "these two checkpoints: no difference"


def test_what_an_interval_rests_on_is_said() -> None:
    nobody = Setting(2, 0.05, [None] * IMAGES)
    few = Setting(2, 0.05, [f"p{i % 20}" for i in range(IMAGES)])
    pair = _measured(0.0, 3), _measured(-0.1, 3)
    assert "image-level; likely too narrow" in comparisons.compare(*pair, nobody).headline_about
    assert "only 20 people" in comparisons.compare(*pair, few).headline_about


def test_overlapping_splits_are_corrected_and_not_permuted() -> None:
    splits = Setting(2, 0.05, overlap=1 / 3, unit="split")
    base, variant = Measured({0: 5.0, 1: 5.1, 2: 5.2, 3: 5.0}), Measured({0: 5.1, 1: 5.4, 2: 5.4, 3: 5.4})
    found = comparisons.compare(base, variant, splits)
    assert found.p == pytest.approx(float(statistics.paired_t([0.1, 0.3, 0.2, 0.4], 1 / 3)))
    assert found.p_sign_flip is None and found.headline is None and found.about == "over overlapping splits"


def test_effects_are_estimated_over_seeds_with_holm_in_their_own_family() -> None:
    design = factorial({"a": ["off", "on"], "b": ["off", "on"]})
    generator = np.random.default_rng(1)
    truth = {"none": 5.0, "b-on": 5.0, "a-on": 4.8, "a-on+b-on": 4.8}
    seeds = {v: Measured(dict(enumerate(m + generator.normal(0, 0.01, 6)))) for v, m in truth.items()}
    found = {e.name: e for e in comparisons.effects(design.effects, seeds, 0.05)}
    by_seed = [
        (seeds["a-on"].mae[s] + seeds["a-on+b-on"].mae[s] - seeds["none"].mae[s] - seeds["b-on"].mae[s]) / 2
        for s in range(6)
    ]
    interval = stats.ttest_1samp(by_seed, 0).confidence_interval(1 - 0.05 / 3)
    assert found["a"].estimate == pytest.approx(np.mean(by_seed))
    assert (found["a"].interval.low, found["a"].interval.high) == pytest.approx((interval.low, interval.high))
    assert found["a"].p_holm < 0.05 < found["a × b"].p_holm
    del seeds["b-on"]
    assert comparisons.effects(design.effects, seeds, 0.05) == []


@pytest.mark.parametrize(
    ("value", "text"), [(0.312, "0.31"), (0.0541, "0.054"), (0.00613, "0.0061"), (12.3, "12.30")]
)
def test_years_are_told_with_two_digits_that_count(value: float, text: str) -> None:
    assert comparisons.years(value) == text
