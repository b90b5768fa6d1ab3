"""Metrics of the paper's section IV as sums over samples, so that batches and workers can be added up.

The published code averages batch means, which weighs the last, short batch too much; here each sample counts
once.
"""

from __future__ import annotations

import torch
from torch import Tensor

CS_YEARS = 5  # the error up to which CS5 counts a sample


class Metrics:
    """`sums` is one float64 vector: added over workers, it gives the metrics of all their samples."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sums = torch.zeros(8, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, predicted_age: Tensor, age: Tensor, gender_logits: Tensor | None, gender: Tensor) -> None:
        """Count a batch: ages [b] in years, gender_logits [b, 2] or none, gender [b] codes (−1 unknown)."""
        error = predicted_age.double() - age.double()
        rounded_error = torch.floor(predicted_age.double() + 0.5) - age.double()
        known = gender >= 0
        if gender_logits is None:
            known = torch.zeros_like(known)
            correct = known
        else:
            correct = known & (gender_logits.argmax(1) == gender)
        parts = (
            torch.ones_like(error),
            error.abs(),
            error.square(),
            error,
            error.abs() <= CS_YEARS,
            rounded_error.abs() <= CS_YEARS,
            correct,
            known,
        )
        self.sums += torch.stack([part.double().sum() for part in parts]).to(self.sums.device)

    def compute(self) -> dict[str, float]:
        """The metrics of all samples counted.

        Returns:
            count; age_mae (equation 9), age_rmse and age_bias (predicted − true) in years; age_cs5 (equation
            10) in percent with errors of the raw predictions and age_cs5_rounded with predictions rounded
            half up; gender_accuracy (equation 11) in percent over known genders, absent when there is none.

        Raises:
            ValueError: if nothing was counted.
        """
        count, absolute, squared, signed, within, within_rounded, correct, known = self.sums.tolist()
        if count == 0:
            raise ValueError("there are no metrics of no samples")
        values = {
            "count": count,
            "age_mae": absolute / count,
            "age_rmse": (squared / count) ** 0.5,
            "age_bias": signed / count,
            "age_cs5": 100 * within / count,
            "age_cs5_rounded": 100 * within_rounded / count,
        }
        if known > 0:
            values["gender_accuracy"] = 100 * correct / known
        return values
