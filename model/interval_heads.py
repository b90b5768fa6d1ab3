"""Age heads that give a spread beside the age, in units of the training ages' standard deviation."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from model.head_base import StandardisedHead
from model.precision import at_least_float32
from model.settings import Settings

LOG_VARIANCE_LIMIT = 10.0  # e^±10 square deviations; a face's variance lies well inside


class Gaussian(StandardisedHead):
    """Mean and log variance of a normal distribution over the age (Nix and Weigend 1994).

    With β > 0 the likelihood is weighted by the variance to the power β, without its gradient (Seitzer et al.
    2022), so that faces with a large variance still move the mean.
    """

    class Config(Settings):
        name: Literal["gaussian"] = "gaussian"
        beta: float = Field(
            default=0.5, ge=0, le=1, description="β of β-NLL (published: 0.5); 0 is the plain likelihood"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Gaussian:
            return Gaussian(self, in_features, age_mean, age_std)

    def __init__(self, config: Config, in_features: int, age_mean: float, age_std: float) -> None:
        super().__init__(config.name, in_features, 2, age_mean, age_std)
        self.beta = config.beta

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: [b, 2] → the mean, [b] years."""
        return self.years(outputs[:, 0])

    def deviation(self, outputs: Tensor) -> Tensor:
        """outputs: [b, 2] → the standard deviation, [b] years."""
        return (self._log_variance(outputs) / 2).exp() * self.age_std

    @property
    def spread_names(self) -> tuple[str, ...]:
        """The standard deviation alone."""
        return ("sd",)

    def spread(self, outputs: Tensor) -> Tensor:
        """outputs: [b, 2] → [b, 1] years."""
        return self.deviation(outputs).unsqueeze(1)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Negative log-likelihood per sample [b] of the standardised age, without its constant ½·log 2π."""
        mean, log_variance = at_least_float32(outputs[:, 0]), self._log_variance(outputs)
        target = (age.to(mean.dtype) - self.age_mean) / self.age_std
        likelihood = (log_variance + (target - mean).square() * (-log_variance).exp()) / 2
        return likelihood * (self.beta * log_variance).exp().detach()

    def _log_variance(self, outputs: Tensor) -> Tensor:
        """[b], limited so that its exponential neither overflows nor vanishes."""
        return at_least_float32(outputs[:, 1]).clamp(-LOG_VARIANCE_LIMIT, LOG_VARIANCE_LIMIT)


class Quantile(StandardisedHead):
    """Quantiles of the age by their pinball loss (Koenker and Bassett 1978); the age is the median."""

    class Config(Settings):
        name: Literal["quantile"] = "quantile"
        quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
            default=(0.05, 0.25, 0.5, 0.75, 0.95), description="ascending levels, 0.5 among them"
        )

        @field_validator("quantiles")
        @classmethod
        def _ascend_through_the_median(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
            if 0.5 not in levels or any(low >= high for low, high in pairwise(levels)):
                raise ValueError(f"quantiles must ascend and contain 0.5. Received: {list(levels)}")
            return levels

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Quantile:
            return Quantile(self, in_features, age_mean, age_std)

    def __init__(self, config: Config, in_features: int, age_mean: float, age_std: float) -> None:
        super().__init__(config.name, in_features, len(config.quantiles), age_mean, age_std)
        self.config = config
        self.median = config.quantiles.index(0.5)
        self.register_buffer("levels", torch.tensor(config.quantiles, dtype=self.linear.weight.dtype))
        self.levels: Tensor

    def quantiles(self, outputs: Tensor) -> Tensor:
        """outputs: [b, q] → [b, q] years, sorted, since nothing keeps raw quantiles from crossing.

        Sorting never worsens them (Chernozhukov et al. 2010).
        """
        return self.years(outputs).sort(1).values

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: [b, q] → the median, [b] years."""
        return self.quantiles(outputs)[:, self.median]

    @property
    def spread_names(self) -> tuple[str, ...]:
        """Every level by its decimals, at least two: q05, q25, q975."""
        decimals = (f"{Decimal(str(level)):f}"[2:] for level in self.config.quantiles)
        return tuple(f"q{digits.ljust(2, '0')}" for digits in decimals)

    def spread(self, outputs: Tensor) -> Tensor:
        """outputs: [b, q] → [b, q] years."""
        return self.quantiles(outputs)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Pinball loss in years per sample [b], mean over the quantiles; of 0.5 half the absolute error."""
        estimate = self.years(outputs)
        short = age.to(estimate.dtype).unsqueeze(1) - estimate
        return torch.maximum(self.levels * short, (self.levels - 1) * short).mean(1)
