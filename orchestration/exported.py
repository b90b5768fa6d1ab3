"""Writes an export whole: the model and its card, and only if it says what the model says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from data.crops import Cutter, pictures
from data.errors import DataError
from data.faces import Faces
from data.schema import MANIFEST_FILE
from orchestration.deployed import Deployed, in_float32, run_onnx, to_onnx
from orchestration.errors import UserError
from orchestration.estimator import Estimator, load
from orchestration.model_card import card, preparation_lines
from orchestration.safe_file import write_safetensors
from orchestration.trained import Trained
from orchestration.whole import whole

TOLERANCE = 1e-3  # years that ages of the export may differ from the model's, in float32
COMPARED = 64  # faces
FILES = {"onnx": "model.onnx", "torch": "model.pt", "safetensors": "model.safetensors"}
WHAT = {
    "onnx": "ONNX, runs in onnxruntime alone; `images` [batch, size, size, 3] uint8 RGB in, `age` out",
    "torch": "a checkpoint of tensors and text, read with torch.load(weights_only=True)",
    "safetensors": "tensors, with the configuration as metadata",
}
USE = {
    "onnx": "use it: onnxruntime.InferenceSession('{file}')",
    "torch": "use it: python -m orchestration.predict {file} PICTURES",
    "safetensors": "use it: python -m orchestration.predict {file} PICTURES",
}


def write(estimator: Estimator, kind: str, out: Path, faces: NDArray[np.uint8]) -> tuple[Path, float]:
    """Export the estimator's one member as `kind` into the folder `out`.

    Returns the file and by how many years at most its ages differ from the estimator's on `faces`; an ONNX
    file computes in float32 and is compared with that. The estimator is not to be used after. Raises
    UserError, and writes nothing, where it is more than TOLERANCE.
    """
    (trained,) = estimator.members
    if kind == "onnx":
        estimator = Estimator([in_float32(trained)], estimator.folders)
    expected = estimator.predict(faces)["predicted_age"]
    text = card(trained, estimator.folders[0], {FILES[kind]: WHAT[kind]})
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.partial-") as scratch:
        made = Path(scratch) / "export"
        made.mkdir()
        ages = _WRITERS[kind](trained, made / FILES[kind], faces)
        difference = float(np.abs(ages - expected).max())
        if not difference < TOLERANCE:
            raise UserError(
                f"{estimator.members[0].name}: the export's ages differ by up to {difference:.3g} years;"
                f" allowed: {TOLERANCE:g}; nothing was written"
            )
        (made / "README.md").write_text(text)
        if out.exists():
            out.rmdir()
        shutil.move(made, out)
    return out / FILES[kind], difference


def _torch(trained: Trained, path: Path, faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    torch.save(whole(trained, position=False), path)
    return load(str(path), device="cpu").predict(faces)["predicted_age"]


def _safetensors(trained: Trained, path: Path, faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    write_safetensors(path, whole(trained, position=False))
    return load(str(path), device="cpu").predict(faces)["predicted_age"]


def _onnx(trained: Trained, path: Path, faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    said: dict[str, Any] = {
        "labels": list(trained.labels),
        "input": " ".join(preparation_lines(trained.size, trained.preparation)),
        "preparation": None if trained.preparation is None else asdict(trained.preparation),
        "origin": trained.origin,
        "units": "age and quantiles in years",
    }
    content = to_onnx(Deployed(trained), trained.size, said)
    path.write_bytes(content)
    return run_onnx(content, faces)["age"]


_WRITERS: dict[str, Callable[[Trained, Path, NDArray[np.uint8]], NDArray[np.float64]]] = {
    "onnx": _onnx,
    "torch": _torch,
    "safetensors": _safetensors,
}


def faces_to_compare(estimator: Estimator, given: str | None) -> NDArray[np.uint8]:
    """Up to COMPARED faces [n, size, size, 3] of a data set or of pictures; by default of the training set.

    Raises UserError where there are none.
    """
    (trained,) = estimator.members
    root = given or (None if trained.config is None else trained.config.data.root)
    cure = "name a prepared data set or a folder of faces with --faces DIR"
    if root is None:
        raise UserError(f"{trained.name}: the export is compared on real faces: {cure}")
    try:
        if given is None or (Path(root) / MANIFEST_FILE).is_file() or root.startswith("synthetic:"):
            faces = Faces.open(root)
            rows = np.sort(np.random.default_rng(0).permutation(len(faces))[:COMPARED])
            found = faces.gather(rows)
        else:
            cutter = Cutter(estimator.size, None)
            cut = [cutter.crops(picture)[0] for picture in pictures(root, bytes)[0][:COMPARED]]
            found = np.stack([crop.pixels for crops in cut for crop in crops if crop.pixels is not None])
    except (DataError, ValueError) as error:
        raise UserError(f"{trained.name}: the export is compared on real faces: {error}; {cure}") from None
    if found.shape[1] != estimator.size:
        raise UserError(f"{root}: faces of {found.shape[1]} pixels; the model takes {estimator.size}; {cure}")
    return found
