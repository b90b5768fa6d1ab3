"""Age and gender heads against equations 1–3, and positions among labels with gaps."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.heads import AgeHeadConfig, Evr, Fc, FcNorm, GenderHead, positions

MEMBERS = get_args(get_args(AgeHeadConfig)[0])
LABELS = torch.tensor([1.0, 3.0, 4.0, 7.0])


def build(member: Any, channels: int = 5) -> Any:
    """A head that begins at random: from zeros its estimates would not depend on the features."""
    config = member(init="torch_default") if member is Evr.Config else member()
    return config.build(channels, LABELS, age_mean=30.0, age_std=8.0)


def test_positions_round_half_up_and_know_the_gaps() -> None:
    age = torch.tensor([1.0, 0.5, 0.49, 1.49, 1.5, 2.5, 3.4999, 3.5, 6.49, 6.5, 7.49, 7.5, 101.0])
    assert positions(age, LABELS).tolist() == [0, 0, -1, 0, -1, 1, 1, 2, -1, 3, 3, -1, -1]


def test_positions_do_not_round_the_largest_float_below_a_half_up() -> None:
    assert positions(torch.tensor([0.49999997]), torch.tensor([1.0])).tolist() == [-1]


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(0, 110), min_size=1, max_size=40), st.floats(0, 120, width=32))
def test_positions_agree_with_looking_the_rounded_age_up(labels: set[int], age: float) -> None:
    ordered = sorted(labels)
    rounded = math.floor(age + 0.5)
    expected = ordered.index(rounded) if rounded in labels else -1
    assert positions(torch.tensor([age]), torch.tensor(ordered)).tolist() == [expected]


def test_evr_decodes_by_the_softmax_expectation() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)) + 5
    head = build(Evr.Config).double()
    # 0.1·1 + 0.2·3 + 0.3·4 + 0.4·7 (equation 1)
    torch.testing.assert_close(head.decode(logits), torch.tensor([4.7], dtype=torch.float64))
    torch.testing.assert_close(
        head.loss(logits, torch.tensor([4.0])), torch.tensor([0.7], dtype=torch.float64)
    )


def test_evr_begins_at_the_labels_mean_whatever_the_features() -> None:
    head = Evr.Config().build(5, LABELS, age_mean=30.0, age_std=8.0)
    torch.testing.assert_close(head.decode(head(torch.randn(4, 5))), torch.full((4,), (1 + 3 + 4 + 7) / 4))


def test_fc_norm_decodes_to_years_and_its_loss_is_in_years() -> None:
    head = build(FcNorm.Config)
    outputs = torch.tensor([0.5, -1.0])
    torch.testing.assert_close(head.decode(outputs), torch.tensor([34.0, 22.0]))
    torch.testing.assert_close(head.loss(outputs, torch.tensor([30.0, 30.0])), torch.tensor([4.0, 8.0]))


def test_fc_norm_carries_mean_and_deviation_in_its_state() -> None:
    target = FcNorm.Config().build(5, LABELS, age_mean=0.0, age_std=1.0)
    target.load_state_dict(build(FcNorm.Config).state_dict())
    torch.testing.assert_close(target.decode(torch.tensor([1.0])), torch.tensor([38.0]))


def test_fc_norm_refuses_ages_that_do_not_differ() -> None:
    with pytest.raises(ValueError, match="age_std=0"):
        FcNorm.Config().build(5, LABELS, age_mean=30.0, age_std=0.0)


def test_fc_estimates_years_directly() -> None:
    head = build(Fc.Config)
    features = torch.randn(3, 5)
    expected = (features * head.linear.weight).sum(1) + head.linear.bias
    torch.testing.assert_close(head.decode(head(features)), expected)


@pytest.mark.parametrize("member", [Fc.Config, FcNorm.Config, Evr.Config])
def test_the_loss_of_the_papers_heads_is_the_absolute_error_per_sample(member: Any) -> None:
    head = build(member).double()
    outputs = head(torch.randn(6, 5, dtype=torch.float64))
    age = torch.tensor([1.0, 3.3, 4.0, 7.0, 60.5, 0.0], dtype=torch.float64)
    torch.testing.assert_close(head.loss(outputs, age), (head.decode(outputs) - age).abs())


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_float64_stays_float64_and_half_precision_becomes_float32(member: Any) -> None:
    head = build(member)
    outputs = head(torch.randn(2, 5))
    assert head.decode(outputs.bfloat16()).dtype == torch.float32
    assert head.double().decode(outputs.double()).dtype == torch.float64


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_autocast_changes_no_estimate_and_no_loss(member: Any) -> None:
    head, features, age = build(member), torch.randn(8, 5) * 20, torch.full((8,), 4.0)
    plain = head.decode(head(features)), head.loss(head(features), age)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = head.decode(head(features)), head.loss(head(features), age)
    assert torch.equal(plain[0], cast[0]) and torch.equal(plain[1], cast[1])


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_gradient_steps_bring_the_estimates_to_the_ages(member: Any) -> None:
    torch.manual_seed(0)
    head = build(member)
    features, age = torch.eye(4, 5) * 3, LABELS
    optimizer = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        head.loss(head(features), age).mean().backward()
        optimizer.step()
    error = (head.decode(head(features)) - age).abs().mean()
    # Distributions of 2 years' spread cannot tell labels apart that are 1 or 2 years from each other.
    assert error < (1.5 if member().name in ("dldl", "dldl_v2") else 0.5)


def naive_cross_entropy(logits: Tensor, target: int) -> float:
    exponentials = [math.exp(value) for value in logits.tolist()]
    return -math.log(exponentials[target] / sum(exponentials))


def test_gender_loss_is_cross_entropy_over_known_genders_and_zero_elsewhere() -> None:
    head, logits = GenderHead(5), torch.randn(4, 2, dtype=torch.float64)
    loss = head.loss(logits, torch.tensor([0, -1, 1, -1]))
    expected = [naive_cross_entropy(logits[0], 0), 0.0, naive_cross_entropy(logits[2], 1), 0.0]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_unknown_genders_give_no_gradient() -> None:
    head = GenderHead(5)
    head.loss(head(torch.randn(3, 5)), torch.full((3,), -1)).sum().backward()
    assert head.linear.weight.grad is not None and not head.linear.weight.grad.any()
