"""`search.constraints`: what a trial must keep to, beside being good."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestration.errors import nearest

# What an epoch's line always has; diagnostics of single heads are no ground to refuse a trial on.
METRICS = (
    "train/seconds",
    "train/images_per_second",
    "train/memory_gib",
    "train/gpu_memory_gib",
    "val/age_mae",
    "val/age_rmse",
    "val/age_bias",
    "val/age_cs5",
    "val/age_cs5_rounded",
    "val/gender_accuracy",
)


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric of a trial: `train/gpu_memory_gib <= 10`."""

    text: str
    metric: str
    below: bool
    bound: float

    @classmethod
    def of(cls, text: str) -> Constraint:
        """Read one. Raises ValueError that says what is wrong with it."""
        found = re.fullmatch(r"\s*(\S+?)\s*(<=|>=)\s*(\S+)\s*", text)
        if found is None:
            raise ValueError(f"{text!r}: expected a metric, <= or >=, and a number")
        metric, sign, number = found.groups()
        if metric not in METRICS:
            hint = nearest(metric, METRICS) or f" Allowed: {', '.join(METRICS)}."
            raise ValueError(f"{text!r}: no such metric.{hint}")
        try:
            bound = float(number)
        except ValueError:
            raise ValueError(f"{text!r}: {number!r} is no number") from None
        return cls(" ".join([metric, sign, number]), metric, sign == "<=", bound)

    def excess(self, value: float) -> float:
        """How far a value is beyond the bound; 0 or less where it is kept (Optuna's convention)."""
        return value - self.bound if self.below else self.bound - value
