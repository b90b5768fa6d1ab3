"""A trained network as one module from pixels to years, without its position head, and that as ONNX."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.network import average_pool
from model.onnx_backbone import OnnxBackbone
from orchestration.errors import UserError
from orchestration.trained import Trained

OPSET = 17
INPUT = "images"


def in_float32(trained: Trained) -> Trained:
    """The same network with float32 arithmetic, whatever it was trained with; shares its modules."""
    if trained.config is None:
        return trained
    train = trained.config.train.model_copy(update={"precision": "float32"})
    config = trained.config.model_copy(update={"train": train})
    return replace(trained, network=trained.network.float(), config=config)


class Deployed(nn.Module):
    """Pixels to predictions in float32. Takes over the modules of `trained`, not to be used after."""

    def __init__(self, trained: Trained) -> None:
        """Raises UserError where the backbone is an ONNX graph itself."""
        super().__init__()
        if isinstance(trained.backbone, OnnxBackbone):
            raise UserError(f"{trained.name}: its backbone is an ONNX graph, which cannot be exported again")
        self.backbone = trained.backbone
        self.network = trained.network.float()
        self.network.position_head = None
        augment = None if trained.config is None else trained.config.augment.build()
        self._window = augment if trained.backbone is None else None
        self.eval()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` returns."""
        gender = () if self.network.gender_head is None else ("female_probability",)
        return ("age", *gender, *self.network.age_head.spread_names)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images: [b, size, size, 3] uint8 RGB → age [b] years, probability of female [b], spreads [b]."""
        inputs = images.permute(0, 3, 1, 2).float() / 255
        if self._window is not None:
            inputs = self._window.evaluation(inputs)
        found = self.network(inputs if self.backbone is None else average_pool(self.backbone(inputs)))
        gender = () if found.gender is None else (found.gender.softmax(1)[:, 1],)
        spread = self.network.age_head.spread(found.age)
        return (self.network.predict_age(found), *gender, *(spread[:, i] for i in range(spread.shape[1])))


def to_onnx(module: Deployed, size: int, said: Mapping[str, Any]) -> bytes:
    """The module as an ONNX file with any batch size; `said` becomes its metadata, as JSON where no text.

    Raises UserError where the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise UserError("the package onnx is not installed: pip install '.[export]'") from None
    exporter: Any = torch.onnx  # its annotations leave out what this exporter takes
    exporter.register_custom_op_symbolic("aten::cumprod", _cumprod, OPSET)
    buffer = io.BytesIO()
    names = list(module.outputs)
    with warnings.catch_warnings():
        # The exporter that traces: its successor needs onnxscript and is not in the oldest torch supported.
        warnings.simplefilter("ignore")
        exporter.export(
            module,
            (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
            buffer,
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *names)},
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    for name, value in said.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.append(onnx.StringStringEntryProto(key=name, value=text))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _cumprod(graph: Any, values: Any, axis: Any, dtype: Any) -> Any:
    """ONNX has no cumulative product; of probabilities it is exp(Σ log), 0 once one is 0."""
    return graph.op("Exp", graph.op("CumSum", graph.op("Log", values), axis))


def run_onnx(content: bytes, images: NDArray[np.uint8], batch: int = 16) -> dict[str, NDArray[np.float64]]:
    """What onnxruntime says of images [n, size, size, 3] uint8: the columns [n] by their names."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError("the check needs onnxruntime: pip install '.[export]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    parts = [session.run(names, {INPUT: images[i : i + batch]}) for i in range(0, len(images), batch)]
    return {
        name: np.concatenate(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)
    }
