"""What a checkpoint holds: tensors, numbers and strings only; written whole, loaded safely."""

from __future__ import annotations

import io
from typing import Any

import torch

from orchestration.errors import UserError
from orchestration.storage import Storage

FORMAT_VERSION = 1


def put(storage: Storage, name: str, state: dict[str, Any]) -> None:
    """Write the state of a Training. Raises MachineError."""
    buffer = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, **state}, buffer)
    storage.put(name, buffer.getvalue())


def get(storage: Storage, name: str) -> dict[str, Any] | None:
    """The state under `name` on the CPU, or None. Raises UserError if it is not ours."""
    data = storage.get(name)
    if data is None:
        return None
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{storage.address(name)}: not a checkpoint: {type(error).__name__}") from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{storage.address(name)}: checkpoint version {version!r}; this code reads {FORMAT_VERSION}"
        )
    return dict(state)
