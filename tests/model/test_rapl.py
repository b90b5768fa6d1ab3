"""The collapsed position head against equations 4–7 written out, in values and gradients."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.rapl import AuxCe, PositionHeadConfig, Rapl

N, C = 7, 5
MEMBERS = [member for member in get_args(get_args(PositionHeadConfig)[0]) if member().build(C, N) is not None]


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
    head = Rapl.Config(**settings).build(C, N).double()
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
    head = Rapl.Config(p_init="zeros", v_init="mean").build(C, N)
    assert not head.P.any() and not head.fc_feature.bias.any()
    # P = 0 makes every gate ½, and v = 1/n averages them.
    torch.testing.assert_close(head.gain(), torch.full((C,), 0.5))
    assert Rapl.Config().build(C, N).P.eq(1).all()
    assert Rapl.Config(p_init="normal").build(C, N).P.unique().numel() == N


def test_the_state_carries_references_and_their_flag() -> None:
    source, target = with_references(), Rapl.Config().build(C, N).double()
    assert source.ready and not target.ready
    target.load_state_dict(source.state_dict())
    assert target.ready and torch.equal(target.R, source.R)


def test_references_are_copied_and_get_no_gradient() -> None:
    head = Rapl.Config().build(C, N)
    references = torch.randn(N, C, requires_grad=True)
    head.set_references(references)
    with torch.no_grad():
        references.zero_()
    assert head.R.any() and not head.R.requires_grad


@pytest.mark.parametrize("wrong", [torch.zeros(C, N), torch.full((N, C), torch.nan)])
def test_wrong_references_are_refused_and_not_kept(wrong: Tensor) -> None:
    head = Rapl.Config().build(C, N)
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
    head, features = member().build(C, N), torch.randn(4, C) * 20
    plain = head(features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(head(features), plain)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_ages_outside_the_labels_have_no_loss(member: Any) -> None:
    head = member().build(C, N).double()
    logits = head(torch.randn(3, C, dtype=torch.float64))
    loss = head.loss(logits, torch.tensor([2, -1, 6]))
    log_probability = logits - logits.exp().sum(1, keepdim=True).log()
    expected = torch.stack([-log_probability[0, 2], torch.zeros_like(logits[0, 0]), -log_probability[2, 6]])
    torch.testing.assert_close(loss, expected)


def test_only_rapl_waits_for_references() -> None:
    assert [
        (m().build(C, N).needs_references, m().build(C, N).ready) for m in (AuxCe.Config, Rapl.Config)
    ] == [
        (False, True),
        (True, False),
    ]
