"""MODEL on a command line: a run's folder, a checkpoint file, or a model of MLflow's registry. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestration.errors import UserError, nearest

CHECKPOINTS = ("best.pt", "model.pt", "model.safetensors")
REGISTRY = "models:/"
SERVED = "data/model"  # where a registered version that serves keeps its checkpoint (serving.py)
STORES = ("runs/mlflow.db", "mlflow.db")  # where a store lies when MLFLOW_TRACKING_URI names none


@dataclass(frozen=True)
class Found:
    """The checkpoint that a name means, and the folder it lies in."""

    name: str
    checkpoint: Path

    @property
    def folder(self) -> Path:
        """Where the run keeps what belongs to it."""
        return self.checkpoint.parent


def find(model: str) -> Found:
    """What `model` means: a path that exists, else a name in MLflow's registry (`models:/NAME/VERSION`, or
    NAME for its newest version). Raises UserError that says what there is instead.
    """
    if model.startswith(REGISTRY):
        return _registered(model)
    path = Path(model).expanduser().absolute()
    if path.is_file():
        return Found(model, path)
    if path.is_dir():
        return _in_folder(model, path)
    if "/" not in model and _store() is not None:
        return _registered(model)
    beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(
        f"{path} does not exist.{nearest(path.name, beside)} A model is a run's folder"
        f" (runs/x/finals/0007-seed1), a checkpoint file, or a name in MLflow's registry"
        f" ({REGISTRY}NAME/VERSION)"
    )


def _in_folder(model: str, folder: Path) -> Found:
    """The checkpoint of a run's folder, of an export or of a downloaded model version."""
    for name in CHECKPOINTS:
        places = (folder / name, folder / "artifacts" / name, folder / SERVED / name)
        found = next((path for path in places if path.is_file()), None)
        if found is not None:
            return Found(model, found)
    runs = sorted(p.parent for name in CHECKPOINTS for p in folder.glob(f"*/*/{name}"))
    listed = "".join(f"\n  {run}" for run in runs[:20])
    held = f"its runs that have one:{listed}" if runs else "only final seeds and single runs keep one"
    raise UserError(f"{folder} holds no checkpoint ({' or '.join(CHECKPOINTS)}); {held}")


def _store() -> str | None:
    """The MLflow store that registered models are looked for in."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    return given or next((f"sqlite:///{Path(p).absolute()}" for p in STORES if Path(p).is_file()), None)


def _registered(model: str) -> Found:
    """The checkpoint of a version of a registered model, downloaded if it is not on this machine."""
    uri = _store()
    if uri is None:
        raise UserError(
            f"{model}: no MLflow store: set MLFLOW_TRACKING_URI, or run this where {STORES[0]} lies"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient, artifacts
    from mlflow.exceptions import MlflowException

    name, _, version = model.removeprefix(REGISTRY).partition("/")
    client = MlflowClient(tracking_uri=uri)
    try:
        versions = client.search_model_versions(f"name = '{name}'")
        chosen = _version(model, name, version, versions, client, uri)
        source = client.get_model_version_download_uri(name, chosen)
        folder = artifacts.download_artifacts(artifact_uri=source, tracking_uri=uri)
    except MlflowException as error:
        raise UserError(f"{model}: MLflow at {uri}: {error.message.splitlines()[0]}") from None
    return _in_folder(f"{REGISTRY}{name}/{chosen}", Path(folder))


def _version(model: str, name: str, version: str, versions: list[Any], client: Any, uri: str) -> str:
    numbers = sorted(int(v.version) for v in versions)
    if not numbers:
        known = [m.name for m in client.search_registered_models()]
        hint = nearest(name, known) or f" It has: {', '.join(known) or 'none'}."
        raise UserError(f"{model}: no such path, and MLflow at {uri} has no model {name!r}.{hint}")
    if version and version not in map(str, numbers):
        raise UserError(
            f"{model}: MLflow's model {name!r} has the versions {', '.join(map(str, numbers))}."
            f" Received: {version!r}"
        )
    return version or str(numbers[-1])
