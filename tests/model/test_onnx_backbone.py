"""ONNX models as fixed backbones, against NumPy's answer for a model built here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from model.errors import WeightsError
from model.network import Network, average_pool
from model.onnx_backbone import OnnxBackbone
from model.weights import load_backbone, main

onnx = pytest.importorskip("onnx", reason="pip install '.[dev]' brings onnx")
pytest.importorskip("onnxruntime", reason="pip install '.[onnx]' brings onnxruntime")

WEIGHT = np.random.default_rng(0).normal(size=(5, 3, 2, 2)).astype(np.float32)
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def model(batch: Any = "b", size: Any = 8, last: bool = False, pooled: bool = False) -> bytes:
    """A 2×2 convolution with stride 2 to 5 channels; `last`: NHWC input; `pooled`: a vector per face."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    shape = [batch, size, size, 3] if last else [batch, 3, size, size]
    nodes = [helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2])] if last else []
    nodes.append(helper.make_node("Conv", ["nchw" if last else "image", "w"], ["map"], strides=[2, 2]))
    nodes.append(helper.make_node("GlobalAveragePool", ["map"], ["mean"]))
    nodes.append(helper.make_node("Flatten", ["mean"], ["vector"]))
    outputs = [
        helper.make_tensor_value_info("map", kind, None),
        helper.make_tensor_value_info("vector", kind, [batch, 5]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, shape)],
        outputs[::-1] if pooled else outputs,
        [onnx.numpy_helper.from_array(WEIGHT, "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    content: bytes = made.SerializeToString()
    return content


def literal(images: np.ndarray) -> np.ndarray:
    """The convolution, patch by patch: [b, 3, h, w] → [b, 5, h/2, w/2]."""
    b, _, h, w = images.shape
    out = np.zeros((b, 5, h // 2, w // 2))
    for y in range(h // 2):
        for x in range(w // 2):
            patch = images[:, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            out[:, :, y, x] = np.einsum("bchw,ochw->bo", patch, WEIGHT)
    return out


def loaded(content: bytes, **settings: Any) -> OnnxBackbone:
    backbone = OnnxBackbone.Config(**settings).build()
    backbone.load_model(content)
    return backbone


@pytest.mark.parametrize("batch", ["b", 1])
@pytest.mark.parametrize("last", [False, True])
def test_a_map_is_that_of_the_normalised_images(batch: Any, last: bool) -> None:
    backbone = loaded(model(batch, last=last), mean=(0.1, 0.2, 0.3), std=(0.5, 0.4, 0.3), colour="bgr")
    assert backbone.channels == 5
    mean, std = np.array([0.1, 0.2, 0.3]).reshape(3, 1, 1), np.array([0.5, 0.4, 0.3]).reshape(3, 1, 1)
    expected = literal((IMAGES.numpy()[:, ::-1] - mean) / std)
    np.testing.assert_allclose(backbone(IMAGES).numpy(), expected, atol=1e-5)


def test_a_vector_per_face_is_its_own_average() -> None:
    features = average_pool(loaded(model(pooled=True))(IMAGES))
    expected = literal((IMAGES.numpy() - 0.5) / 0.5).mean((2, 3))
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-5)


def test_another_output_can_be_named_and_a_wrong_name_is_answered_with_all() -> None:
    assert loaded(model(), output="vector")(IMAGES).shape == (3, 5, 1, 1)
    with pytest.raises(WeightsError, match="no output 'nope'; the model has map, vector"):
        loaded(model(), output="nope")


def test_images_take_the_models_own_size_and_any_where_it_is_open() -> None:
    big = torch.rand(2, 3, 16, 16)
    assert loaded(model())(big).shape == (2, 5, 4, 4)
    assert loaded(model(size="s"))(big).shape == (2, 5, 8, 8)


def test_what_is_no_image_model_is_refused() -> None:
    with pytest.raises(WeightsError, match="not an ONNX model"):
        loaded(b"junk")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    text = [helper.make_tensor_value_info(name, kind, ["b", 4]) for name in ("tokens", "out")]
    graph = helper.make_graph([helper.make_node("Relu", ["tokens"], ["out"])], "g", text[:1], text[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(WeightsError, match=r"one input of images.*found tokens \['b', 4\]"):
        loaded(made.SerializeToString())


def test_it_is_never_fine_tuned() -> None:
    with pytest.raises(ValidationError, match=r"set model\.train_backbone: false"):
        Network.Config.model_validate({"backbone": {"name": "onnx"}})
    assert Network.Config.model_validate({"backbone": {"name": "onnx"}, "train_backbone": False})


def test_a_file_is_loaded_and_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "face.onnx"
    path.write_bytes(model())
    backbone = OnnxBackbone.Config().build()
    load_backbone(backbone, path)
    assert backbone.channels == 5
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "5 channels" in said and "train_backbone: false" in said
    with pytest.raises(WeightsError, match=r"gone\.onnx: No such file"):
        load_backbone(OnnxBackbone.Config().build(), tmp_path / "gone.onnx")
