"""A study's runs in MLflow, found again and added to by commands that come after it. Imports no torch."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from data.cache import cache_root
from orchestration.records import Member
from orchestration.storage import Storage

UID = "rapl.study"
NAME = "rapl.run"


def uri_of(study: Storage) -> str | None:
    """The study's MLflow: its file's, else MLFLOW_TRACKING_URI, else the SQLite file (`default_file`).

    None where there is no such file: what comes after a study starts no store.
    """
    file = yaml.safe_load(study.get("study.yaml") or b"{}") or {}
    given = file.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
    beside = default_file(study)
    return str(given) if given else f"sqlite:///{beside}" if beside.is_file() else None


def default_file(study: Storage) -> Path:
    """The SQLite file of a study that names no store: beside the studies; where those lie in an object store,
    in the cache folder of the machine the command runs on, since SQLite needs a disk.

    It can be made again: a study that goes on elsewhere sends all that it has to the store it finds there.
    """
    return study.local.parent / "mlflow.db" if study.local is not None else cache_file()


def cache_file() -> Path:
    """The SQLite file of this machine for studies that lie in object stores."""
    return cache_root() / "mlflow" / "mlflow.db"


def connect(uri: str) -> Any:
    """A client of the store at `uri`, quiet, that does not wait for minutes for a server that is away."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    # A line for every run that ends at a server would go between those of the study.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


def key_of(member: Member) -> str:
    """What a member's MLflow run is found by. A single run that began again is another run."""
    return f"{member.name}@{member.started:.0f}" if member.name.startswith("single/") else member.name


def add(study: Storage, key: str, log: Callable[[Any, str], None]) -> str:
    """Have `log(client, run_id)` add to the study's run called `key`; returns what became of it.

    MLflow is never the reason that a command fails: whatever it raises is in the words returned.
    """
    uri = uri_of(study)
    if uri is None:
        return "not in MLflow: no store beside the study"
    try:
        client = connect(uri)
        run = _find(client, study, key)
        if run is None:
            return f"MLflow at {uri} has no run of it"
        log(client, run)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")[:200]
        return f"MLflow at {uri} did not take it ({type(error).__name__}: {first})"
    return f"in MLflow at {uri}, run {run}"


def _find(client: Any, study: Storage, key: str) -> str | None:
    uid = (study.get_json("mlflow.json") or {}).get("uid", "")
    experiments = [one.experiment_id for one in client.search_experiments()]
    asked = f"tags.`{UID}` = '{uid}' and tags.`{NAME}` = '{key}'"
    runs = client.search_runs(experiments, asked, max_results=1)
    return str(runs[0].info.run_id) if runs else None
