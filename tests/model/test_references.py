"""Reference selection against Algorithm 1 as a loop, alone and shared by several workers."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.references import NO_SAMPLE, MinError, Pass, Summary

LABELS = torch.tensor([1.0, 3.0, 4.0, 7.0, 20.0])
N, C = len(LABELS), 3
Sample = tuple[int, int, float]  # id, position, error


def make_pass(samples: list[Sample], dtype: torch.dtype = torch.float64) -> Pass:
    """A pass whose features tell the entries apart, also those of one sample seen twice."""
    ids, places, errors = zip(*samples, strict=True) if samples else ((), (), ())
    features = [[float(i), error, float(order)] for order, (i, _, error) in enumerate(samples)]
    return Pass(
        torch.tensor(ids, dtype=torch.int64),
        torch.tensor(places, dtype=torch.int64),
        torch.tensor(errors, dtype=dtype),
        torch.tensor(features, dtype=dtype).view(-1, C),
    )


def algorithm_1(passes: list[Pass]) -> tuple[list[int], Tensor]:
    """Ids (−1 where absent) and R [n, c], by loops over ages and samples; of equals the lowest id."""
    last = {}
    for collected in passes:
        for i, place, error, feature in zip(
            collected.sample_id.tolist(), collected.position, collected.error, collected.features, strict=True
        ):
            last[i] = (int(place), float(error), feature)
    ids, rows = [], torch.zeros(N, C, dtype=torch.float64)
    for age in range(N):
        candidates = [(error, i, f) for i, (place, error, f) in last.items() if place == age]
        best = min(candidates, key=lambda entry: entry[:2], default=None)
        ids.append(-1 if best is None else best[1])
        if best is not None:
            rows[age] = best[2]
    return ids, rows


def select(passes: list[Pass], missing: str = "zeros", previous: Tensor | None = None) -> Tensor:
    strategy = MinError.Config.model_validate({"missing": missing}).build()
    summary = strategy.merge([strategy.local(collected, N) for collected in passes])
    return strategy.references(summary, LABELS, previous)


SAMPLES = st.lists(
    st.tuples(st.integers(0, 15), st.integers(-1, N - 1), st.sampled_from([0.0, 0.5, 0.5000001, 2.0])),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(SAMPLES, st.integers(1, 3))
def test_any_number_of_workers_selects_what_algorithm_1_does(samples: list[Sample], workers: int) -> None:
    shards = [make_pass([s for s in samples if s[0] % workers == worker]) for worker in range(workers)]
    ids, expected = algorithm_1(shards)
    strategy = MinError.Config(missing="zeros").build()
    summary = strategy.merge([strategy.local(shard, N) for shard in shards])
    assert summary.sample_id.tolist() == [NO_SAMPLE if i < 0 else i for i in ids]
    assert summary.error.isinf().tolist() == [i < 0 for i in ids]
    assert torch.equal(strategy.references(summary, LABELS, None), expected)


def summaries() -> list[Summary]:
    samples = [[(1, 0, 0.5), (2, 1, 0.1)], [(0, 0, 0.5), (3, 1, 0.2)], [(4, 3, 9.0), (5, 0, 0.5)]]
    strategy = MinError.Config().build()
    return [strategy.local(make_pass(part), N) for part in samples]


def test_merging_is_commutative_and_associative() -> None:
    a, b, c = summaries()
    expected = MinError.merge([a, b, c])
    assert expected.sample_id.tolist() == [0, 2, NO_SAMPLE, 4, NO_SAMPLE]
    merged = [MinError.merge(list(order)) for order in itertools.permutations((a, b, c))]
    merged += [MinError.merge([MinError.merge([a, b]), c]), MinError.merge([a, MinError.merge([b, c])])]
    for other in merged:
        assert all(torch.equal(x, y) for x, y in zip(expected, other, strict=True))


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        MinError.merge([])


def test_of_a_sample_seen_twice_the_last_time_counts() -> None:
    # Sample 8 was best at first, then got worse than sample 9.
    assert select([make_pass([(8, 2, 0.1), (9, 2, 0.4), (8, 2, 0.7)])])[2].tolist() == [9.0, 0.4, 1.0]


def test_a_sample_without_a_finite_error_is_no_reference() -> None:
    references = select([make_pass([(1, 0, float("nan")), (2, 0, 3.0), (3, 1, float("inf"))])])
    assert references[0, 0] == 2 and not references[1].any()


def test_missing_ages_are_interpolated_by_years_and_held_beyond_the_ends() -> None:
    references = select([make_pass([(10, 1, 0.0), (20, 3, 0.0)])], "interpolate")
    # Labels 1, 3, 4, 7, 20: 4 lies a quarter of the way from 3 to 7.
    assert references[:, 0].tolist() == [10.0, 10.0, 12.5, 20.0, 20.0]


def test_present_ages_are_exact_under_interpolation() -> None:
    collected = make_pass([(10, 1, 0.1), (20, 3, 0.3)], torch.float32)
    assert torch.equal(select([collected], "interpolate")[[1, 3]], collected.features)


def test_carry_keeps_previous_rows_and_interpolates_at_first() -> None:
    collected = make_pass([(10, 1, 0.0), (20, 3, 0.0)])
    previous = torch.full((N, C), 99.0)
    assert select([collected], "carry", previous)[:, 0].tolist() == [99.0, 10.0, 99.0, 20.0, 99.0]
    assert torch.equal(select([collected], "carry"), select([collected], "interpolate"))


def test_interpolating_between_no_ages_is_refused() -> None:
    with pytest.raises(ValueError, match="no age has a usable sample"):
        select([make_pass([(1, -1, 0.0)])], "interpolate")


def test_batches_added_to_an_empty_pass_are_the_pass() -> None:
    whole = make_pass([(1, 0, 0.5), (2, 1, 0.25), (3, -1, 1.0)], torch.float32)
    collected = Pass.empty(5, C, torch.float32, "cpu")
    for rows in (slice(0, 2), slice(2, 3)):
        features = whole.features[rows].clone().requires_grad_()
        collected.add(whole.sample_id[rows], whole.position[rows], whole.error[rows], features)
    for name in ("sample_id", "position", "error", "features"):
        assert torch.equal(getattr(collected, name), getattr(whole, name))
    assert not collected.features.requires_grad


def test_a_reset_pass_is_empty_and_has_its_room_again() -> None:
    collected, batch = Pass.empty(2, C, torch.float32, "cpu"), make_pass([(1, 0, 0.5), (2, 1, 0.25)])
    for _ in range(2):
        collected.reset()
        assert collected.features.shape == (0, C)
        collected.add(batch.sample_id, batch.position, batch.error, batch.features)
    with pytest.raises(ValueError, match="room for 2 samples cannot hold 4"):
        collected.add(batch.sample_id, batch.position, batch.error, batch.features)
