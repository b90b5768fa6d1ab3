"""Any ONNX face model as a fixed feature extractor, run by onnxruntime (`pip install .[onnx]`)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from model.backbone_base import Backbone, BackboneSettings, Triple
from model.errors import WeightsError

HALF: Triple = (0.5, 0.5, 0.5)
ANY_SIZE = 112  # pixels tried where the model leaves its input size open
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxBackbone(Backbone):
    """A model with one image input, NCHW or NHWC. It has no weights of ours, so it is never fine-tuned.

    `channels` is 0 until `load_model` has seen the file.
    """

    class Config(BackboneSettings):
        name: Literal["onnx"] = "onnx"
        mean: Triple = Field(default=HALF, description="what the model was trained with; 0.5 for ArcFace's")
        std: Triple = Field(default=HALF, description="what the model was trained with; 0.5 for ArcFace's")
        weights: str | None = Field(default=None, description="the .onnx file")
        output: str | None = Field(
            default=None, description="the output that is the feature; none = the model's first"
        )

        def build(self) -> OnnxBackbone:
            return OnnxBackbone(self)

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.channels = 0
        self._output = config.output
        self._session: Any = None

    def load_model(self, content: bytes) -> None:
        """Take the bytes of an .onnx file. Raises WeightsError for what is no such image model."""
        self._session = _session(content)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise WeightsError(
                "expected one input of images, [b, 3, h, w] or [b, h, w, 3]; found "
                + ", ".join(f"{given.name} {given.shape}" for given in inputs)
            )
        self._input, self._channels_last = inputs[0].name, shape[1] != 3
        height, width = shape[1:3] if self._channels_last else shape[2:4]
        # An open dimension is a name or None.
        self._size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
        self._single = shape[0] == 1
        names = [given.name for given in self._session.get_outputs()]
        self._name = self._output or names[0]
        if self._name not in names:
            raise WeightsError(f"no output {self._name!r}; the model has {', '.join(names)}")
        self.channels = self(torch.zeros(1, 3, *(self._size or (ANY_SIZE, ANY_SIZE)))).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1], resized to the model's own size → [b, channels, h′, w′].

        A model that gives one vector per face gives a map of one pixel.
        """
        if self._size is not None and tuple(images.shape[-2:]) != self._size:
            images = functional.interpolate(images, self._size, mode="bilinear", antialias=True)
        inputs = self.normalise(images).float()
        if self._channels_last:
            inputs = inputs.permute(0, 2, 3, 1)
        batch = np.ascontiguousarray(inputs.cpu().numpy())
        parts = np.split(batch, len(batch)) if self._single else [batch]
        outputs = np.concatenate([self._session.run([self._name], {self._input: part})[0] for part in parts])
        if outputs.ndim not in (2, 4) or len(outputs) != len(batch):
            raise WeightsError(
                f"output {self._name} must be [b, c] or [b, c, h, w]; found {list(outputs.shape)} for"
                f" {len(batch)} faces"
            )
        features = torch.from_numpy(outputs).to(images.device, images.dtype)
        return features if features.ndim == 4 else features[:, :, None, None]


def _session(content: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise WeightsError("the onnx backbone needs onnxruntime: pip install '.[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # onnxruntime has a class per status code, none of them public
        raise WeightsError(f"not an ONNX model that onnxruntime reads: {str(error)[:200]}") from None
