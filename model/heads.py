"""Age and gender heads, and the place of an age among the labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.precision import at_least_float32, exact_linear
from model.settings import Settings

UNKNOWN = -1


def positions(age: Tensor, labels: Tensor) -> Tensor:
    """Relative age positions (figure 2): the index of each age, rounded half up, among the sorted labels.

    Args:
        age: [b] years.
        labels: [n] whole years, ascending; they may have gaps.

    Returns:
        [b] int64 in 0…n−1, or −1 where the rounded age is no label.
    """
    # In float64, since 0.49999997 + 0.5 is 1 in float32.
    years = torch.floor(age.double() + 0.5)
    sorted_labels = labels.double()
    index = torch.searchsorted(sorted_labels, years).clamp(max=len(labels) - 1)
    return torch.where(sorted_labels[index] == years, index, UNKNOWN)


class AgeHead(nn.Module, ABC):
    """Features to raw outputs, which only the head itself can read: as a loss or as an age."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Raw outputs → estimated age [b] in years, in at least float32."""

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Absolute error per sample, [b] years (equation 2 before its mean). age: [b] years."""
        estimate = self.decode(outputs)
        return (estimate - age.to(estimate.dtype)).abs()


class Fc(AgeHead):
    """One linear output in years: the paper's regression baseline."""

    class Config(Settings):
        name: Literal["fc"] = "fc"

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Fc:
            return Fc(in_features)

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → [b] years."""
        return exact_linear(self.linear, features).squeeze(1)

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: [b] years → the same."""
        return at_least_float32(outputs)


class FcNorm(AgeHead):
    """One linear output in standard deviations from the training ages' mean: it need not travel 40 years.

    The loss is the absolute error in years, as of the other heads: λ and μ keep their meaning when heads are
    swapped. Mean and standard deviation are buffers: they live in the checkpoint.
    """

    class Config(Settings):
        name: Literal["fc_norm"] = "fc_norm"

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> FcNorm:
            return FcNorm(in_features, age_mean, age_std)

    def __init__(self, in_features: int, age_mean: float, age_std: float) -> None:
        """Raises ValueError if `age_std` (years) is not positive."""
        super().__init__()
        if not age_std > 0:
            raise ValueError(f"fc_norm needs training ages that differ. Received: age_std={age_std}")
        self.linear = nn.Linear(in_features, 1)
        self.register_buffer("age_mean", torch.tensor(float(age_mean)))
        self.register_buffer("age_std", torch.tensor(float(age_std)))
        self.age_mean: Tensor
        self.age_std: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → [b] standard deviations from the mean."""
        return exact_linear(self.linear, features).squeeze(1)

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: [b] standard deviations → [b] years."""
        return at_least_float32(outputs) * self.age_std + self.age_mean


class Evr(AgeHead):
    """Expected value refinement (equation 1): the softmax's expectation over the age labels."""

    class Config(Settings):
        name: Literal["evr"] = "evr"
        init: Literal["zeros", "torch_default"] = Field(
            default="zeros",
            description="zeros starts from equal probabilities; torch_default (published) from a random "
            "softmax that the L1 of its expectation can saturate before it has learned anything",
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Evr:
            return Evr(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, len(labels))
        if config.init == "zeros":
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(self.linear.bias)
        self.register_buffer("labels", labels.to(self.linear.weight.dtype, copy=True))
        self.labels: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n]."""
        return exact_linear(self.linear, features)

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: logits [b, n] → expected age [b] in years."""
        probability = at_least_float32(outputs).softmax(1)
        # A product and a sum: autocast would turn a matrix product into bfloat16.
        return (probability * self.labels).sum(1)


class GenderHead(nn.Module):
    """Two logits, male and female (codes 0 and 1; −1 is unknown)."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, 2)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, 2]."""
        return exact_linear(self.linear, features)

    def loss(self, logits: Tensor, gender: Tensor) -> Tensor:
        """Cross-entropy per sample [b] (equation 3 before its mean), 0 where gender [b] is −1."""
        return known_cross_entropy(logits, gender)


def known_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy over logits [b, n] and target [b] without reduction, 0 where the target is −1."""
    return functional.cross_entropy(
        at_least_float32(logits), target.long(), ignore_index=UNKNOWN, reduction="none"
    )


AgeHeadConfig = Annotated[Fc.Config | FcNorm.Config | Evr.Config, Field(discriminator="name")]
