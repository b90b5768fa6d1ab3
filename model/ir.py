"""Improved residual units: the IR face trunks without their last stage, and a small relative for CPUs.

IR-50 is that of face.evoLVe's IR-50 as cut by POSTER++ (Mao et al., 2023) and used by the paper (section
III-A).
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from model.backbone_base import Backbone, BackboneSettings, Triple

IR_SIZE = 112  # pixels; the size that the public weights were trained with
HALF: Triple = (0.5, 0.5, 0.5)


class Unit(nn.Module):
    """BN, 3×3, PReLU, 3×3 with the stride, BN; added to the subsampled or projected input, no activation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut_layer = _shortcut(inputs, outputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """[b, inputs, h, w] → [b, outputs, ⌈h/stride⌉, ⌈w/stride⌉]."""
        summed: Tensor = self.res_layer(inputs) + self.shortcut_layer(inputs)
        return summed


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if inputs != outputs:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.MaxPool2d(1, stride) if stride > 1 else nn.Identity()


def _stem(outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.PReLU(outputs)
    )


def _stage(inputs: int, outputs: int, units: int) -> nn.Sequential:
    """Units of one width; the first halves height and width."""
    first = Unit(inputs, outputs, 2)
    return nn.Sequential(first, *(Unit(outputs, outputs, 1) for _ in range(units - 1)))


class IRConfig(BackboneSettings):
    """Input conventions of face.evoLVe's trunks; a checkpoint trained otherwise brings its own."""

    mean: Triple = Field(
        default=HALF,
        description="belongs to the checkpoint: 0.5 for face.evoLVe's, ImageNet's for the paper's",
    )
    std: Triple = Field(
        default=HALF,
        description="belongs to the checkpoint: 0.5 for face.evoLVe's, ImageNet's for the paper's",
    )


class IRTrunk(Backbone):
    """A stem and the first three of the four stages of an improved residual network for faces."""

    channels = 256
    units: ClassVar[tuple[int, int, int]]  # per stage
    last_stage: ClassVar[int]  # units of the stage that is cut off

    def __init__(self, config: IRConfig) -> None:
        super().__init__(config)
        self.input_layer = _stem(64, stride=1)
        self.body1 = _stage(64, 64, self.units[0])
        self.body2 = _stage(64, 128, self.units[1])
        self.body3 = _stage(128, 256, self.units[2])

    def forward(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1], resized to 112 × 112 (nearest) → [b, 256, 14, 14]."""
        if images.shape[-2:] != (IR_SIZE, IR_SIZE):
            images = functional.interpolate(images, size=(IR_SIZE, IR_SIZE), mode="nearest")
        stem = self.input_layer(self.normalise(images))
        features: Tensor = self.body3(self.body2(self.body1(stem)))
        return features

    def rename(self, state: dict[str, Any]) -> dict[str, Any]:
        """face.evoLVe's `body.0, 1, …` as `body1…3`, without last stage and either file's `output_layer`."""
        renamed = {
            self._renamed(key): value for key, value in state.items() if not key.startswith("output_layer.")
        }
        renamed.pop("", None)
        return renamed

    def _renamed(self, key: str) -> str:
        """This module's name of a face.evoLVe key; "" for the last stage, any other key unchanged."""
        found = re.fullmatch(r"body\.(\d+)\.(.+)", key)
        if found is None:
            return key
        unit, rest = int(found[1]), found[2]
        for stage, units in enumerate(self.units, start=1):
            if unit < units:
                return f"body{stage}.{unit}.{rest}"
            unit -= units
        return "" if unit < self.last_stage else key


class IR18(IRTrunk):
    """IR-18 up to its third stage: 2,775,680 parameters."""

    class Config(IRConfig):
        name: Literal["ir18"] = "ir18"

        def build(self) -> IR18:
            return IR18(self)

    units, last_stage = (2, 2, 2), 2


class IR34(IRTrunk):
    """IR-34 up to its third stage: 8,164,544 parameters."""

    class Config(IRConfig):
        name: Literal["ir34"] = "ir34"

        def build(self) -> IR34:
            return IR34(self)

    units, last_stage = (3, 4, 6), 3


class IR50(IRTrunk):
    """IR-50 up to its third stage: 17,611,968 parameters, 292 state entries, 5.47 GMACs at 112 × 112."""

    class Config(IRConfig):
        name: Literal["ir50"] = "ir50"

        def build(self) -> IR50:
            return IR50(self)

    units, last_stage = (3, 4, 14), 3


class SmallIR(Backbone):
    """The same units in three narrow stages after a strided stem, for CPUs and images from 16 pixels on."""

    class Config(BackboneSettings):
        name: Literal["small_ir"] = "small_ir"
        mean: Triple = Field(
            default=HALF, description="subtracted per channel, in [0, 1], in the order of `colour`"
        )
        std: Triple = Field(default=HALF, description="divides per channel, > 0, in the order of `colour`")
        # With 4 channels oneDNN's backward pass corrupts the heap on one thread (docs/log.md).
        width: int = Field(
            default=16,
            ge=8,
            le=128,
            description="channels of the first stage; the last has four times as many",
        )
        depth: int = Field(default=1, ge=1, le=3, description="units per stage")

        def build(self) -> SmallIR:
            return SmallIR(self)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        width = config.width
        self.channels = 4 * width
        self.input_layer = _stem(width, stride=2)
        self.body1 = _stage(width, width, config.depth)
        self.body2 = _stage(width, 2 * width, config.depth)
        self.body3 = _stage(2 * width, 4 * width, config.depth)
        # Measured 1.2 times as fast as the default layout on a CPU at these widths.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1] → [b, 4·width, ⌈h/16⌉, ⌈w/16⌉]."""
        images = self.normalise(images).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.body3(self.body2(self.body1(self.input_layer(images))))
        return features
