"""A trained network in one file that needs no other: the frozen backbone inside, no path of this machine."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from data.cache import local
from data.errors import DataError
from model.onnx_backbone import OnnxBackbone
from model.rapl import NoPosition
from orchestration import checkpoint
from orchestration.errors import UserError
from orchestration.trained import ONNX_FILE, Trained


def whole(trained: Trained, position: bool) -> dict[str, Any]:
    """What a checkpoint of `trained` holds that stands alone; `position` keeps the training's position head.

    Raises UserError for a network that is not of one of our runs.
    """
    if trained.config is None:
        raise UserError(f"{trained.name}: a released checkpoint is whole already, and has no configuration")
    network = {name: value.cpu() for name, value in trained.network.state_dict().items()}
    config = trained.config.model_dump(mode="json")
    if not position:
        network = {name: value for name, value in network.items() if not name.startswith("position_head.")}
        config["model"]["position_head"] = NoPosition().model_dump(mode="json")
    config["data"] |= {"root": str(trained.origin.get("data")), "listing": None}
    config["model"]["backbone"]["weights"] = None
    state: dict[str, Any] = {
        "format_version": checkpoint.FORMAT_VERSION,
        "network": network,
        "config": json.dumps(config),
        "labels": list(trained.labels),
        "origin": dict(trained.origin),
    }
    if trained.backbone is not None:
        state["backbone"] = _backbone(trained)
    return state


def _backbone(trained: Trained) -> dict[str, Tensor]:
    assert trained.backbone is not None and trained.config is not None
    if not isinstance(trained.backbone, OnnxBackbone):
        return {name: value.cpu() for name, value in trained.backbone.state_dict().items()}
    try:
        content = local(str(trained.config.model.backbone.weights)).read_bytes()
    except (DataError, OSError) as error:
        raise UserError(f"{trained.name}: its backbone's ONNX file is not there: {error}") from None
    return {ONNX_FILE: torch.frombuffer(bytearray(content), dtype=torch.uint8)}
