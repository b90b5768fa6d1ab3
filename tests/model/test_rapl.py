"""The collapsed position head against equations 4–7 written out, in values and gradients."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.rapl import AuxCe, PositionHeadConfig, Rapl, smoothed_targets

N, C = 7, 5
LABELS = torch.arange(10.0, 17.0)
MEMBERS = [
    member for member in get_args(get_args(PositionHeadConfig)[0]) if member().build(C, LABELS) is not None
]


def literal_logits(head: Rapl, features: Tensor) -> Tensor:
    """Logits [b, n] as the paper writes them, with the [b, c, n] tensor."""
    z = head.R.T * head.P  # [c, n], equation 4
    w = 1 / (1 + torch.exp(-z))  # equation 5
    duplicated = features.unsqueeze(2).expand(-1, -1, len(head.P))
    reweighted = duplicated * w  # [b, c, n], equation 6
    per_channel = head.fc_feature(reweighted).flatten(1)  # [b, c]
    logits: Tensor = head.fc_pos(per_channel)
    return logits


def with_references(**settings: Any) -> Rapl:
    torch.manual_seed(3)
    head = Rapl.Config(**settings).build(C, LABELS).double()
    head.set_references(torch.randn(N, C, dtype=torch.float64))
    return head


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("p_init", ["ones", "zeros", "normal"])
def test_the_collapsed_form_equals_the_literal_one(batch: int, p_init: str) -> None:
    head = with_references(p_init=p_init)
    target = torch.arange(batch)
    results = []
    for form in (head, lambda features: literal_logits(head, features)):
        features = torch.linspace(-2, 2, batch * C, dtype=torch.float64).view(batch, C).requires_grad_()
        logits = form(features)
        loss = functional.cross_entropy(logits, target)
        results.append([logits, *torch.autograd.grad(loss, [features, *head.parameters()])])
    assert len(results[0]) == 2 + len(["P", "v", "beta", "W2", "b2"])
    for collapsed, literal in zip(*results, strict=True):
        torch.testing.assert_close(collapsed, literal, rtol=1e-11, atol=1e-13)


def test_every_parameter_gets_a_gradient() -> None:
    head = with_references()
    head.loss(head(torch.randn(3, C, dtype=torch.float64)), torch.tensor([0, 1, 2])).sum().backward()
    assert {name for name, p in head.named_parameters() if p.grad is not None and p.grad.any()} == {
        "P", "fc_feature.weight", "fc_feature.bias", "fc_pos.weight", "fc_pos.bias"
    }  # fmt: skip


def test_initial_values_follow_the_settings() -> None:
    head = Rapl.Config(p_init="zeros", v_init="mean").build(C, LABELS)
    assert not head.P.any() and not head.fc_feature.bias.any()
    # P = 0 makes every gate ½, and v = 1/n averages them.
    torch.testing.assert_close(head.gain(), torch.full((C,), 0.5))
    assert Rapl.Config().build(C, LABELS).P.eq(1).all()
    assert Rapl.Config(p_init="normal").build(C, LABELS).P.unique().numel() == N


def test_the_state_carries_references_and_their_flag() -> None:
    source, target = with_references(), Rapl.Config().build(C, LABELS).double()
    assert source.ready and not target.ready
    target.load_state_dict(source.state_dict())
    assert target.ready and torch.equal(target.R, source.R)


def test_references_are_copied_and_get_no_gradient() -> None:
    head = Rapl.Config().build(C, LABELS)
    references = torch.randn(N, C, requires_grad=True)
    head.set_references(references)
    with torch.no_grad():
        references.zero_()
    assert head.R.any() and not head.R.requires_grad


@pytest.mark.parametrize("wrong", [torch.zeros(C, N), torch.full((N, C), torch.nan)])
def test_wrong_references_are_refused_and_not_kept(wrong: Tensor) -> None:
    head = Rapl.Config().build(C, LABELS)
    with pytest.raises(ValueError, match="references must be"):
        head.set_references(wrong)
    assert not head.ready and not head.R.any()


def test_diagnostics_are_mean_size_and_deviation_of_the_gain() -> None:
    head = with_references()
    gain = (torch.sigmoid(head.R * head.P[:, None]) * head.fc_feature.weight.T).sum(0).tolist()
    mean = sum(gain) / C
    diagnostics = head.diagnostics()
    assert diagnostics["gain_mean_abs"] == pytest.approx(sum(abs(s) for s in gain) / C)
    assert diagnostics["gain_std"] == pytest.approx((sum((s - mean) ** 2 for s in gain) / C) ** 0.5)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_autocast_changes_no_logit(member: Any) -> None:
    head, features = member().build(C, LABELS), torch.randn(4, C) * 20
    plain = head(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), plain)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_ages_outside_the_labels_have_no_loss(member: Any) -> None:
    head = member().build(C, LABELS).double()
    logits = head(torch.randn(3, C, dtype=torch.float64))
    loss = head.loss(logits, torch.tensor([2, -1, 6]))
    log_probability = logits - logits.exp().sum(1, keepdim=True).log()
    expected = torch.stack([-log_probability[0, 2], torch.zeros_like(logits[0, 0]), -log_probability[2, 6]])
    torch.testing.assert_close(loss, expected)


def test_only_rapl_waits_for_references() -> None:
    assert [m().build(C, LABELS).ready for m in (AuxCe.Config, Rapl.Config)] == [True, False]


def literal_with_own_row_replaced(head: Rapl, features: Tensor, own: Tensor) -> Tensor:
    """Equations 4–7 sample by sample, each with a copy of R whose row `own` is the runner-up's."""
    logits = []
    for row, label in zip(features, own.tolist(), strict=True):
        references = head.R.clone()
        if label >= 0:
            references[label] = head.runner_up[label]
        w = 1 / (1 + torch.exp(-references.T * head.P))
        logits.append(head.fc_pos(head.fc_feature(row.unsqueeze(1) * w).flatten()))
    return torch.stack(logits)


