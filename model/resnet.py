"""Residual networks (He et al., 2016) for ImageNet, up to their last stage.

Names are those of the common checkpoints (conv1, layer1.0.conv1, …), strides those of the version that has
them in the 3×3 convolutions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from model.backbone_base import Backbone, BackboneSettings


class Block(nn.Module):
    """Two 3×3 convolutions, the first with the stride, around a shortcut (ResNet-18 and 34)."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _downsample(inputs, width, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """[b, inputs, h, w] → [b, width, ⌈h/stride⌉, ⌈w/stride⌉]."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        inner = self.bn1(self.conv1(inputs)).relu()
        summed: Tensor = self.bn2(self.conv2(inner)) + shortcut
        return summed.relu()


class Bottleneck(nn.Module):
    """1×1, 3×3 with the stride and 1×1 convolutions around a shortcut (ResNet-50)."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _downsample(inputs, 4 * width, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """[b, inputs, h, w] → [b, 4·width, ⌈h/stride⌉, ⌈w/stride⌉]."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        inner = self.bn1(self.conv1(inputs)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        summed: Tensor = self.bn3(self.conv3(inner)) + shortcut
        return summed.relu()


def _downsample(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(Backbone):
    """Stem with a quarter of the resolution and four stages; the classifier of a checkpoint is dropped."""

    block: ClassVar[type[Block | Bottleneck]]
    units: ClassVar[Sequence[int]]  # per stage

    def __init__(self, config: BackboneSettings) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, width = self._stage(64, 64, self.units[0], stride=1)
        self.layer2, width = self._stage(width, 128, self.units[1], stride=2)
        self.layer3, width = self._stage(width, 256, self.units[2], stride=2)
        self.layer4, self.channels = self._stage(width, 512, self.units[3], stride=2)

    def _stage(self, inputs: int, width: int, units: int, stride: int) -> tuple[nn.Sequential, int]:
        """Units of one width, and the channels they give; the first has the stride."""
        outputs = width * self.block.expansion
        first = self.block(inputs, width, stride)
        return nn.Sequential(first, *(self.block(outputs, width, 1) for _ in range(units - 1))), outputs

    def forward(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1] → [b, channels, ⌈h/32⌉, ⌈w/32⌉]."""
        stem = self.maxpool(self.bn1(self.conv1(self.normalise(images))).relu())
        features: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(stem))))
        return features

    def rename(self, state: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint without its classifier."""
        return {key: value for key, value in state.items() if not key.startswith("fc.")}


class ResNet18(ResNet):
    """11,176,512 parameters."""

    class Config(BackboneSettings):
        name: Literal["resnet18"] = "resnet18"

        def build(self) -> ResNet18:
            return ResNet18(self)

    block, units = Block, (2, 2, 2, 2)


class ResNet34(ResNet):
    """21,284,672 parameters: the trunk of CORAL's published experiments."""

    class Config(BackboneSettings):
        name: Literal["resnet34"] = "resnet34"

        def build(self) -> ResNet34:
            return ResNet34(self)

    block, units = Block, (3, 4, 6, 3)


class ResNet50(ResNet):
    """23,508,032 parameters."""

    class Config(BackboneSettings):
        name: Literal["resnet50"] = "resnet50"

        def build(self) -> ResNet50:
            return ResNet50(self)

    block, units = Bottleneck, (3, 4, 6, 3)
