"""MobileFaceNet (Chen et al., 2018) up to its last pointwise layer, named as in foamliu/MobileFaceNet."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from model.backbone_base import Backbone, BackboneSettings

# (expansion, channels, units, stride of the first unit)
STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
EMBEDDING_LAYERS = ("gdconv.", "conv3.", "bn.")


class MobileFaceNet(Backbone):
    """Face-recognition trunk: the 512-channel map that the global depthwise layer would read."""

    class Config(BackboneSettings):
        name: Literal["mobilefacenet"] = "mobilefacenet"

        def build(self) -> MobileFaceNet:
            return MobileFaceNet(self)

    channels = 512

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.conv1 = _conv_bn_relu6(3, 64, kernel=3, stride=2)
        self.dw_conv = Separable(64)
        self.features = nn.Sequential(*_bottlenecks(64))
        self.conv2 = _conv_bn_relu6(128, self.channels, kernel=1)

    def forward(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1] → [b, 512, ⌈h/16⌉, ⌈w/16⌉] (7 × 7 at 112)."""
        stem = self.dw_conv(self.conv1(self.normalise(images)))
        features: Tensor = self.conv2(self.features(stem))
        return features

    def rename(self, state: dict[str, Any]) -> dict[str, Any]:
        """The checkpoint without the layers that turn the map into a face embedding."""
        return {key: value for key, value in state.items() if not key.startswith(EMBEDDING_LAYERS)}


class Separable(nn.Module):
    """Depthwise 3×3 and pointwise layer, each with batch norm and plain ReLU (the bottlenecks have ReLU6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, inputs: Tensor) -> Tensor:
        """[b, channels, h, w] → the same shape."""
        spatial = self.bn1(self.depthwise(inputs)).relu()
        mixed: Tensor = self.bn2(self.pointwise(spatial)).relu()
        return mixed


class Bottleneck(nn.Module):
    """Inverted residual with a linear output (MobileNetV2), added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            _conv_bn_relu6(inputs, hidden, kernel=1),
            _conv_bn_relu6(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """[b, inputs, h, w] → [b, outputs, ⌈h/stride⌉, ⌈w/stride⌉]."""
        outputs: Tensor = self.conv(inputs)
        return inputs + outputs if self.residual else outputs


def _bottlenecks(inputs: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for expansion, outputs, units, stride in STAGES:
        for unit in range(units):
            layers.append(Bottleneck(inputs, outputs, stride if unit == 0 else 1, expansion))
            inputs = outputs
    return layers


def _conv_bn_relu6(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = (kernel - 1) // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))
