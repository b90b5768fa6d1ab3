"""Reference strategies against loops over samples, alone and shared by several workers."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, get_args

import naive_references as naive
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lockstep import together
from naive_references import LABELS, MISSING, C, Chosen, N, Sample, make_pass, random_samples
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from model.passes import NO_SAMPLE, Pass, lowest, merged
from model.reference_base import Exchange, Selection, Strategy, Tensors
from model.references import ReferencesConfig, SingleOptions, hashed_uniforms

YEARS = torch.tensor(LABELS, dtype=torch.float64)
SEED = 0x1234_5678_9ABC_DEF0
CONFIGS = get_args(get_args(ReferencesConfig)[0])
SINGLES = [config().name for config in CONFIGS if issubclass(config, SingleOptions)]

Naive = Callable[[list[Sample], int], Chosen]

STRATEGIES: dict[str, tuple[dict[str, Any], Naive]] = {
    "min_error": ({}, naive.min_error),
    "medoid": ({}, naive.medoid),
    "random": ({}, naive.random_one),
    "shuffled": ({}, naive.shuffled),
    "mean_of_k": ({"k": 3}, lambda samples, _: naive.mean_of(3, samples)),
    "class_mean": ({}, naive.class_mean),
    "error_weighted": ({"tau": 0.7}, lambda samples, _: naive.error_weighted(0.7, samples)),
    "gender_balanced": ({}, naive.gender_balanced),
    "kernel": ({"bandwidth": 2.5}, lambda samples, _: naive.kernel(2.5, samples)),
}


def alone(mine: Tensors) -> list[Tensors]:
    return [mine]


def build(name: str, **options: Any) -> Strategy:
    """A strategy with its options of `STRATEGIES` and more."""
    values = {"name": name, **STRATEGIES[name][0], **options}
    strategy: Strategy = TypeAdapter(ReferencesConfig).validate_python(values).build()
    return strategy


def select(strategy: Strategy, samples: list[Sample], workers: int = 1, seed: int = SEED) -> Selection:
    """The selection that all workers agree on, each with the samples of its ids."""
    shards = [make_pass([s for s in samples if s.id % workers == rank]) for rank in range(workers)]

    def call(shard: Pass) -> Callable[[Exchange], Selection]:
        return lambda exchange: strategy.select(shard, YEARS, exchange, seed)

    first, *others = together([call(shard) for shard in shards])
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    return first


def refresh(strategy: Strategy, samples: list[Sample], previous: Selection | None = None) -> Selection:
    return strategy.refresh(make_pass(samples), YEARS, alone, SEED, previous)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def require(selection: Selection, expected: Chosen) -> None:
    assert selection.present.tolist() == [row is not None for row in expected.features]
    assert selection.sample_id.tolist() == [NO_SAMPLE if i is None else i for i in expected.ids]
    close(selection.features[selection.present], naive.tensor([r for r in expected.features if r]))
    close(selection.runner_up[selection.present], naive.tensor([r for r in expected.runner_up if r]))


def sample(number: int, position: int, error: float, first: float | None = None) -> Sample:
    """A sample whose features tell it apart."""
    features = [float(number if first is None else first), error, float(position)]
    age = float(LABELS[position]) if position >= 0 else 200.0
    return Sample(number, position, -1, age, age + error, features)


def test_every_strategy_has_its_loop_here() -> None:
    assert {config().name for config in CONFIGS} == STRATEGIES.keys()


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("name", STRATEGIES)
def test_any_number_of_workers_selects_what_a_loop_over_all_samples_does(name: str, workers: int) -> None:
    excludes = {"exclude_self": True} if name in SINGLES else {}
    strategy, loop = build(name, **excludes), STRATEGIES[name][1]
    for seed in range(25):
        samples = random_samples(seed, count=3 * seed)
        require(select(strategy, samples, workers, seed=seed), loop(samples, seed))


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_order_of_different_samples_does_not_matter(name: str) -> None:
    samples = random_samples(5, 60)
    last = list({s.id: s for s in samples}.values())
    random.Random(1).shuffle(last)
    one, other = (select(build(name), given, 2) for given in (samples, last))
    close(one.features[one.present], other.features[other.present])
    assert torch.equal(one.sample_id, other.sample_id) and torch.equal(one.present, other.present)


@pytest.mark.parametrize("name", STRATEGIES)
def test_float32_features_stay_float32(name: str) -> None:
    pass_ = make_pass(random_samples(3, 40), torch.float32)
    chosen = build(name).refresh(pass_, YEARS, alone, SEED, None)
    assert chosen.features.dtype == chosen.runner_up.dtype == torch.float32


SAMPLES = st.lists(
    st.tuples(st.integers(0, 15), st.integers(-1, N - 1), st.sampled_from([0.0, 0.5, 0.5000001, 2.0])),
    max_size=30,
)


@given(SAMPLES, st.integers(1, 3))
def test_any_number_of_workers_selects_what_algorithm_1_does(
    entries: list[tuple[int, int, float]], workers: int
) -> None:
    samples = [sample(i, place, error, first=order) for order, (i, place, error) in enumerate(entries)]
    loop = naive.min_error(samples, 0)
    chosen = select(build("min_error"), samples, workers)
    assert chosen.sample_id.tolist() == [NO_SAMPLE if i is None else i for i in loop.ids]
    for row, expected in zip(chosen.features.tolist(), loop.features, strict=True):
        assert expected is None or row == expected


def test_of_a_sample_seen_twice_the_last_time_counts() -> None:
    # Sample 8 was best at first, then got worse than sample 9.
    samples = [sample(8, 2, 0.1), sample(9, 2, 0.4), sample(8, 2, 0.7)]
    assert select(build("min_error"), samples).sample_id[2] == 9


def test_a_sample_without_a_finite_error_is_no_reference() -> None:
    samples = [sample(1, 0, float("nan")), sample(2, 0, 3.0), sample(3, 1, float("inf"))]
    chosen = select(build("min_error"), samples)
    assert chosen.sample_id[0] == 2 and chosen.present.tolist() == [True, False, False, False, False]


def test_of_two_samples_the_medoid_is_the_lowest_id_however_their_mean_is_rounded() -> None:
    draw = random.Random(0)
    for _ in range(100):
        features = [[draw.gauss(0, 1) for _ in range(C)] for _ in range(2)]
        pair = [Sample(i, 0, -1, 1.0, 1.0, row) for i, row in zip((8, 3), features, strict=True)]
        assert select(build("medoid"), pair).sample_id[0] == 3


def test_more_candidates_than_samples_leave_places_empty_and_merge_to_all_samples() -> None:
    shards = [[sample(4, 0, 0.5), sample(2, 0, 0.5)], [sample(3, 0, 0.25)], []]
    parts = []
    for shard in shards:
        pass_ = make_pass(shard)
        rows = pass_.usable()
        parts.append(lowest(pass_, rows, pass_.error[rows], N, 5))
    assert [part.sample_id[0].tolist() for part in parts] == [
        [2, 4, NO_SAMPLE, NO_SAMPLE, NO_SAMPLE],
        [3, *[NO_SAMPLE] * 4],
        [NO_SAMPLE] * 5,
    ]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        best = merged([parts[i] for i in order])
        assert best.sample_id[0].tolist() == [3, 2, 4, NO_SAMPLE, NO_SAMPLE]
        assert best.score[0].tolist() == [0.25, 0.5, 0.5, torch.inf, torch.inf]
        assert best.features[0, :3, 0].tolist() == [3.0, 2.0, 4.0]
        assert (best.sample_id[1:] == NO_SAMPLE).all() and best.score[1:].isinf().all()


def test_a_low_temperature_weighs_the_best_sample_alone() -> None:
    samples = [sample(i, i % N, 0.1 + i / 7) for i in range(40)]  # no two errors of an age are equal
    cold, best = (select(s, samples) for s in (build("error_weighted", tau=1e-9), build("min_error")))
    close(cold.features, best.features)


def test_a_temperature_above_all_errors_weighs_all_samples_alike() -> None:
    samples = [s._replace(predicted=s.age + 1e-12 * k) for k, s in enumerate(random_samples(2, 50))]
    hot, mean = (select(s, samples) for s in (build("error_weighted", tau=1000.0), build("class_mean")))
    close(hot.features[hot.present], mean.features[mean.present])


def test_errors_that_underflow_every_weight_still_have_a_mean() -> None:
    samples = [sample(1, 0, 5000.0), sample(2, 0, 5000.0), sample(3, 0, 9000.0)]
    assert select(build("error_weighted", tau=0.5), samples).features[0, 0] == 1.5


def test_the_kernel_fills_ages_without_samples() -> None:
    samples = random_samples(4, 30)
    chosen = select(build("kernel"), samples)
    assert bool(chosen.present.all()) and naive.by_age(samples)[MISSING] == []
    expected = naive.kernel(2.5, samples).features[MISSING]
    assert expected is not None
    close(chosen.features[MISSING], torch.tensor(expected, dtype=torch.float64))


def test_a_narrow_kernel_gives_class_means_and_the_nearest_one_between() -> None:
    samples = random_samples(4, 30)
    narrow, mean = select(build("kernel", bandwidth=1e-3), samples), select(build("class_mean"), samples)
    close(narrow.features[mean.present], mean.features[mean.present])
    # Label 4 has no sample; 3 is nearer than 7.
    assert MISSING == 2 and not mean.present[2]
    close(narrow.features[2], mean.features[1])


def test_a_random_reference_is_every_sample_of_its_age_equally_often() -> None:
    samples = [sample(i, 3, i / 10) for i in (0, 1, 7, 1000, 123_456)]
    seeds = random.Random(0)
    drawn = Counter(
        int(build("random").select(make_pass(samples), YEARS, alone, seeds.getrandbits(63)).sample_id[3])
        for _ in range(2000)
    )
    # 400 expected of each; sd 18.
    assert drawn.keys() == {s.id for s in samples} and all(abs(n - 400) < 90 for n in drawn.values())


def test_random_references_depend_on_the_seed_and_not_on_the_split() -> None:
    samples = random_samples(9, 80)
    chosen = {
        (seed, workers): tuple(select(build("random"), samples, workers, seed).sample_id.tolist())
        for seed in range(4)
        for workers in (1, 2, 3)
    }
    assert all(chosen[seed, 1] == chosen[seed, 2] == chosen[seed, 3] for seed in range(4))
    assert len(set(chosen.values())) == 4


def test_hashed_uniforms_are_splitmix64() -> None:
    ids = [0, 1, 2, 12345, 2**31, 2**62 + 3, NO_SAMPLE]
    for seed in (0, 1, 2**62 + 12345, 2**63 - 1):
        values = hashed_uniforms(torch.tensor(ids), seed)
        assert values.dtype == torch.float64
        assert values.tolist() == [naive.uniform(number, seed) for number in ids]


def test_hashed_uniforms_lie_in_the_unit_interval_and_fill_it() -> None:
    values = hashed_uniforms(torch.arange(20_000), SEED)
    assert float(values.min()) >= 0 and float(values.max()) < 1
    # 2000 expected in each tenth; sd 42.
    assert all(abs(n - 2000) < 220 for n in torch.histc(values, 10, 0, 1).tolist())


@pytest.mark.parametrize("missing", ["interpolate", "carry", "zeros"])
def test_shuffled_references_are_a_permutation_of_algorithm_1s_filled_ones(missing: str) -> None:
    samples, permuted = random_samples(11, 40), 0
    previous = refresh(build("min_error"), random_samples(12, 40))
    filled = refresh(build("min_error", missing=missing), samples)
    for seed in range(8):
        strategy = build("shuffled", missing=missing)
        chosen = strategy.refresh(make_pass(samples), YEARS, alone, seed, previous)
        assert sorted(chosen.features.tolist()) == sorted(filled.features.tolist())
        permuted += chosen.features.tolist() != filled.features.tolist()
    assert permuted >= 7  # of 120 permutations one changes nothing


def test_missing_ages_are_interpolated_by_years_and_held_beyond_the_ends() -> None:
    chosen = refresh(build("min_error"), [sample(10, 1, 0.0), sample(20, 3, 0.0)])
    # Labels 1, 3, 4, 7, 20: 4 lies a quarter of the way from 3 to 7.
    assert chosen.features[:, 0].tolist() == [10.0, 10.0, 12.5, 20.0, 20.0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_interpolation_agrees_with_a_loop(name: str) -> None:
    samples = random_samples(8, 12)
    expected = naive.interpolated(STRATEGIES[name][1](samples, SEED).features)
    close(refresh(build(name), samples).features, naive.tensor(expected))


def test_present_ages_are_exact_under_interpolation() -> None:
    pass_ = make_pass([sample(10, 1, 0.1), sample(20, 3, 0.3)], torch.float32)
    chosen = build("min_error").refresh(pass_, YEARS, alone, SEED, None)
    assert torch.equal(chosen.features[[1, 3]], pass_.features)


def test_zeros_fill_missing_ages() -> None:
    chosen = refresh(build("min_error", missing="zeros"), [sample(10, 1, 0.0)])
    assert chosen.features[:, 0].tolist() == [0.0, 10.0, 0.0, 0.0, 0.0]


def test_carry_keeps_previous_rows_and_interpolates_at_first() -> None:
    samples = [sample(10, 1, 0.0), sample(20, 3, 0.0)]
    previous = refresh(build("class_mean"), [sample(99, 0, 0.0)])
    carried = refresh(build("min_error", missing="carry"), samples, previous)
    assert carried.features[:, 0].tolist() == [99.0, 10.0, 99.0, 20.0, 99.0]
    at_first = refresh(build("min_error", missing="carry"), samples)
    assert torch.equal(at_first.features, refresh(build("min_error"), samples).features)


@pytest.mark.parametrize("missing", ["interpolate", "carry"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_references_of_no_usable_sample_are_refused(name: str, missing: str) -> None:
    with pytest.raises(ValueError, match="no age has a usable sample"):
        refresh(build(name, missing=missing), [sample(1, -1, 0.0), sample(2, 0, float("nan"))])


@pytest.mark.parametrize("name", ["min_error", "class_mean"])
def test_ema_mixes_every_refresh_into_the_previous_references(name: str) -> None:
    smoothing, plain = build(name, ema=0.75), build(name)
    passes = [random_samples(seed, 40) for seed in (1, 2, 3)]
    raw = [refresh(plain, samples).features for samples in passes]
    chosen = None
    for samples in passes:
        chosen = refresh(smoothing, samples, chosen)
    assert chosen is not None
    close(chosen.features, 0.25 * raw[2] + 0.75 * (0.25 * raw[1] + 0.75 * raw[0]))
    assert (chosen.sample_id == NO_SAMPLE).all()


def test_without_exclude_self_nothing_stands_in_for_a_reference() -> None:
    chosen = refresh(build("min_error"), random_samples(6, 60))
    assert torch.equal(chosen.runner_up, chosen.features)


# Not medoid: without its reference an age has another mean.
@pytest.mark.parametrize("name", sorted(set(SINGLES) - {"medoid"}))
def test_under_exclude_self_the_runner_up_is_who_would_be_chosen_without_the_reference(name: str) -> None:
    samples = random_samples(6, 60)
    both = select(build(name, exclude_self=True), samples, 2)
    rest = select(build(name), [s for s in samples if s.id not in set(both.sample_id.tolist())])
    known = rest.present
    assert int(known.sum()) == N - 1
    assert torch.equal(both.runner_up[known], rest.features[known])


def test_the_only_sample_of_an_age_stays_its_own_reference() -> None:
    chosen = refresh(build("min_error", exclude_self=True), [sample(10, 1, 0.5), sample(20, 3, 0.5)])
    assert torch.equal(chosen.runner_up, chosen.features) and chosen.runner_up[1, 0] == 10


@pytest.mark.parametrize("name", SINGLES)
def test_exclude_self_is_refused_with_an_average_over_epochs(name: str) -> None:
    with pytest.raises(ValidationError, match="exclude_self needs ema: 0"):
        build(name, exclude_self=True, ema=0.5)


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - set(SINGLES)))
def test_an_average_has_no_exclude_self(name: str) -> None:
    with pytest.raises(ValidationError, match="exclude_self"):
        build(name, exclude_self=True)


def columns(pass_: Pass) -> tuple[Tensor, ...]:
    return pass_.sample_id, pass_.position, pass_.gender, pass_.age, pass_.predicted, pass_.features


def test_batches_added_to_an_empty_pass_are_the_pass() -> None:
    whole = make_pass([sample(1, 0, 0.5), sample(2, 1, 0.25), sample(3, -1, 1.0)], torch.float32)
    collected = Pass.empty(5, C, torch.float32, "cpu")
    for rows in (slice(0, 2), slice(2, 3)):
        *others, features = (column[rows] for column in columns(whole))
        collected.add(*others, features.clone().requires_grad_())
    assert all(torch.equal(a, b) for a, b in zip(columns(collected), columns(whole), strict=True))
    assert torch.equal(collected.error, torch.tensor([0.5, 0.25, 1.0]))
    assert not collected.features.requires_grad


def test_a_reset_pass_is_empty_and_has_its_room_again() -> None:
    collected, batch = Pass.empty(2, C, torch.float32, "cpu"), make_pass([sample(1, 0, 0.5)] * 2)
    for _ in range(2):
        collected.reset()
        assert collected.features.shape == (0, C)
        collected.add(*columns(batch))
    with pytest.raises(ValueError, match="room for 2 samples cannot hold 4"):
        collected.add(*columns(batch))
