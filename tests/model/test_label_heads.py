"""Heads on label distributions: losses against plain Python, decoding by hand, targets among gaps."""

from __future__ import annotations

from typing import Any

import naive_heads as naive
import pytest
import torch

from model.distribution_heads import Dldl, DldlV2, Sord, Unimodal
from model.label_heads import CrossEntropy, Dex, MeanVariance

LABELS = [1.0, 3.0, 4.0, 7.0, 20.0]
HEADS = [
    (CrossEntropy, naive.ce, "median"),
    (Dex, naive.ce, "expectation"),
    (MeanVariance, naive.mean_variance, "expectation"),
    (Dldl, naive.dldl, "expectation"),
    (DldlV2, naive.dldl_v2, "expectation"),
    (Sord, naive.sord, "argmax"),
    (Unimodal, naive.unimodal, "expectation"),
]


def build(head: Any, labels: list[float] = LABELS, **settings: Any) -> Any:
    return head.Config(**settings).build(3, torch.tensor(labels), 10.0, 5.0).double()


@pytest.mark.parametrize(("head", "formula", "_"), HEADS)
def test_the_loss_is_the_published_formula_among_labels_with_gaps(head: Any, formula: Any, _: str) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = 3 * torch.randn(7, 5, dtype=torch.float64, generator=generator)
    age = torch.tensor([1.0, 2.5, 3.49, 4.0, 6.5, 20.0, 19.7], dtype=torch.float64)
    expected = [formula(row, LABELS, y) for row, y in zip(logits.tolist(), age.tolist(), strict=True)]
    torch.testing.assert_close(build(head).loss(logits, age), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(("head", "formula", "_"), HEADS[3:])
def test_any_age_has_a_distribution(head: Any, formula: Any, _: str) -> None:
    logits = torch.tensor([[0.3, -0.2, 0.9, 0.1, 0.5]], dtype=torch.float64)
    for age in (0.0, 2.0, 11.5, 30.0):
        expected = torch.tensor([formula(logits[0].tolist(), LABELS, age)], dtype=torch.float64)
        torch.testing.assert_close(build(head).loss(logits, torch.tensor([age])), expected)


@pytest.mark.parametrize(("head", "_", "published"), HEADS)
def test_every_decoding_by_hand(head: Any, _: Any, published: str) -> None:
    logits = torch.tensor([[0.15, 0.3, 0.1, 0.2, 0.25]], dtype=torch.float64).log() + 3
    # 0.15·1 + 0.3·3 + 0.1·4 + 0.2·7 + 0.25·20; sums .15, .45, .55
    by_hand = {"expectation": 7.85, "median": 4.0, "argmax": 3.0}
    for decoding, age in by_hand.items():
        assert build(head, decode=decoding).decode(logits).item() == pytest.approx(age)
    assert build(head).decode(logits).item() == pytest.approx(by_hand[published])


def test_the_median_has_the_least_expected_absolute_error_of_all_labels() -> None:
    logits = torch.randn(200, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor(LABELS, dtype=torch.float64)
    cost = (logits.softmax(1).unsqueeze(1) * (labels - labels.unsqueeze(1)).abs()).sum(2)
    assert torch.equal(build(CrossEntropy).decode(logits), labels[cost.argmin(1)])


def test_a_perfect_distribution_has_no_divergence() -> None:
    target = torch.tensor([naive.gaussian_target(LABELS, 3.4)], dtype=torch.float64)
    loss = build(Dldl).loss(target.log(), torch.tensor([3.4], dtype=torch.float64))
    torch.testing.assert_close(loss, torch.zeros(1, dtype=torch.float64))


def test_the_unimodal_hinge_leaves_a_single_peak_at_the_age_alone() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, 1.0, 0.0]], dtype=torch.float64)
    for age, hinged in ((4.0, False), (3.0, True), (20.0, True)):
        y = torch.tensor([age])
        free = build(Unimodal, hinge_weight=0).loss(logits, y)
        assert (build(Unimodal).loss(logits, y) > free).item() is hinged


@pytest.mark.parametrize(("head", "_", "__"), HEADS)
def test_one_label_is_enough(head: Any, _: Any, __: str) -> None:
    single = build(head, labels=[30.0])
    logits = single(torch.randn(2, 3))
    assert single.decode(logits).tolist() == [30.0, 30.0]
    assert single.loss(logits, torch.tensor([30.0, 30.2])).isfinite().all()


def test_of_two_medians_the_lower_label_is_taken() -> None:
    assert build(CrossEntropy, labels=[1.0, 3.0]).decode(torch.zeros(1, 2, dtype=torch.float64)).item() == 1.0
