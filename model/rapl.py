"""Relative age position learning (section III-D): which place an age takes among the labels.

The literal form gates the features of every sample by every label (equations 4–6, a [b, c, n] tensor) and
sums over the labels. As that sum is linear, Σ_k v_k·x[b,c]·w[c,k] + β = x[b,c]·s[c] + β with s[c] = Σ_k
v_k·σ(r[c,k]·p_k): exactly the same numbers and gradients for c·n + b·c operations and without the large
tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from model.heads import known_cross_entropy
from model.precision import at_least_float32, exact_linear
from model.settings import Settings


class PositionSettings(Settings):
    """Options of every position head."""

    target_sigma: float = Field(
        default=0.0,
        ge=0,
        le=20,
        description="years; 0 is the paper's one-hot target, more spreads it over near ages as a Gaussian",
    )


class PositionHead(nn.Module, ABC):
    """Features [b, c] to logits [b, n] over the label positions."""

    def __init__(self, labels: Tensor, target_sigma: float) -> None:
        super().__init__()
        self.register_buffer("targets", smoothed_targets(labels, target_sigma), persistent=False)
        self.targets: Tensor | None

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the logits mean something: true unless references are needed and none were set."""

    @abstractmethod
    def forward(self, features: Tensor, own: Tensor | None = None) -> Tensor:
        """features: [b, c] → logits [b, n]; own: [b] label whose reference the sample itself is, else −1."""

    def loss(self, logits: Tensor, position: Tensor) -> Tensor:
        """Cross-entropy per sample [b] (equation 7 before its mean), 0 where position [b] is −1."""
        if self.targets is None:
            return known_cross_entropy(logits, position)
        target = self.targets[position.clamp(min=0)]
        losses = -(target * at_least_float32(logits).log_softmax(1)).sum(1)
        return torch.where(position >= 0, losses, 0.0)

    def diagnostics(self) -> dict[str, float]:
        """Numbers worth logging once per epoch."""
        return {}


def smoothed_targets(labels: Tensor, sigma: float) -> Tensor | None:
    """[n, n] row k: target of position k, a Gaussian of `sigma` years over the labels; None: one-hot."""
    if sigma == 0:
        return None
    distance = (labels.unsqueeze(1) - labels) / sigma
    return torch.softmax(-0.5 * distance**2, dim=1)


class NoPosition(Settings):
    """No position task."""

    name: Literal["none"] = "none"

    def build(self, in_features: int, labels: Tensor) -> None:
        return None


class AuxCe(PositionHead):
    """A plain linear classifier over the positions: the control that uses no references."""

    class Config(PositionSettings):
        name: Literal["aux_ce"] = "aux_ce"

        def build(self, in_features: int, labels: Tensor) -> AuxCe:
            return AuxCe(self, in_features, labels)

    ready = True

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(labels, config.target_sigma)
        self.linear = nn.Linear(in_features, len(labels))

    def forward(self, features: Tensor, own: Tensor | None = None) -> Tensor:
        """features: [b, c] → logits [b, n]; there are no references that could be the sample's own."""
        return exact_linear(self.linear, features)


class Rapl(PositionHead):
    """Features reweighted by the reference features of every age, then classified (equations 4–7)."""

    class Config(PositionSettings):
        name: Literal["rapl"] = "rapl"
        p_init: Literal["ones", "zeros", "normal"] = Field(
            default="ones", description="initial P; the published code leaves it undefined; normal is N(0, 1)"
        )
        v_init: Literal["torch_default", "mean"] = Field(
            default="torch_default",
            description="initial weights over ages: torch_default (published) draws the gain's sign and size "
            "from the seed; mean is 1/n with bias 0",
        )

        def build(self, in_features: int, labels: Tensor) -> Rapl:
            return Rapl(self, in_features, labels)

    def __init__(self, config: Config, in_features: int, labels: Tensor) -> None:
        super().__init__(labels, config.target_sigma)
        n = len(labels)
        initial = {"ones": torch.ones, "zeros": torch.zeros, "normal": torch.randn}[config.p_init]
        self.P = nn.Parameter(initial(n))
        self.fc_feature = nn.Linear(n, 1)
        self.fc_pos = nn.Linear(in_features, n)
        if config.v_init == "mean":
            nn.init.constant_(self.fc_feature.weight, 1 / n)
            nn.init.zeros_(self.fc_feature.bias)
        self.register_buffer("R", torch.zeros(n, in_features))
        self.register_buffer("has_references", torch.tensor(False))
        # What a sample meets at its own age when it is that age's reference; equal to R otherwise.
        self.register_buffer("runner_up", torch.zeros(n, in_features), persistent=False)
        self.R: Tensor
        self.has_references: Tensor
        self.runner_up: Tensor

    @property
    def ready(self) -> bool:
        """Whether references were ever set."""
        return bool(self.has_references)

    def set_references(self, references: Tensor, runner_up: Tensor | None = None) -> None:
        """Use references [n, c] from now on; no gradient reaches them.

        Args:
            references: one row per label.
            runner_up: [n, c] that stand in for a sample that is its own age's reference; default references.

        Raises:
            ValueError: if the shape is another or a value is not finite.
        """
        for given in (references, references if runner_up is None else runner_up):
            if given.shape != self.R.shape:
                raise ValueError(f"references must be {list(self.R.shape)}. Received: {list(given.shape)}")
            if not bool(given.isfinite().all()):
                raise ValueError("references must be finite. Received: NaN or infinity")
        self.R.copy_(references.detach())
        self.runner_up.copy_((references if runner_up is None else runner_up).detach())
        self.has_references.fill_(True)

    def gain(self, references: Tensor | None = None) -> Tensor:
        """s [c]: what the gate multiplies each feature channel with; the same for every sample.

        `references` [n, c] stand in for R, to see what another choice would do.
        """
        with torch.autocast(self.R.device.type, enabled=False):
            used = self.R if references is None else references
            weights = torch.sigmoid(used * self.P.unsqueeze(1))
            return (self.fc_feature.weight @ weights).squeeze(0)

    def forward(self, features: Tensor, own: Tensor | None = None) -> Tensor:
        """features: [b, c] → logits [b, n]; own: [b] label whose reference the sample itself is, else −1."""
        gain = self.gain()
        return self._logits(features, gain if own is None else gain + self._correction(own))

    def logits_with(self, features: Tensor, references: Tensor) -> Tensor:
        """Logits [b, n] as if `references` [n, c] had been set."""
        return self._logits(features, self.gain(references))

    def _logits(self, features: Tensor, gain: Tensor) -> Tensor:
        """gain: [c], or [b, c] where samples differ."""
        return exact_linear(self.fc_pos, features.to(gain.dtype) * gain + self.fc_feature.bias)

    def _correction(self, own: Tensor) -> Tensor:
        """[b, c]: the runner-up's term in place of the own one, for the few samples that are references."""
        with torch.autocast(self.R.device.type, enabled=False):
            label = own.clamp(min=0)
            p = self.P[label].unsqueeze(1)
            change = torch.sigmoid(self.runner_up[label] * p) - torch.sigmoid(self.R[label] * p)
            share = self.fc_feature.weight[0, label] * (own >= 0)
            return change * share.unsqueeze(1)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Over channels: `gain_mean_abs`, mean |s|, and `gain_std`, population standard deviation of s."""
        gain = self.gain()
        return {"gain_mean_abs": float(gain.abs().mean()), "gain_std": float(gain.std(correction=0))}


PositionHeadConfig = Annotated[NoPosition | AuxCe.Config | Rapl.Config, Field(discriminator="name")]
