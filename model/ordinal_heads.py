"""Age heads with one logit per threshold between age labels: is the face older than label k?"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.head_base import AgeHead, class_targets, labels_at
from model.precision import at_least_float32, exact_linear
from model.settings import Settings

Decoding = Literal["count", "expectation"]


class OrdinalHead(AgeHead):
    """n labels, n − 1 thresholds; threshold k asks whether the age is above label k."""

    trains_on_labels = True

    def __init__(self, name: str, labels: Tensor, decoding: Decoding) -> None:
        """Raises ValueError, naming the head, if there are fewer than two labels."""
        super().__init__()
        if len(labels) < 2:
            raise ValueError(f"{name} needs at least two age labels. Received: {labels.tolist()}")
        self.decoding = decoding
        self.register_buffer("labels", labels.to(torch.get_default_dtype(), copy=True))
        self.labels: Tensor

    def survival(self, outputs: Tensor) -> Tensor:
        """Logits [b, n − 1] → P(age > label k) [b, n − 1]."""
        return at_least_float32(outputs).sigmoid()

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: logits [b, n − 1] → [b] years.

        `count` is the label at the number of thresholds above one half (the median where the probabilities
        fall with k); `expectation` adds to the first label each step in years times its probability.
        """
        survival = self.survival(outputs)
        labels = self.labels.to(survival.dtype)
        if self.decoding == "count":
            return labels_at(labels, (survival > 0.5).sum(1), survival)
        return labels[0] + (survival * labels.diff()).sum(1)

    def levels(self, age: Tensor) -> Tensor:
        """[b, n − 1] bool: whether the rounded age is above label k; ValueError if it is no label."""
        target = class_targets(age, self.labels)
        return target.unsqueeze(1) > torch.arange(len(self.labels) - 1, device=target.device)


def threshold_losses(outputs: Tensor, levels: Tensor) -> Tensor:
    """Binary cross-entropy per threshold: logits and levels (bool), each [b, n − 1], to [b, n − 1]."""
    logits = at_least_float32(outputs)
    return functional.binary_cross_entropy_with_logits(logits, levels.to(logits.dtype), reduction="none")


class OrCnn(OrdinalHead):
    """Ordinal regression with independent thresholds (Niu et al. 2016)."""

    class Config(Settings):
        name: Literal["or_cnn"] = "or_cnn"
        decode: Decoding = Field(default="count", description="how the thresholds are read as an age")
        task_weights: Literal["sqrt_share", "uniform"] = Field(
            default="sqrt_share",
            description="sqrt_share (published) weighs threshold k by the square root of label k's share of "
            "the training part, scaled to a mean of 1; uniform weighs all alike",
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> OrCnn:
            return OrCnn(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(config.name, labels, config.decode)
        self.by_share = config.task_weights == "sqrt_share"
        self.linear = nn.Linear(in_features, len(labels) - 1)
        self.register_buffer("threshold_weight", torch.ones_like(self.linear.bias))
        self.threshold_weight: Tensor

    def set_label_counts(self, counts: Tensor) -> None:
        """Weigh the thresholds by the faces per label [n]; all alike where only the last label has any."""
        if self.by_share and bool(counts[:-1].any()):
            weight = counts[:-1].to(self.threshold_weight).sqrt()
            self.threshold_weight.copy_(weight / weight.mean())

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n − 1]."""
        return exact_linear(self.linear, features)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Weighted sum of the thresholds' cross-entropies, [b]; ValueError if a rounded age is no label."""
        return (threshold_losses(outputs, self.levels(age)) * self.threshold_weight).sum(1)


class Coral(OrdinalHead):
    """Consistent rank logits (Cao et al. 2020): one weight vector, a bias per threshold.

    Probabilities fall with k, that is, ranks are consistent, only while the biases do not increase. They
    begin descending from 1 to 1/(n − 1), as in the authors' package.
    """

    class Config(Settings):
        name: Literal["coral"] = "coral"
        decode: Decoding = Field(default="count", description="how the thresholds are read as an age")

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Coral:
            return Coral(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(config.name, labels, config.decode)
        thresholds = len(labels) - 1
        self.linear = nn.Linear(in_features, 1, bias=False)
        self.bias = nn.Parameter(torch.arange(thresholds, 0, -1, dtype=self.linear.weight.dtype) / thresholds)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n − 1]."""
        return exact_linear(self.linear, features) + self.bias

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Sum of the thresholds' cross-entropies per sample [b]; ValueError if a rounded age is no label."""
        return threshold_losses(outputs, self.levels(age)).sum(1)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """`rank_violations`: neighbouring thresholds whose bias rises, so that their probabilities cross."""
        return {"rank_violations": float((self.bias.diff() > 0).sum())}
