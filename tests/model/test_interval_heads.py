"""Heads with a spread: losses against plain Python, years by hand, quantiles that cross."""

from __future__ import annotations

from typing import Any

import naive_heads as naive
import pytest
import torch
from pydantic import ValidationError

from model.interval_heads import Gaussian, Quantile

AGE = torch.tensor([1.0, 33.3, 30.0, 70.0], dtype=torch.float64)
LEVELS = (0.1, 0.5, 0.8)


def build(head: Any, **settings: Any) -> Any:
    return head.Config(**settings).build(3, torch.tensor([1.0, 90.0]), 30.0, 8.0).double()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_gaussian_loss_is_the_weighted_likelihood(beta: float) -> None:
    outputs = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    pairs = zip(outputs.tolist(), AGE.tolist(), strict=True)
    expected = [naive.gaussian(row, 30.0, 8.0, age, beta) for row, age in pairs]
    torch.testing.assert_close(
        build(Gaussian, beta=beta).loss(outputs, AGE), torch.tensor(expected, dtype=torch.float64)
    )


def test_betas_weight_has_no_gradient() -> None:
    outputs = torch.tensor([[0.2, 0.6]], dtype=torch.float64, requires_grad=True)
    gradients = []
    for beta in (0.0, 0.5):
        loss = build(Gaussian, beta=beta).loss(outputs, torch.tensor([50.0])).sum()
        gradients.append(torch.autograd.grad(loss, outputs)[0])
    torch.testing.assert_close(gradients[1], gradients[0] * torch.tensor(0.6 * 0.5).double().exp())


def test_gaussian_mean_and_deviation_are_in_years() -> None:
    outputs = torch.tensor([[0.5, 0.0], [-1.0, 1.0], [0.0, -1e4]], dtype=torch.float64)
    head = build(Gaussian)
    torch.testing.assert_close(head.decode(outputs), torch.tensor([34.0, 22.0, 30.0], dtype=torch.float64))
    # 8·e^(s/2); a log variance of −10,000 counts as −10.
    expected = 8 * torch.tensor([0.0, 0.5, -5.0], dtype=torch.float64).exp()
    torch.testing.assert_close(head.deviation(outputs), expected)


def test_the_quantile_loss_is_the_mean_pinball_loss() -> None:
    outputs = 2 * torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    pairs = zip(outputs.tolist(), AGE.tolist(), strict=True)
    expected = [naive.quantile(row, 30.0, 8.0, age, LEVELS) for row, age in pairs]
    head = build(Quantile, quantiles=LEVELS)
    torch.testing.assert_close(head.loss(outputs, AGE), torch.tensor(expected, dtype=torch.float64))


def test_quantiles_that_cross_are_sorted() -> None:
    head, outputs = build(Quantile, quantiles=LEVELS), torch.tensor([[1.0, -1.0, 0.5]])
    assert head.quantiles(outputs).tolist() == [[22.0, 34.0, 38.0]]
    assert head.decode(outputs).tolist() == [34.0]


def test_trained_quantiles_are_the_samples_quantiles() -> None:
    torch.manual_seed(0)
    head, age = build(Quantile, quantiles=(0.2, 0.5, 0.9)), torch.arange(101, dtype=torch.float64)
    features = torch.zeros(101, 3, dtype=torch.float64)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(600):
        optimizer.zero_grad()
        head.loss(head(features), age).mean().backward()
        optimizer.step()
    difference = head.quantiles(head(features[:1])) - torch.tensor([[20.0, 50.0, 90.0]])
    assert (difference.abs() < 1.5).all()


@pytest.mark.parametrize("levels", [(0.1, 0.9), (0.5, 0.1), (0.5, 0.5), (0.0, 0.5), ()])
def test_quantiles_ascend_through_the_median(levels: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Quantile.Config(quantiles=levels)


@pytest.mark.parametrize("head", [Gaussian, Quantile])
def test_training_ages_must_differ(head: Any) -> None:
    with pytest.raises(ValueError, match=r"needs training ages that differ.*age_std=0"):
        head.Config().build(3, torch.tensor([1.0, 90.0]), 30.0, 0.0)
