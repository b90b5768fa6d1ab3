"""Age heads whose logits are conditional: is a face that is older than label k − 1 older than label k?"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.ordinal_heads import Decoding, OrdinalHead, threshold_losses
from model.precision import at_least_float32, exact_linear
from model.settings import Settings

Init = Literal["uniform", "torch_default"]
INIT = (
    "uniform begins with every label about equally likely; torch_default (published) halves the probability "
    "at every threshold, so that all ages begin at the lowest labels"
)


class Corn(OrdinalHead):
    """Conditional thresholds (Shi et al. 2021): logit k is of P(age > label k | age > label k − 1).

    Their products fall with k whatever the parameters: ranks are always consistent.
    """

    class Config(Settings):
        name: Literal["corn"] = "corn"
        decode: Decoding = Field(default="count", description="how the thresholds are read as an age")
        init: Init = Field(default="uniform", description=INIT)

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Corn:
            return Corn(self.name, in_features, labels, self.decode, self.init)

    def __init__(self, name: str, in_features: int, labels: Tensor, decoding: Decoding, init: Init) -> None:
        super().__init__(name, labels, decoding)
        thresholds = len(labels) - 1
        self.linear = nn.Linear(in_features, thresholds)
        if init == "uniform":
            # P(above k | above k − 1) = r / (r + 1) with r labels above label k.
            with torch.no_grad():
                self.linear.bias.copy_(torch.arange(thresholds, 0, -1).log())

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → conditional logits [b, n − 1]."""
        return exact_linear(self.linear, features)

    def survival(self, outputs: Tensor) -> Tensor:
        """Conditional logits [b, n − 1] → P(age > label k) [b, n − 1]."""
        return super().survival(outputs).cumprod(1)

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """Sum of cross-entropies over the thresholds whose condition holds, per sample [b].

        The authors' package divides a batch's sum by its number of such terms, which no single sample knows;
        here, as for `coral`, the caller divides by the samples. ValueError if a rounded age is no label.
        """
        levels = self.levels(age)
        holds = functional.pad(levels[:, :-1], (1, 0), value=True)
        return (threshold_losses(outputs, levels) * holds).sum(1)


class Condor(Corn):
    """Conditional thresholds as a likelihood (Jenkinson et al. 2021): `nll` is −log P(label).

    That equals `corn` here, which differs from it by its batch-wide divisor only. `ordinal_cross_entropy` is
    the package's other loss: cross-entropy of the products themselves, over all thresholds.
    """

    class Config(Settings):
        name: Literal["condor"] = "condor"
        decode: Decoding = Field(default="count", description="how the thresholds are read as an age")
        init: Init = Field(default="uniform", description=INIT)
        loss: Literal["nll", "ordinal_cross_entropy"] = Field(
            default="nll", description="negative log-likelihood, or cross-entropy of the products"
        )

        def build(self, in_features: int, labels: Tensor, age_mean: float, age_std: float) -> Condor:
            return Condor(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(config.name, in_features, labels, config.decode, config.init)
        self.nll = config.loss == "nll"

    def loss(self, outputs: Tensor, age: Tensor) -> Tensor:
        """The chosen loss per sample [b]; ValueError if a rounded age is no label."""
        if self.nll:
            return super().loss(outputs, age)
        log_survival = functional.logsigmoid(at_least_float32(outputs)).cumsum(1)
        # The package's own guard, so that P = 1 has a finite logarithm of 1 − P.
        log_rest = (torch.finfo(torch.float32).eps - torch.expm1(log_survival)).log()
        return -torch.where(self.levels(age), log_survival, log_rest).sum(1)
