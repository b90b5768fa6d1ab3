"""Metrics against naive formulas (equations 9–11), and their addition over batches and workers."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from model.metrics import Metrics


def naive(
    predicted: list[float], age: list[float], logits: list[list[float]], gender: list[int]
) -> dict[str, float]:
    errors = [p - a for p, a in zip(predicted, age, strict=True)]
    rounded = [math.floor(p + 0.5) - a for p, a in zip(predicted, age, strict=True)]
    known = [(int(pair[1] > pair[0]), g) for pair, g in zip(logits, gender, strict=True) if g >= 0]
    n = len(errors)
    return {
        "count": n,
        "age_mae": sum(abs(e) for e in errors) / n,
        "age_rmse": math.sqrt(sum(e * e for e in errors) / n),
        "age_bias": sum(errors) / n,
        "age_cs5": 100 * sum(abs(e) <= 5 for e in errors) / n,
        "age_cs5_rounded": 100 * sum(abs(e) <= 5 for e in rounded) / n,
        "gender_accuracy": 100 * sum(p == g for p, g in known) / len(known),
    }


def faces(count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    age = torch.randint(1, 100, (count,), generator=generator).float()
    predicted = age + 6 * torch.randn(count, generator=generator)
    return predicted, age, torch.randn(count, 2, generator=generator), torch.arange(count) % 3 - 1


def test_uneven_batches_and_workers_give_the_naive_metrics_of_all_samples() -> None:
    data = faces(101)
    workers = [Metrics(), Metrics()]
    for i, (start, stop) in enumerate([(0, 40), (40, 41), (41, 100), (100, 101)]):
        workers[i % 2].add(*(part[start:stop] for part in data))
    total = Metrics()
    total.sums += workers[0].sums + workers[1].sums
    expected = naive(*(part.double().tolist() for part in data[:3]), data[3].tolist())
    assert total.compute() == pytest.approx(expected, rel=1e-12)


def test_cs5_includes_five_years_and_depends_on_rounding() -> None:
    metrics = Metrics()
    predicted = torch.tensor([35.0, 35.4, 24.5, 35.6])
    metrics.add(predicted, torch.full((4,), 30.0), None, torch.full((4,), -1))
    values = metrics.compute()
    # Raw errors 5, 5.4, 5.5, 5.6; rounded half up 35, 35, 25, 36.
    assert (values["age_cs5"], values["age_cs5_rounded"]) == (25.0, 75.0)


def test_bias_is_positive_where_faces_look_too_old() -> None:
    metrics = Metrics()
    metrics.add(torch.tensor([32.0, 31.0]), torch.tensor([30.0, 30.0]), None, torch.tensor([0, 1]))
    assert metrics.compute()["age_bias"] == 1.5


@pytest.mark.parametrize("logits", [None, torch.zeros(2, 2)])
def test_gender_accuracy_is_absent_without_known_genders_or_a_head(logits: Tensor | None) -> None:
    metrics = Metrics()
    gender = torch.tensor([0, 1]) if logits is None else torch.tensor([-1, -1])
    metrics.add(torch.zeros(2), torch.zeros(2), logits, gender)
    assert "gender_accuracy" not in metrics.compute()


def test_metrics_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        Metrics().compute()


def test_sums_are_exact_for_float32_predictions_in_bulk() -> None:
    metrics = Metrics()
    for _ in range(100):
        metrics.add(torch.full((1000,), 1e-3), torch.zeros(1000), None, torch.full((1000,), -1))
    assert metrics.compute()["age_mae"] == pytest.approx(float(torch.tensor(1e-3).double()), rel=1e-12)
