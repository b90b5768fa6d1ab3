"""Frozen mode: a backbone's features of every face, computed once and mapped by every trial."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from data import cache
from data.faces import Faces
from data.features import open_features, write_features
from data.progress import Progress
from model.network import average_pool
from model.weights import load_backbone
from orchestration.config import RunConfig
from orchestration.errors import MachineError
from orchestration.inputs import Inputs

# Raised whenever a change of the code changes the features of the same face and weights.
FEATURE_VERSION = 1
CHUNK = 256
# On a CPU a small batch keeps its activations in the cache: 2.2 times faster than 256, same bits.
CPU_BATCH = 16


def ensure(config: RunConfig, inputs: Inputs, folder: Path) -> Path:
    """The feature file of a run with a frozen backbone, computed if it is not there.

    One process computes, others wait; a killed computation goes on where it was. Raises MachineError
    when the disk is full.
    """
    description = describe(config, inputs)
    path = path_of(config, inputs, folder)
    if path.exists():
        open_features(path)  # raises DataError for a damaged file now, not in every trial
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with cache.locked(folder / f".{path.stem}.lock"):
        if not path.exists():
            try:
                _compute(config, inputs, path, description)
            except OSError as error:
                raise MachineError(f"{path}: cannot write features: {error.strerror or error}") from error
        for leftover in (path.with_suffix(".partial"), path.with_suffix(".done")):
            leftover.unlink(missing_ok=True)
    return path


def path_of(config: RunConfig, inputs: Inputs, folder: Path) -> Path:
    """Where a run's feature file lies or will lie."""
    text = json.dumps(describe(config, inputs), sort_keys=True)
    return folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.arrow"


def describe(config: RunConfig, inputs: Inputs) -> dict[str, Any]:
    """Everything that decides the features; the file carries it, its hash names the file."""
    return {
        "fingerprint": inputs.fingerprint,
        "backbone": config.model.backbone.model_dump(mode="json", exclude={"weights"}),
        "weights_sha256": inputs.weights_sha256,
        "views": list(config.features.views),
        "feature_version": FEATURE_VERSION,
    }


def _compute(config: RunConfig, inputs: Inputs, path: Path, description: dict[str, Any]) -> None:
    faces = Faces.open(inputs.data)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = config.model.backbone.build()
    load_backbone(backbone, cache.local(str(inputs.weights)))
    backbone = backbone.eval().to(device)
    views = config.features.views
    shape = (len(faces), len(views), backbone.channels)
    raw, mark = path.with_suffix(".partial"), path.with_suffix(".done")
    values, start = _partial(raw, mark, shape)
    progress = Progress(len(faces) * len(views), f"features of {faces.name}", "images")
    progress.advance(start * len(views))
    saved = time.monotonic()
    for first in range(start, len(faces), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(faces)))
        for column, view in enumerate(views):
            values[rows, column] = features(backbone, faces.gather(rows), view, device)
            progress.advance(len(rows))
        if time.monotonic() - saved > 5:
            values.flush()
            mark.write_text(str(int(rows[-1]) + 1))
            saved = time.monotonic()
    progress.close()
    write_features(path, values, description)


def _partial(raw: Path, mark: Path, shape: tuple[int, int, int]) -> tuple[np.memmap[Any, Any], int]:
    """The rows computed so far by a process that was killed, or room for all of them."""
    size = int(np.prod(shape)) * 4
    text = mark.read_text() if mark.exists() else ""  # empty after a kill in the middle of writing it
    done = int(text) if text.isdigit() and raw.exists() and raw.stat().st_size == size else 0
    if done == 0:
        raw.touch(mode=0o600)
        with raw.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a crash later
    return np.memmap(raw, dtype=np.float32, mode="r+", shape=shape), done


@torch.no_grad()
def features(backbone: nn.Module, images: np.ndarray, view: str, device: torch.device) -> np.ndarray:
    """images: [b, h, w, 3] uint8 → pooled features [b, channel] float32 of one view."""
    parts = []
    for part in torch.split(torch.from_numpy(images), CPU_BATCH if device.type == "cpu" else len(images)):
        batch = part.to(device).permute(0, 3, 1, 2).float() / 255
        if view == "hflip":
            batch = batch.flip(3)
        parts.append(average_pool(backbone(batch)).float().cpu())
    found: np.ndarray = torch.cat(parts).numpy()
    return found
