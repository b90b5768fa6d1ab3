"""A whole state (whole.py) as a safetensors file: tensors, and everything else as text metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import WeightsError
from orchestration.errors import UserError

_PARTS = ("network", "backbone")


def write_safetensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write a whole state as safetensors: tensors under network.* and backbone.*, the rest as text metadata.

    Raises UserError where the package is not installed.
    """
    save_file = _safetensors().torch.save_file
    tensors = {
        f"{part}.{name}": value.contiguous().clone()  # the format refuses tensors that share memory
        for part in _PARTS
        for name, value in state.get(part, {}).items()
    }
    said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in _rest(state)}
    save_file(tensors, path, {"format": "pt", **said})


def read_safetensors(path: Path) -> dict[str, Any]:
    """The state that `write_safetensors` wrote. Raises WeightsError for any other file."""
    safetensors = _safetensors()
    try:
        with safetensors.safe_open(path, "pt") as file:
            said = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, its own method
        state: dict[str, Any] = {"config": said["config"]}
        state |= {name: json.loads(said[name]) for name in ("format_version", "labels", "origin")}
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path}: not an export of ours as safetensors: {error}") from None
    for part in _PARTS:
        inner = {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}
        if inner:
            state[part] = inner
    return state


def _rest(state: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in state.items() if name not in _PARTS]


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise UserError("safetensors is not installed: pip install '.[export]'") from None
    return safetensors
