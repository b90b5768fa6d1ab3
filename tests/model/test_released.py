"""The authors' checkpoints as networks of ours, against a literal forward pass in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.errors import WeightsError
from model.ir import IR50
from model.released import LABELS, load_released

STAGES = {"body1": (3, 64), "body2": (4, 128), "body3": (14, 256)}
MEAN = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)


def released(ages: int = 100, gender: bool = True) -> dict[str, Tensor]:
    """A random state dict of the published shape: 304 entries of the trunk and its unused output layer."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, dtype=torch.float64) * 0.05

    state = {}
    for key, value in IR50.Config().build().state_dict().items():
        state[f"backbone.{key}"] = value if value.ndim == 0 else draw(*value.shape)
        if key.endswith("running_var"):
            state[f"backbone.{key}"] = draw(*value.shape).abs() + 0.5
    for name, width in (("0", 512), ("4", 512)):
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"backbone.output_layer.{name}.{part}"] = draw(width)
        state[f"backbone.output_layer.{name}.num_batches_tracked"] = torch.tensor(0)
    state["backbone.output_layer.3.weight"], state["backbone.output_layer.3.bias"] = (
        draw(512, 25088),
        draw(512),
    )
    heads = {"fc_age": (ages, 256), "fc_feature": (1, ages), "fc_pos": (ages, 256)}
    for name, shape in heads.items() | ({"fc_gender": (2, 256)}.items() if gender else set()):
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(*shape), draw(shape[0])
    state["parameter"] = draw(ages)
    return state


def literal(state: dict[str, Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Ages and gender logits, layer by layer from the description of the network."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    x = (images - MEAN) / STD
    x = functional.conv2d(x, state["backbone.input_layer.0.weight"], padding=1)
    x = functional.prelu(norm(x, "backbone.input_layer.1"), state["backbone.input_layer.2.weight"])
    for stage, (units, width) in STAGES.items():
        for unit in range(units):
            name, stride = f"backbone.{stage}.{unit}", 2 if unit == 0 else 1
            shortcut = x[..., ::stride, ::stride]
            if x.shape[1] != width:
                weight = state[f"{name}.shortcut_layer.0.weight"]
                shortcut = norm(functional.conv2d(x, weight, stride=stride), f"{name}.shortcut_layer.1")
            inner = norm(x, f"{name}.res_layer.0")
            inner = functional.conv2d(inner, state[f"{name}.res_layer.1.weight"], padding=1)
            inner = functional.prelu(inner, state[f"{name}.res_layer.2.weight"])
            inner = functional.conv2d(inner, state[f"{name}.res_layer.3.weight"], stride=stride, padding=1)
            x = norm(inner, f"{name}.res_layer.4") + shortcut
    features = x.mean((2, 3))
    probability = functional.linear(features, state["fc_age.weight"], state["fc_age.bias"]).softmax(1)
    ages = torch.tensor([1, *range(3, 102)], dtype=torch.float64)
    return probability @ ages, functional.linear(features, state["fc_gender.weight"], state["fc_gender.bias"])


def test_ages_and_genders_are_those_of_a_literal_forward_pass() -> None:
    state = released()
    assert sum(key.startswith("backbone.") for key in state) == 304
    network = load_released(state).double()
    images = torch.rand(2, 3, 112, 112, dtype=torch.float64)
    with torch.no_grad():
        outputs = network(images)
    age, gender = literal({k: v.to(torch.float32).double() for k, v in state.items()}, images)
    # Weights are kept in float32, arithmetic is in float64; so are mean and std.
    torch.testing.assert_close(network.predict_age(outputs), age, rtol=1e-5, atol=1e-5)
    assert outputs.gender is not None
    torch.testing.assert_close(outputs.gender, gender, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("ages", "count"), [(57, 57), (49, 49)])
def test_the_label_set_is_told_by_the_width_of_the_age_head(ages: int, count: int) -> None:
    network = load_released({f"module.{k}": v for k, v in released(ages, gender=False).items()})
    assert len(network.labels) == count and network.gender_head is None
    assert network.labels.tolist() == list(LABELS[ages])


def test_p_is_there_and_the_references_are_not() -> None:
    state = released(49)
    head: Any = load_released(state).position_head
    torch.testing.assert_close(head.P, state["parameter"].float())
    assert not head.ready


def test_a_file_that_is_none_is_refused() -> None:
    with pytest.raises(WeightsError, match="has no fc_age"):
        load_released(IR50.Config().build().state_dict())
    with pytest.raises(WeightsError, match=r"fc_age has 70 ages; released label sets have 100 \(1 to 101\)"):
        load_released(released(70))
    with pytest.raises(WeightsError, match=r"1 missing: age_head\.linear\.bias"):
        load_released({key: value for key, value in released().items() if key != "fc_age.bias"})
    with pytest.raises(WeightsError, match="1 unexpected: stranger"):
        load_released(released() | {"stranger": torch.zeros(1)})
