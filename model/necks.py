"""Layers between the pooled features and the heads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from model.settings import Settings


class NoNeck(nn.Module):
    """Features as they are (the paper)."""

    class Config(Settings):
        name: Literal["none"] = "none"

        def build(self, in_features: int) -> NoNeck:
            return NoNeck(in_features)

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, c] → the same."""
        return features


class Mlp(nn.Module):
    """`depth` layers of Linear → norm → PReLU → dropout."""

    class Config(Settings):
        name: Literal["mlp"] = "mlp"
        width: int = Field(default=256, ge=1, le=8192, description="features of every layer")
        depth: int = Field(default=1, ge=1, le=8, description="number of layers")
        dropout: float = Field(
            default=0.0, ge=0.0, lt=1.0, description="share of features set to 0 in training"
        )
        norm: Literal["none", "batch", "layer"] = Field(default="none", description="normalisation per layer")

        def build(self, in_features: int) -> Mlp:
            return Mlp(self, in_features)

    def __init__(self, config: Config, in_features: int) -> None:
        super().__init__()
        self.out_features = config.width
        layers: list[nn.Module] = []
        for inputs in [in_features] + [config.width] * (config.depth - 1):
            layers += [nn.Linear(inputs, config.width), *_norm(config), nn.PReLU(config.width)]
            layers += [nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """features: [b, in_features] → [b, width]."""
        outputs: Tensor = self.layers(features)
        return outputs


def _norm(config: Mlp.Config) -> list[nn.Module]:
    if config.norm == "batch":
        return [nn.BatchNorm1d(config.width)]
    return [nn.LayerNorm(config.width)] if config.norm == "layer" else []


NeckConfig = Annotated[NoNeck.Config | Mlp.Config, Field(discriminator="name")]
