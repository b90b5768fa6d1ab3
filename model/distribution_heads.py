"""Age heads with one logit per age label, trained towards a distribution around the age.

Distances are in years, not in positions: labels may have gaps, and any age has a distribution. An age outside
the labels pulls to the labels nearest to it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from model.head_base import whole_years
from model.label_heads import Decoding, LabelHead
from model.precision import at_least_float32
from model.settings import Settings


class Dldl(LabelHead):
    """Deep label distribution learning (Gao et al. 2017): Kullback–Leibler divergence from a Gaussian."""

    class Config(Settings):
        name: Literal["dldl"] = "dldl"
        decode: Decoding = Field(default="expectation", description="how the softmax is read as an age")
        sigma: float = Field(
            default=2.0, ge=0.1, le=50, description="standard deviation of the target in years (published: 2)"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Dldl:
            return Dldl(in_features, labels, self.decode, self.sigma)

    def __init__(self, in_features: int, labels: Tensor, decoding: Decoding, sigma: float) -> None:
        super().__init__(in_features, labels, decoding)
        self.sigma = sigma

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """KL(Gaussian around the exact age, renormalised over the labels ‖ softmax) per sample [b]."""
        logits = at_least_float32(outputs)
        distance = (self.labels - age.to(logits.dtype).unsqueeze(1)) / self.sigma
        log_target = (-distance.square() / 2).log_softmax(1)
        return (log_target.exp() * (log_target - logits.log_softmax(1))).sum(1)


class DldlV2(Dldl):
    """DLDL-v2 (Gao et al. 2018): the divergence of `dldl` plus λ times the expectation's absolute error."""

    class Config(Settings):
        name: Literal["dldl_v2"] = "dldl_v2"
        decode: Decoding = Field(default="expectation", description="how the softmax is read as an age")
        sigma: float = Field(
            default=2.0, ge=0.1, le=50, description="standard deviation of the target in years (published: 2)"
        )
        l1_weight: float = Field(
            default=1.0, ge=0, le=100, description="λ of the expectation's absolute error (published: 1)"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> DldlV2:
            return DldlV2(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(in_features, labels, config.decode, config.sigma)
        self.l1_weight = config.l1_weight

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """KL + λ·|expectation − age| per sample [b]."""
        expected = self.expectation(at_least_float32(outputs).softmax(1))
        return super().loss(outputs, age) + self.l1_weight * (expected - age.to(expected.dtype)).abs()


class Sord(LabelHead):
    """Soft ordinal labels (Díaz and Marathe 2019): cross-entropy with the softmax of −|label − age|."""

    class Config(Settings):
        name: Literal["sord"] = "sord"
        decode: Decoding = Field(default="argmax", description="how the softmax is read as an age")

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Sord:
            return Sord(in_features, labels, self.decode)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Cross-entropy per sample [b] with the soft labels around the exact age."""
        logits = at_least_float32(outputs)
        target = (-(self.labels - age.to(logits.dtype).unsqueeze(1)).abs()).softmax(1)
        return -(target * logits.log_softmax(1)).sum(1)


class Unimodal(LabelHead):
    """Unimodal-concentrated loss (Li et al. 2022): a Gaussian likelihood of the softmax's own mean and
    variance, and a hinge on probabilities that do not rise up to the age and fall after it.

    The official code is not public; this follows the paper's formulas and Paplham and Franc's reading of
    them, except that the variance has a floor in square years in place of their 1e-10.
    """

    class Config(Settings):
        name: Literal["unimodal"] = "unimodal"
        decode: Decoding = Field(default="expectation", description="how the softmax is read as an age")
        hinge_weight: float = Field(
            default=1000.0, ge=0, le=1e5, description="λ of the unimodality hinge (published: 1000)"
        )
        variance_floor: float = Field(
            default=0.01, ge=1e-6, le=100, description="added to the variance, square years (not published)"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Unimodal:
            return Unimodal(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(in_features, labels, config.decode)
        self.config = config

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """log(variance)/2 + (mean − age)²/(2·variance) + λ·hinge per sample [b].

        The hinge sums, over neighbouring labels, how much the probability falls where both are at most the
        rounded age, or rises where both are at least that. A pair with the age in its gap is free.
        """
        probability = at_least_float32(outputs).softmax(1)
        mean = self.expectation(probability)
        variance = self.variance(probability, mean) + self.config.variance_floor
        concentrated = variance.log() / 2 + (mean - age.to(mean.dtype)).square() / (2 * variance)
        year = whole_years(age).unsqueeze(1)
        rises = probability[:, 1:] - probability[:, :-1]
        wrong_before = (-rises).relu() * (self.labels[1:] <= year)
        wrong_after = rises.relu() * (self.labels[:-1] >= year)
        return concentrated + self.config.hinge_weight * (wrong_before + wrong_after).sum(1)
