"""Checkpoint files of backbones: read safely, load wholly or refuse.

The one file of this room that opens paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from model.errors import WeightsError


def read(path: str | Path) -> Mapping[str, Tensor]:
    """The state dict in a file, on the CPU. Raises WeightsError for anything but tensors in a dict."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file") from None
    except Exception as error:
        kind = type(error).__name__
        raise WeightsError(
            f"{path}: not a PyTorch checkpoint of tensors (torch.load with weights_only=True: {kind})"
        ) from error
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: expected a state dict, received {type(state).__name__}")
    return state


def load_backbone(backbone: nn.Module, path: str | Path) -> None:
    """Load a file into a backbone. Raises WeightsError that names the file and every key that differs."""
    try:
        backbone.load_pretrained(read(path))  # type: ignore[operator]
    except WeightsError as error:
        text = str(error)
        raise WeightsError(text if text.startswith(str(path)) else f"{path}: {text}") from None
