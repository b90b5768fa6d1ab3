"""One checkpoint as a network that predicts: one of our runs', whole or frozen, or one of RAPL's authors'."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from data import cache
from data.errors import DataError
from data.faces import Faces
from data.schema import Alignment, Preparation
from model import weights
from model.backbone_base import Backbone, fit
from model.errors import WeightsError
from model.network import Network
from model.onnx_backbone import OnnxBackbone
from model.released import load_released
from orchestration import checkpoint, frozen
from orchestration.batches import DTYPES, autocast
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.inputs import file_sha256
from orchestration.prediction_pass import predicted
from orchestration.safe_file import read_safetensors

RELEASED_SIZE = 112  # pixels a side that the authors' published code resizes to
ONNX_FILE = "onnx"  # the entry of a checkpoint's `backbone` that holds the bytes of an .onnx file


@dataclass
class Backbones:
    """Frozen backbones by their weights: the seeds of one study share one."""

    known: dict[tuple[str, str], Backbone] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode on its device, and what it was trained on.

    `backbone` is that of a frozen run, whose features the network takes; otherwise the network takes images.
    `config` and `preparation` are None where the checkpoint does not tell.
    """

    name: str
    network: Network
    backbone: Backbone | None
    config: RunConfig | None
    preparation: Preparation | None
    origin: dict[str, Any]
    device: torch.device

    @property
    def labels(self) -> tuple[int, ...]:
        """Age labels in years."""
        return tuple(int(label) for label in self.network.labels.tolist())

    @property
    def size(self) -> int:
        """Pixels a side of the faces it takes."""
        return RELEASED_SIZE if self.preparation is None else self.preparation.size

    @property
    def alignment(self) -> Alignment | None:
        """How the training faces were brought to their place; None where they were not, or nobody knows."""
        return None if self.preparation is None else self.preparation.align

    def features(self, images: Tensor, mirrored: bool) -> Tensor | None:
        """What the backbone of a frozen run makes of images [b, h, w, 3] uint8: [b, channel] float32."""
        if self.backbone is None:
            return None
        view = "hflip" if mirrored else "identity"
        return torch.from_numpy(frozen.features(self.backbone, images.numpy(), view, self.device))

    @torch.no_grad()
    def columns(self, images: Tensor, mirrored: bool, features: Tensor | None) -> dict[str, Tensor]:
        """The columns of `predicted` for images [b, h, w, 3] uint8, or for their features where there are."""
        precision = "float32" if self.config is None else self.config.train.precision
        inputs = features if features is not None else self._views(images, mirrored)
        with autocast(precision, self.device):
            outputs = self.network(inputs.to(self.device, DTYPES[precision]))
        return {name: values.cpu() for name, values in predicted(self.network, outputs).items()}

    def _views(self, images: Tensor, mirrored: bool) -> Tensor:
        """[b, 3, h, w] in [0, 1]: the part of the picture that validation sees, mirrored if asked."""
        precision = "float32" if self.config is None else self.config.train.precision
        batch = images.to(self.device).permute(0, 3, 1, 2).to(DTYPES[precision]) / 255
        if self.config is not None:
            batch = self.config.augment.build().evaluation(batch)
        return batch.flip(3) if mirrored else batch


def restore(path: Path, name: str, device: torch.device, backbones: Backbones, given: str | None) -> Trained:
    """The network in a checkpoint file. `given` is the weights file of a frozen run's backbone, where it is
    no longer where the run found it.

    Raises UserError, beginning with `name`, for any other file and for a backbone that is not there.
    """
    try:
        state = read_safetensors(path) if path.suffix == ".safetensors" else weights.read(path)
        if "network" in state and "config" in state:
            return _ours(state, path, name, device, backbones, given)
        network = load_released(state)
    except WeightsError as error:
        text = str(error)
        raise UserError(text if text.startswith(str(path)) else f"{path}: {text}") from None
    origin = {"data": "one that RAPL's authors used", "started_from": "weights pretrained by RAPL's authors"}
    return Trained(name, network.to(device), None, None, None, origin, device)


def _ours(
    state: Mapping[str, Any],
    path: Path,
    name: str,
    device: torch.device,
    backbones: Backbones,
    given: str | None,
) -> Trained:
    version = state.get("format_version")
    if version != checkpoint.FORMAT_VERSION:
        raise UserError(
            f"{path}: checkpoint version {version!r}; this code reads {checkpoint.FORMAT_VERSION}"
        )
    try:
        config = RunConfig.model_validate_json(state["config"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{path}: trained by another version of the code: {where}: {first['msg']}; train it again"
        ) from None
    origin = dict(state.get("origin", {}))
    backbone = _backbone(config, state, origin, name, backbones, given) if config.frozen else None
    channels = None if backbone is None else backbone.channels
    network = Network(config.model, [int(label) for label in state["labels"]], 0.0, 1.0, channels)
    network = network.to(device, DTYPES[config.train.precision]).eval()  # first: loading rounds to its dtype
    fit(network, state["network"])
    backbone = None if backbone is None else backbone.to(device)
    return Trained(name, network, backbone, config, _preparation(config, origin), origin, device)


def _backbone(
    config: RunConfig,
    state: Mapping[str, Any],
    origin: Mapping[str, Any],
    name: str,
    backbones: Backbones,
    given: str | None,
) -> Backbone:
    """A frozen run's backbone in evaluation mode, from the checkpoint or from its weights file."""
    settings = config.model.backbone
    key = (settings.model_dump_json(exclude={"weights"}), str(origin.get("started_from")))
    if key in backbones.known:
        return backbones.known[key]
    backbone: Backbone = settings.build()
    if "backbone" not in state:
        weights.load_backbone(backbone, _weights_file(config, origin, name, given))
    elif isinstance(backbone, OnnxBackbone):
        backbone.load_model(state["backbone"][ONNX_FILE].numpy().tobytes())
    else:
        fit(backbone, state["backbone"])
    return backbones.known.setdefault(key, backbone.eval())


def _weights_file(config: RunConfig, origin: Mapping[str, Any], name: str, given: str | None) -> Path:
    """The file that the backbone came from, its hash compared. Raises UserError."""
    named = given or config.model.backbone.weights
    expected = str(origin.get("started_from"))
    story = f"{name}: a run with a fixed backbone keeps its heads alone; its backbone came from"
    cure = "; name the file with --weights FILE"
    try:
        path = cache.local(str(named))
    except DataError as error:
        raise UserError(f"{story} {named} (SHA-256 {expected[:12]}…): {error}{cure}") from None
    found = file_sha256(str(path), path.stat().st_mtime_ns)
    if found != expected:
        raise UserError(f"{story} a file with SHA-256 {expected[:12]}…; {path} has {found[:12]}…{cure}")
    return path


def _preparation(config: RunConfig, origin: Mapping[str, Any]) -> Preparation | None:
    """How the training faces were prepared: as the checkpoint says, or their data set where it still lies."""
    told = origin.get("preparation")
    if told is not None:
        return Preparation.of(json.loads(str(told)))
    try:
        faces = Faces.open(config.data.root)
    except DataError:
        return None
    return faces.manifest.preparation if faces.fingerprint == origin.get("fingerprint") else None
