"""Age heads of the paper, the gender head, and the union of all age heads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.conditional_heads import Condor, Corn
from model.distribution_heads import Dldl, DldlV2, Sord, Unimodal
from model.head_base import UNKNOWN, AgeHead, StandardisedHead, positions
from model.interval_heads import Gaussian, Quantile
from model.label_heads import CrossEntropy, Dex, MeanVariance
from model.ordinal_heads import Coral, OrCnn
from model.precision import at_least_float32, exact_linear
from model.settings import Settings

__all__ = [
    "UNKNOWN",
    "AgeHead",
    "AgeHeadConfig",
    "Evr",
    "Fc",
    "FcNorm",
    "GenderHead",
    "OrCnn",
    "positions",
]


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


class FcNorm(StandardisedHead):
    """One linear output in standard deviations from the training ages' mean: it need not travel 40 years.

    The loss is the absolute error in years, as of the other heads: λ and μ keep their meaning when heads are
    swapped.
    """

    class Config(Settings):
        name: Literal["fc_norm"] = "fc_norm"

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> FcNorm:
            return FcNorm(self.name, in_features, 1, age_mean, age_std)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → [b] standard deviations from the mean."""
        return super().forward(features).squeeze(1)

    def decode(self, outputs: Tensor) -> Tensor:
        """outputs: [b] standard deviations → [b] years."""
        return self.years(outputs)


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


AgeHeadConfig = Annotated[
    Fc.Config
    | FcNorm.Config
    | Evr.Config
    | CrossEntropy.Config
    | Dex.Config
    | MeanVariance.Config
    | Dldl.Config
    | DldlV2.Config
    | Sord.Config
    | Unimodal.Config
    | OrCnn.Config
    | Coral.Config
    | Corn.Config
    | Condor.Config
    | Gaussian.Config
    | Quantile.Config,
    Field(discriminator="name"),
]
