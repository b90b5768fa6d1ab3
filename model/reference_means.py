"""References that are averages: nobody's own feature."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from model.passes import Candidates, Pass, lowest, merged, sums
from model.reference_base import Exchange, ReferenceOptions, Selection, Strategy, nobodys


def summed(exchange: Exchange, total: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Weights and weighted features added over the workers, in the order of their ranks."""
    parts = exchange((total, features))
    return torch.stack([part[0] for part in parts]).sum(0), torch.stack([part[1] for part in parts]).sum(0)


def mean(total: Tensor, features: Tensor, dtype: torch.dtype) -> Selection:
    """Weighted sums divided by their weights; an age without weight is absent."""
    present = total > 0
    return nobodys((features / torch.where(present, total, 1.0).unsqueeze(1)).to(dtype), present)


class MeanOfK(Strategy):
    """The mean of the k samples with the lowest error: Algorithm 1 with less noise per age."""

    class Config(ReferenceOptions):
        name: Literal["mean_of_k"] = "mean_of_k"
        k: int = Field(default=8, ge=1, le=1024, description="samples averaged per age")

        def build(self) -> MeanOfK:
            return MeanOfK(self)

    def __init__(self, options: Config) -> None:
        super().__init__(options)
        self.k = options.k

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        mine = lowest(pass_, rows, pass_.error[rows], len(labels), self.k)
        best = merged([Candidates(*part) for part in exchange(tuple(mine))])
        there = best.score.isfinite()
        total = there.sum(1).double()
        return mean(total, (best.features.double() * there.unsqueeze(2)).sum(1), pass_.features.dtype)


class ClassMean(Strategy):
    """The mean feature of all samples of an age, as in nearest-class-mean classification."""

    class Config(ReferenceOptions):
        name: Literal["class_mean"] = "class_mean"

        def build(self) -> ClassMean:
            return ClassMean(self)

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        mine = sums(pass_, rows, torch.ones_like(pass_.error[rows]), len(labels))
        return mean(*summed(exchange, *mine), pass_.features.dtype)


class ErrorWeighted(Strategy):
    """The mean of an age's samples weighted by softmax(−error / τ): min_error at τ → 0, class_mean at ∞."""

    class Config(ReferenceOptions):
        name: Literal["error_weighted"] = "error_weighted"
        tau: float = Field(default=1.0, gt=0, le=1000, description="temperature in years of error")

        def build(self) -> ErrorWeighted:
            return ErrorWeighted(self)

    def __init__(self, options: Config) -> None:
        super().__init__(options)
        self.tau = options.tau

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        position, error = pass_.position[rows], pass_.error[rows].double()
        low = error.new_full((len(labels),), torch.inf).scatter_reduce(0, position, error, "amin")
        # Relative to the age's lowest error over all workers, so that no weight underflows everywhere.
        low = torch.stack([part[0] for part in exchange((low,))]).amin(0)
        weight = torch.exp((low[position] - error) / self.tau)
        return mean(*summed(exchange, *sums(pass_, rows, weight, len(labels))), pass_.features.dtype)


class GenderBalanced(Strategy):
    """The mean of the best man and the best woman of an age; the best sample where no gender is known."""

    class Config(ReferenceOptions):
        name: Literal["gender_balanced"] = "gender_balanced"

        def build(self) -> GenderBalanced:
            return GenderBalanced(self)

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        best = []
        for gender in (0, 1, None):
            of = rows if gender is None else rows[pass_.gender[rows] == gender]
            mine = lowest(pass_, of, pass_.error[of], len(labels), 1)
            best.append(merged([Candidates(*part) for part in exchange(tuple(mine))]))
        there = torch.stack([b.score[:, 0].isfinite() for b in best[:2]]).double()
        features = torch.stack([b.features[:, 0].double() for b in best[:2]])
        known = mean(there.sum(0), (features * there.unsqueeze(2)).sum(0), pass_.features.dtype)
        anyone = best[2]
        filled = torch.where(known.present.unsqueeze(1), known.features, anyone.features[:, 0])
        return nobodys(filled, anyone.score[:, 0].isfinite())


class Kernel(Strategy):
    """Means over neighbouring ages, each sample weighted by a Gaussian of the distance in years.

    Ages without samples are filled by the same formula.
    """

    class Config(ReferenceOptions):
        name: Literal["kernel"] = "kernel"
        bandwidth: float = Field(default=2.0, ge=0.001, le=100, description="sd of the Gaussian, in years")

        def build(self) -> Kernel:
            return Kernel(self)

    def __init__(self, options: Config) -> None:
        super().__init__(options)
        self.bandwidth = options.bandwidth

    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        rows = pass_.usable()
        mine = sums(pass_, rows, torch.ones_like(pass_.error[rows]), len(labels))
        total, features = summed(exchange, *mine)
        years = labels.to(total.device).double()
        distance = (years.unsqueeze(1) - years) / self.bandwidth
        exponent = torch.where(total > 0, -0.5 * distance**2, -torch.inf)
        if not bool((total > 0).any()):
            return nobodys(features.to(pass_.features.dtype), total > 0)
        # Relative to the nearest age with samples, so that far ages still get their neighbours' mean.
        weight = torch.exp(exponent - exponent.amax(1, keepdim=True))
        smoothed = (weight @ features) / (weight @ total).unsqueeze(1)
        return nobodys(smoothed.to(pass_.features.dtype), torch.ones_like(total, dtype=torch.bool))
