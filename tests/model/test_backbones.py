"""Backbones: shapes, sizes, input conventions, and checkpoints that load wholly or not at all."""

from __future__ import annotations

import os
import pickle
from typing import Any, get_args

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from model.backbones import IR50, BackboneConfig, MobileFaceNet, OnnxBackbone, SmallIR
from model.errors import WeightsError

# The ONNX backbone has no weights of ours: tests/model/test_onnx_backbone.py.
MEMBERS = [m for m in get_args(get_args(BackboneConfig)[0]) if m is not OnnxBackbone.Config]


def face_evolve_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """An IR50 trunk's state as face.evoLVe writes it, with the last stage and embedding."""
    offset = {"body1": 0, "body2": 3, "body3": 7}
    renamed = {}
    for key, value in state.items():
        stage, *rest = key.split(".")
        if stage in offset:
            key = ".".join(["body", str(offset[stage] + int(rest[0])), *rest[1:]])
        renamed[key] = value
    extra = ["body.21.res_layer.0.weight", "body.23.res_layer.4.bias", "output_layer.3.weight"]
    return renamed | {key: torch.zeros(1) for key in extra}


@pytest.fixture(scope="module")
def ir50_state() -> dict[str, Tensor]:
    return IR50.Config().build().state_dict()


def assert_loads(checkpoint: dict[str, Any], expected: dict[str, Tensor]) -> None:
    trunk = IR50.Config().build()
    trunk.load_pretrained(checkpoint)
    loaded = trunk.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in expected.items())


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_the_map_has_the_promised_channels_and_a_gradient(member: Any) -> None:
    backbone = member().build()
    features = backbone(torch.rand(2, 3, 32, 48))
    features.sum().backward()
    assert features.shape[:2] == (2, backbone.channels) and features.ndim == 4
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_its_own_state_loads_in_a_wrapper_and_changes_all_weights(member: Any) -> None:
    source, target = member().build(), member().build()
    target.load_pretrained(
        {"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}, "epoch": 3}
    )
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_ir50_has_the_published_size(ir50_state: dict[str, Tensor]) -> None:
    trunk = IR50.Config().build()
    assert sum(parameter.numel() for parameter in trunk.parameters()) == 17_611_968
    assert len(ir50_state) == 292
    per_stage = [sum(p.numel() for p in stage.parameters()) for stage in trunk.children()]
    assert per_stage == [1_920, 222_144, 1_116_800, 16_271_104]


def test_ir50_resizes_any_input_by_nearest_neighbours() -> None:
    trunk = IR50.Config().build().eval()
    small = torch.rand(1, 3, 56, 56)
    with torch.no_grad():
        from_small = trunk(small)
        from_repeated = trunk(small.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert from_small.shape == (1, 256, 14, 14)
    assert torch.equal(from_small, from_repeated)


def test_ir50_strides_the_second_convolution_of_a_unit() -> None:
    unit = IR50.Config().build().body2[0]
    assert [unit.res_layer[1].stride, unit.res_layer[3].stride] == [(1, 1), (2, 2)]


def test_ir50_loads_a_poster_file_with_its_unused_output_layer(ir50_state: dict[str, Tensor]) -> None:
    assert_loads(ir50_state | {"output_layer.0.weight": torch.zeros(512)}, ir50_state)


def test_ir50_loads_a_face_evolve_file(ir50_state: dict[str, Tensor]) -> None:
    assert_loads(face_evolve_names(ir50_state), ir50_state)


def test_ir50_loads_the_backbone_of_a_whole_network(ir50_state: dict[str, Tensor]) -> None:
    network = {f"module.backbone.{key}": value for key, value in ir50_state.items()}
    assert_loads({"model": network | {"module.fc_age.weight": torch.zeros(100, 256)}}, ir50_state)


def test_ir50_loads_a_file_older_than_num_batches_tracked(ir50_state: dict[str, Tensor]) -> None:
    old = {key: value for key, value in ir50_state.items() if not key.endswith("num_batches_tracked")}
    assert len(old) == 247
    assert_loads(old, old)


def test_a_wrong_file_is_refused_with_first_eight_keys_and_counts_and_changes_nothing() -> None:
    backbone = SmallIR.Config().build()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    state = {key: torch.ones_like(value) for key, value in before.items() if not key.startswith("body2")}
    state["input_layer.0.weight"] = torch.zeros(8, 3, 3, 3)
    state |= {f"stranger{i}": torch.zeros(1) for i in range(9)}
    with pytest.raises(WeightsError) as raised:
        backbone.load_pretrained(state)
    message = str(raised.value)
    # 3 norms of 4 entries beside num_batches_tracked, 3 convolutions and a PReLU.
    assert "16 missing: body2.0.res_layer.0.weight" in message
    assert "9 unexpected: stranger0" in message and "stranger7, …" in message and "stranger8" not in message
    assert "1 wrongly shaped: input_layer.0.weight [8, 3, 3, 3] instead of [16, 3, 3, 3]" in message
    assert all(torch.equal(value, before[key]) for key, value in backbone.state_dict().items())


def test_ir50_refuses_units_that_face_evolve_does_not_have(ir50_state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match=r"1 unexpected: body\.24"):
        IR50.Config().build().load_pretrained(face_evolve_names(ir50_state) | {"body.24.x": torch.zeros(1)})


@pytest.mark.parametrize("junk", [{}, {"epoch": 1}, {"state_dict": {}}])
def test_an_empty_checkpoint_is_refused(junk: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="missing: input_layer"):
        SmallIR.Config().build().load_pretrained(junk)


def test_the_error_survives_pickling() -> None:
    error = WeightsError.of(["a"], [], [])
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_normalisation_follows_the_backbones_colour_order() -> None:
    config = SmallIR.Config(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.1), colour="bgr")
    image = torch.tensor([0.6, 0.7, 0.8]).view(1, 3, 1, 1)  # red, green, blue
    expected = torch.tensor([(0.8 - 0.1) / 0.5, (0.7 - 0.2) / 0.25, (0.6 - 0.3) / 0.1])
    torch.testing.assert_close(config.build().normalise(image).flatten(), expected)


@pytest.mark.parametrize(
    "wrong",
    [{"std": (0.5, 0.5, 0)}, {"mean": (123, 117, 104)}, {"colour": "grey"}, {"width": 2}, {"depht": 1}],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(BackboneConfig).validate_python({"name": "small_ir"} | wrong)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
@pytest.mark.parametrize("size", [(97, 120), (128, 112)])
def test_odd_sizes_give_finite_maps(member: Any, size: tuple[int, int]) -> None:
    with torch.no_grad():
        assert member().build().eval()(torch.rand(1, 3, *size)).isfinite().all()


@pytest.mark.parametrize("size", [16, 17, 48])
def test_small_ir_takes_images_from_16_pixels_on(size: int) -> None:
    features = SmallIR.Config(width=8, depth=3).build().eval()(torch.rand(1, 3, size, size))
    assert features.shape == (1, 32, -(-size // 16), -(-size // 16))


def test_mobilefacenet_maps_112_pixels_to_7() -> None:
    features = MobileFaceNet.Config().build().eval()(torch.rand(1, 3, 112, 112))
    assert features.shape == (1, 512, 7, 7)


def test_mobilefacenet_clips_its_map_at_six() -> None:
    backbone = MobileFaceNet.Config().build().eval()
    torch.nn.init.constant_(backbone.conv2[1].bias, 100.0)
    assert backbone(torch.rand(1, 3, 32, 32)).unique().tolist() == [6.0]


@pytest.mark.skipif("RAPL_WEIGHTS" not in os.environ, reason="RAPL_WEIGHTS does not name the weights file")
def test_mobilefacenet_computes_with_the_public_weights_what_its_authors_network_does() -> None:
    backbone = MobileFaceNet.Config().build().eval()
    state = torch.load(os.environ["RAPL_WEIGHTS"], weights_only=True, map_location="cpu")
    assert len(state) == 307
    backbone.load_pretrained(state)
    ramp = torch.linspace(0, 1, 112)
    image = torch.stack(
        [ramp.expand(112, 112), ramp.flip(0).expand(112, 112), ramp.view(112, 1).expand(112, 112)]
    )
    with torch.no_grad():
        features = backbone(image.unsqueeze(0)).mean((2, 3)).squeeze(0)
    # Recorded from the layers with which FG-NET's same-person pairs reach a cosine AUC of 0.933.
    torch.testing.assert_close(features.mean(), torch.tensor(0.21399), rtol=1e-3, atol=0)
    torch.testing.assert_close(features.square().mean().sqrt(), torch.tensor(0.34206), rtol=1e-3, atol=0)