@pytest.mark.parametrize("own", [[-1, 2, 0, -1, 6], [-1] * 5, [3, 3, 3, 3, 3]])
def test_a_sample_meets_the_runner_up_in_place_of_itself(own: list[int]) -> None:
    head = with_references(p_init="normal")
    head.set_references(head.R.clone(), torch.randn(N, C, dtype=torch.float64))
    labels, target, results = torch.tensor(own), torch.arange(5), []
    for form in (head, lambda features, own: literal_with_own_row_replaced(head, features, own)):
        features = torch.linspace(-2, 2, 5 * C, dtype=torch.float64).view(5, C).requires_grad_()
        logits = form(features, labels)
        loss = functional.cross_entropy(logits, target)
        results.append([logits, *torch.autograd.grad(loss, [features, *head.parameters()])])
    for collapsed, literal in zip(*results, strict=True):
        torch.testing.assert_close(collapsed, literal, rtol=1e-11, atol=1e-13)


def test_without_a_runner_up_a_sample_meets_itself() -> None:
    head, features = with_references(), torch.randn(3, C, dtype=torch.float64)
    torch.testing.assert_close(head(features, torch.tensor([0, 4, -1])), head(features), rtol=0, atol=1e-12)


def test_autocast_changes_no_correction() -> None:
    head = with_references().float()
    head.set_references(head.R.clone(), torch.randn(N, C) * 20)
    features, own = torch.randn(3, C) * 20, torch.tensor([0, 4, -1])
    plain = head(features, own)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features, own), plain)


def test_a_runner_up_that_is_not_finite_is_refused_and_nothing_is_kept() -> None:
    head = Rapl.Config().build(C, LABELS)
    with pytest.raises(ValueError, match="references must be finite"):
        head.set_references(torch.zeros(N, C), torch.full((N, C), torch.inf))
    assert not head.ready


def test_logits_with_other_references_are_those_had_they_been_set() -> None:
    head, features = with_references(), torch.randn(4, C, dtype=torch.float64)
    kept, other = head.R.clone(), torch.randn(N, C, dtype=torch.float64)
    asked = head.logits_with(features, other)
    assert torch.equal(head.R, kept)
    head.set_references(other)
    assert torch.equal(asked, head(features))


def naive_target(labels: list[float], place: int, sigma: float) -> list[float]:
    weights = [math.exp(-(((year - labels[place]) / sigma) ** 2) / 2) for year in labels]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
@pytest.mark.parametrize("labels", [[1.0, 3.0, 4.0, 7.0, 20.0], [float(year) for year in range(30, 36)]])
def test_the_loss_under_target_sigma_is_cross_entropy_with_a_gaussian_of_years(
    member: Any, labels: list[float]
) -> None:
    head = member(target_sigma=1.5).build(C, torch.tensor(labels, dtype=torch.float64))
    logits = torch.randn(4, len(labels), dtype=torch.float64)
    places = [0, 3, -1, len(labels) - 1]
    expected = []
    for row, place in zip(logits.tolist(), places, strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        target = naive_target(labels, place, 1.5)
        known = place >= 0
        expected.append(-sum(t * (v - total) for t, v in zip(target, row, strict=True)) if known else 0.0)
    loss = head.loss(logits, torch.tensor(places))
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.3, 2.0, 20.0])
def test_targets_sum_to_one_and_are_symmetric_around_their_label(sigma: float) -> None:
    years = torch.arange(1.0, 102.0, dtype=torch.float64)
    targets = smoothed_targets(years, sigma)
    assert targets is not None
    torch.testing.assert_close(targets.sum(1), torch.ones_like(years), rtol=1e-12, atol=0)
    middle = targets[50]
    assert torch.equal(middle, middle.flip(0)) and middle.argmax() == 50
    # Where labels end the rest of the Gaussian falls on those that are left.
    assert targets[0].argmax() == 0 and float(targets[0, 0]) > float(middle[50])


def test_sigma_zero_is_the_one_hot_target_and_a_tiny_sigma_nears_it() -> None:
    logits, place = torch.randn(N, N, dtype=torch.float64), torch.arange(N)
    one_hot = Rapl.Config(target_sigma=0).build(C, LABELS).loss(logits, place)
    torch.testing.assert_close(one_hot, -logits.log_softmax(1).diagonal())
    tiny = Rapl.Config(target_sigma=0.01).build(C, LABELS).double().loss(logits, place)
    torch.testing.assert_close(tiny, one_hot, rtol=0, atol=1e-12)


def test_targets_are_no_part_of_a_state() -> None:
    plain, smoothed = (Rapl.Config(target_sigma=s).build(C, LABELS).state_dict() for s in (0, 2))
    assert plain.keys() == smoothed.keys()
