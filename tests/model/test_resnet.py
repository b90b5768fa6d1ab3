"""ResNets: names and shapes of the common ImageNet checkpoints, and where the strides are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from model.resnet import Block, Bottleneck, ResNet18, ResNet34, ResNet50

# Published parameter counts less the classifier's (512 or 2048 features to 1000 classes, with bias).
SIZES = {
    ResNet18: 11_689_512 - 513 * 1000,
    ResNet34: 21_797_672 - 513 * 1000,
    ResNet50: 25_557_032 - 2049 * 1000,
}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    entries = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return entries | {f"{name}.num_batches_tracked": ()}


def basic_checkpoint(units: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of ResNet-18 or 34, as their files list them."""
    found: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for layer, (count, width) in enumerate(zip(units, (64, 128, 256, 512), strict=True), start=1):
        for unit in range(count):
            name = f"layer{layer}.{unit}"
            found[f"{name}.conv1.weight"] = (width, inputs, 3, 3)
            found[f"{name}.conv2.weight"] = (width, width, 3, 3)
            found |= norm(f"{name}.bn1", width) | norm(f"{name}.bn2", width)
            if layer > 1 and unit == 0:
                found[f"{name}.downsample.0.weight"] = (width, inputs, 1, 1)
                found |= norm(f"{name}.downsample.1", width)
            inputs = width
    return found


def bottleneck_checkpoint() -> dict[str, tuple[int, ...]]:
    """Names and shapes of ResNet-50, whose first stage projects its input too."""
    found: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for layer, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        for unit in range(count):
            name = f"layer{layer}.{unit}"
            shapes = ((width, inputs, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1))
            for conv, shape in enumerate(shapes, start=1):
                found[f"{name}.conv{conv}.weight"] = shape
                found |= norm(f"{name}.bn{conv}", shape[0])
            if unit == 0:
                found[f"{name}.downsample.0.weight"] = (4 * width, inputs, 1, 1)
                found |= norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    return found


@pytest.mark.parametrize("kind", SIZES, ids=lambda kind: kind.__name__)
def test_the_published_number_of_parameters(kind: Any) -> None:
    assert sum(parameter.numel() for parameter in kind.Config().build().parameters()) == SIZES[kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ResNet18, basic_checkpoint((2, 2, 2, 2))),
        (ResNet34, basic_checkpoint((3, 4, 6, 3))),
        (ResNet50, bottleneck_checkpoint()),
    ],
)
def test_names_and_shapes_are_the_common_checkpoints(kind: Any, expected: dict[str, Any]) -> None:
    state = kind.Config().build().state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == expected


def test_a_checkpoint_loads_without_its_classifier() -> None:
    source, target = ResNet18.Config().build(), ResNet18.Config().build()
    target.load_pretrained(
        source.state_dict() | {"fc.weight": torch.zeros(9, 512), "fc.bias": torch.zeros(9)}
    )
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_a_bottleneck_has_its_stride_in_the_3x3_convolution() -> None:
    unit = Bottleneck(256, 128, 2)
    assert [unit.conv1.stride, unit.conv2.stride, unit.conv3.stride] == [(1, 1), (2, 2), (1, 1)]


def test_a_block_adds_its_shortcut_before_the_last_activation() -> None:
    torch.manual_seed(0)
    unit = Block(4, 8, 2).double().eval()
    inputs = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    scale = 1 / (1 + 1e-5) ** 0.5  # an untrained norm in evaluation mode
    inner = functional.relu(functional.conv2d(inputs, unit.conv1.weight, stride=2, padding=1) * scale)
    inner = functional.conv2d(inner, unit.conv2.weight, padding=1) * scale
    assert unit.downsample is not None
    weight = unit.downsample[0].weight
    assert isinstance(weight, torch.Tensor)
    shortcut = functional.conv2d(inputs, weight, stride=2) * scale
    torch.testing.assert_close(unit(inputs), functional.relu(inner + shortcut))
