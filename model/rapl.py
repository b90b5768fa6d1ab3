"""Relative age position learning (section III-D): which place an age takes among the labels.

The literal form gates the features of every sample by every label (equations 4–6, a [b, c, n] tensor) and
sums over the labels. As that sum is linear, Σ_k v_k·x[b,c]·w[c,k] + β = x[b,c]·s[c] + β with s[c] = Σ_k
v_k·σ(r[c,k]·p_k): exactly the same numbers and gradients for c·n + b·c operations and without the large
tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from model.heads import known_cross_entropy
from model.precision import exact_linear
from model.settings import Settings


class PositionHead(nn.Module, ABC):
    """Features [b, c] to logits [b, n] over the label positions."""

    needs_references: ClassVar[bool] = False

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether the logits mean something: true unless references are needed and none were set."""

    def loss(self, logits: Tensor, position: Tensor) -> Tensor:
        """Cross-entropy per sample [b] (equation 7 before its mean), 0 where position [b] is −1."""
        return known_cross_entropy(logits, position)

    def diagnostics(self) -> dict[str, float]:
        """Numbers worth logging once per epoch."""
        return {}


class NoPosition(Settings):
    """No position task."""

    name: Literal["none"] = "none"

    def build(self, in_features: int, labels: int) -> None:
        return None


class AuxCe(PositionHead):
    """A plain linear classifier over the positions: the control that uses no references."""

    class Config(Settings):
        name: Literal["aux_ce"] = "aux_ce"

        def build(self, in_features: int, labels: int) -> AuxCe:
            return AuxCe(in_features, labels)

    ready = True

    def __init__(self, in_features: int, labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, labels)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n]."""
        return exact_linear(self.linear, features)


class Rapl(PositionHead):
    """Features reweighted by the reference features of every age, then classified (equations 4–7)."""

    class Config(Settings):
        name: Literal["rapl"] = "rapl"
        p_init: Literal["ones", "zeros", "normal"] = Field(
            default="ones", description="initial P; the published code leaves it undefined; normal is N(0, 1)"
        )
        v_init: Literal["torch_default", "mean"] = Field(
            default="torch_default",
            description="initial weights over ages: torch_default (published) draws the gain's sign and size "
            "from the seed; mean is 1/n with bias 0",
        )

        def build(self, in_features: int, labels: int) -> Rapl:
            return Rapl(self, in_features, labels)

    needs_references = True

    def __init__(self, config: Config, in_features: int, labels: int) -> None:
        super().__init__()
        initial = {"ones": torch.ones, "zeros": torch.zeros, "normal": torch.randn}[config.p_init]
        self.P = nn.Parameter(initial(labels))
        self.fc_feature = nn.Linear(labels, 1)
        self.fc_pos = nn.Linear(in_features, labels)
        if config.v_init == "mean":
            nn.init.constant_(self.fc_feature.weight, 1 / labels)
            nn.init.zeros_(self.fc_feature.bias)
        self.register_buffer("R", torch.zeros(labels, in_features))
        self.register_buffer("has_references", torch.tensor(False))
        self.R: Tensor
        self.has_references: Tensor

    @property
    def ready(self) -> bool:
        """Whether references were ever set."""
        return bool(self.has_references)

    def set_references(self, references: Tensor) -> None:
        """Use references [n, c] from now on; no gradient reaches them.

        Raises:
            ValueError: if the shape is another or a value is not finite.
        """
        if references.shape != self.R.shape:
            raise ValueError(f"references must be {list(self.R.shape)}. Received: {list(references.shape)}")
        if not bool(references.isfinite().all()):
            raise ValueError("references must be finite. Received: NaN or infinity")
        self.R.copy_(references.detach())
        self.has_references.fill_(True)

    def gain(self) -> Tensor:
        """s [c]: what the gate multiplies each feature channel with; the same for every sample."""
        with torch.autocast(self.R.device.type, enabled=False):
            weights = torch.sigmoid(self.R * self.P.unsqueeze(1))
            return (self.fc_feature.weight @ weights).squeeze(0)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → logits [b, n]."""
        gain = self.gain()
        return exact_linear(self.fc_pos, features.to(gain.dtype) * gain + self.fc_feature.bias)

    @torch.no_grad()
    def diagnostics(self) -> dict[str, float]:
        """Over channels: `gain_mean_abs`, mean |s|, and `gain_std`, population standard deviation of s."""
        gain = self.gain()
        return {"gain_mean_abs": float(gain.abs().mean()), "gain_std": float(gain.std(correction=0))}


PositionHeadConfig = Annotated[NoPosition | AuxCe.Config | Rapl.Config, Field(discriminator="name")]
