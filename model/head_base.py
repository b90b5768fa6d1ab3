"""What age heads share: the base class, the place of an age among the labels, and the labels themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from model.precision import at_least_float32, exact_linear

UNKNOWN = -1


def whole_years(age: Tensor) -> Tensor:
    """age [b] years, rounded half up, in float64, since 0.49999997 + 0.5 is 1 in float32."""
    return torch.floor(age.double() + 0.5)


def positions(age: Tensor, labels: Tensor) -> Tensor:
    """Relative age positions (figure 2): the index of each age, rounded half up, among the sorted labels.

    Args:
        age: [b] years.
        labels: [n] whole years, ascending; they may have gaps.

    Returns:
        [b] int64 in 0…n−1, or −1 where the rounded age is no label.
    """
    years = whole_years(age)
    sorted_labels = labels.double()
    index = torch.searchsorted(sorted_labels, years).clamp(max=len(labels) - 1)
    return torch.where(sorted_labels[index] == years, index, UNKNOWN)


def class_targets(age: Tensor, labels: Tensor) -> Tensor:
    """`positions` [b] for losses that cannot do without a class. On a GPU this waits for the device.

    Raises:
        ValueError: if a rounded age is no label; it names the first such age.
    """
    target = positions(age, labels)
    unknown = target == UNKNOWN
    if bool(unknown.any()):
        raise ValueError(
            f"age {float(age[unknown][0]):g} is not among the {len(labels)} age labels "
            f"from {float(labels[0]):g} to {float(labels[-1]):g}, and this age head trains on labels only"
        )
    return target


def labels_at(labels: Tensor, index: Tensor, probability: Tensor) -> Tensor:
    """labels[index] [b], NaN where a probability [b, k] is NaN, which no comparison would show."""
    return labels[index].masked_fill(probability.isnan().any(1), torch.nan)


class AgeHead(nn.Module, ABC):
    """Features to raw outputs, which only the head itself can read: as a loss or as an age.

    A head with `trains_on_labels` has no loss for an age that is not among the labels.
    """

    trains_on_labels = False

    @property
    def spread_names(self) -> tuple[str, ...]:
        """What `spread` gives: `sd`, or quantiles by their level, such as q05; empty for most heads."""
        return ()

    def spread(self, outputs: Tensor) -> Tensor:
        """Raw outputs of b faces → [b, len(spread_names)] years: how sure the head is."""
        return outputs.new_empty((len(outputs), 0))

    @abstractmethod
    def decode(self, outputs: Tensor) -> Tensor:
        """Raw outputs → estimated age [b] in years, in at least float32."""

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Absolute error per sample, [b] years (equation 2 before its mean). age: [b] years."""
        estimate = self.decode(outputs)
        return (estimate - age.to(estimate.dtype)).abs()

    def diagnostics(self) -> dict[str, float]:
        """Numbers worth logging once per epoch."""
        return {}


class StandardisedHead(AgeHead):
    """A linear layer whose outputs are in standard deviations from the training ages' mean.

    Mean and standard deviation are buffers: they live in the checkpoint.
    """

    def __init__(self, name: str, in_features: int, width: int, age_mean: float, age_std: float) -> None:
        """Raises ValueError, naming the head, if `age_std` (years) is not positive."""
        super().__init__()
        if not age_std > 0:
            raise ValueError(f"{name} needs training ages that differ. Received: age_std={age_std}")
        self.linear = nn.Linear(in_features, width)
        self.register_buffer("age_mean", torch.tensor(float(age_mean)))
        self.register_buffer("age_std", torch.tensor(float(age_std)))
        self.age_mean: Tensor
        self.age_std: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → [b, width] in standard deviations."""
        return exact_linear(self.linear, features)

    def years(self, outputs: Tensor) -> Tensor:
        """Values in standard deviations from the mean, of any shape → years."""
        return at_least_float32(outputs) * self.age_std + self.age_mean
