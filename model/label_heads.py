"""Age heads with one logit per age label, trained by cross-entropy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.head_base import AgeHead, class_targets, labels_at
from model.precision import at_least_float32, exact_linear
from model.settings import Settings

Decoding = Literal["expectation", "median", "argmax"]


class LabelHead(AgeHead):
    """Logits over the age labels and the three ways to read their softmax as an age."""

    def __init__(self, in_features: int, labels: Tensor, decoding: Decoding) -> None:
        super().__init__()
        self.decoding = decoding
        self.linear = nn.Linear(in_features, len(labels))
        self.register_buffer("labels", labels.to(self.linear.weight.dtype, copy=True))
        self.labels: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n]."""
        return exact_linear(self.linear, features)

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: logits [b, n] → the softmax's expectation, its median or its likeliest label, [b] years.

        The median is the first label up to which at least half of the probability lies: of all labels the one
        with the least expected absolute error.
        """
        probability = at_least_float32(outputs).softmax(1)
        if self.decoding == "expectation":
            return self.expectation(probability)
        likeliest = self.decoding == "argmax"
        index = probability.argmax(1) if likeliest else (probability.cumsum(1) < 0.5).sum(1)
        return labels_at(self.labels.to(probability.dtype), index, probability)

    def expectation(self, probability: Tensor) -> Tensor:
        """probability [b, n] → [b] years; a product and a sum, since autocast would cast a matrix product."""
        return (probability * self.labels).sum(1)

    def variance(self, probability: Tensor, mean: Tensor) -> Tensor:
        """probability [b, n], its expectation [b] in years → [b] square years, around the mean: never < 0."""
        return (probability * (self.labels - mean.unsqueeze(1)).square()).sum(1)

    def cross_entropy(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Cross-entropy [b] of logits [b, n] with the label of each age [b], rounded half up.

        Raises:
            ValueError: if a rounded age is no label.
        """
        target = class_targets(age, self.labels)
        return functional.cross_entropy(at_least_float32(outputs), target, reduction="none")


class CrossEntropy(LabelHead):
    """Classification by age label; the baseline of Paplham and Franc 2024, who decode by the median.

    The median minimises the expected absolute error under the posterior.
    """

    trains_on_labels = True

    class Config(Settings):
        name: Literal["ce"] = "ce"
        decode: Decoding = Field(default="median", description="how the softmax is read as an age")

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> CrossEntropy:
            return CrossEntropy(in_features, labels, self.decode)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Cross-entropy per sample [b]; ValueError if a rounded age is no label."""
        return self.cross_entropy(outputs, age)


class Dex(CrossEntropy):
    """Deep expectation (Rothe et al. 2015): cross-entropy, read by the expectation."""

    class Config(Settings):
        name: Literal["dex"] = "dex"
        decode: Decoding = Field(default="expectation", description="how the softmax is read as an age")

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Dex:
            return Dex(in_features, labels, self.decode)


class MeanVariance(LabelHead):
    """Mean-variance loss (Pan et al. 2018): cross-entropy plus penalties on the softmax's mean and spread."""

    trains_on_labels = True

    class Config(Settings):
        name: Literal["mean_variance"] = "mean_variance"
        decode: Decoding = Field(default="expectation", description="how the softmax is read as an age")
        mean_weight: float = Field(
            default=0.2,
            ge=0,
            le=100,
            description="λ₁ of half the squared error of the expectation (published)",
        )
        variance_weight: float = Field(
            default=0.05, ge=0, le=100, description="λ₂ of the variance in square years (published)"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> MeanVariance:
            return MeanVariance(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(in_features, labels, config.decode)
        self.config = config

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """CE + λ₁·(mean − age)²/2 + λ₂·variance, [b]; ValueError if a rounded age is no label."""
        cross_entropy = self.cross_entropy(outputs, age)
        probability = at_least_float32(outputs).softmax(1)
        mean = self.expectation(probability)
        mean_loss = (mean - age.to(mean.dtype)).square() / 2
        variance = self.variance(probability, mean)
        return cross_entropy + self.config.mean_weight * mean_loss + self.config.variance_weight * variance
