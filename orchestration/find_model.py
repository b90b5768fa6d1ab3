"""MODEL on a command line: a run's folder, a checkpoint, or a model of MLflow's registry. No torch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import cache
from orchestration.errors import UserError, nearest
from orchestration.mlflow_runs import cache_file
from orchestration.storage import Storage

CHECKPOINTS = ("best.pt", "model.pt", "model.safetensors")
REGISTRY = "models:/"
SERVED = "data/model"  # where a registered version that serves keeps its checkpoint (serving.py)
STORES = ("runs/mlflow.db", "mlflow.db")  # where a store lies when MLFLOW_TRACKING_URI names none


@dataclass(frozen=True)
class Found:
    """The checkpoint that a name means, on this machine, and the folder where its run keeps what is its."""

    name: str
    checkpoint: Path
    folder: Storage


def find(model: str) -> Found:
    """What `model` means: a path or address that exists, else a name in MLflow's registry
    (`models:/NAME/VERSION`, or NAME for its newest version).

    Raises UserError that says what there is instead.
    """
    if model.startswith(REGISTRY):
        return _registered(model)
    folder = Storage(model)
    if folder.list():
        return _in_folder(model, folder)
    if folder.parent().exists(folder.name):
        path = cache.local(folder.root)
        return Found(model, path, folder.parent()) if path.is_file() else _in_folder(model, folder)
    if "/" not in model and _store() is not None:
        return _registered(model)
    folder.require()
    raise UserError(
        f"{folder.root} does not exist.{nearest(folder.name, folder.parent().list())} A model is a run's"
        f" folder (runs/x/finals/0007-seed1), a checkpoint file, or a name in MLflow's registry"
        f" ({REGISTRY}NAME/VERSION)"
    )


def _in_folder(model: str, folder: Storage) -> Found:
    """The checkpoint of a run's folder, of an export or of a downloaded model version."""
    for name in CHECKPOINTS:
        for place in (folder, folder.child("artifacts"), folder.child(SERVED)):
            if place.exists(name):
                return Found(model, cache.local(place.address(name)), place)
    below = [f"{kind}/{run}" for kind in folder.list(folders=True) for run in folder.list(kind, folders=True)]
    runs = [run for run in below if any(folder.exists(f"{run}/{name}") for name in CHECKPOINTS)]
    listed = "".join(f"\n  {folder.address(run)}" for run in runs[:20])
    held = f"its runs that have one:{listed}" if runs else "only final seeds and single runs keep one"
    raise UserError(f"{folder.root} holds no checkpoint ({' or '.join(CHECKPOINTS)}); {held}")


def _store() -> str | None:
    """The MLflow store that registered models are looked for in."""
    given = os.environ.get("MLFLOW_TRACKING_URI")
    stores = [*map(Path, STORES), cache_file()]
    return given or next((f"sqlite:///{path.absolute()}" for path in stores if path.is_file()), None)


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
    return _in_folder(f"{REGISTRY}{name}/{chosen}", Storage(folder))


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
