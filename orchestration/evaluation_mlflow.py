"""An evaluation in MLflow: metrics and files on the run of the model that was evaluated."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from orchestration.evaluation import Evaluation
from orchestration.evaluation_pass import Subject
from orchestration.mlflow_store import NAME, UID, key_of
from orchestration.storage import Storage

FOLDER = "evaluation"  # of the artifacts


def uri_of(study: Storage) -> str | None:
    """The study's MLflow: its file's, else MLFLOW_TRACKING_URI, else the SQLite file beside the studies.

    None where there is no such file: an evaluation starts no store.
    """
    file = yaml.safe_load(study.get("study.yaml") or b"{}") or {}
    given = file.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
    beside = Path(study.root).parent / "mlflow.db"
    return str(given) if given else f"sqlite:///{beside}" if beside.is_file() else None


def send(model: Subject, found: Sequence[Evaluation], files: Sequence[Path]) -> str:
    """Log a model's evaluations on its run, again where they were logged before; returns what became of it.

    MLflow is never the reason that an evaluation fails: whatever it raises is in the words returned.
    """
    if model.study is None or model.member is None:
        return f"{model.name}: lies in no study, so MLflow has no run of it"
    uri = uri_of(model.study)
    if uri is None:
        return f"{model.name}: no MLflow store beside its study"
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        client = MlflowClient(tracking_uri=uri)
        run = _run(client, model)
        if run is None:
            return f"{model.name}: MLflow at {uri} has no run of it"
        _log(client, run, found)
        for file in files:
            client.log_artifact(run, str(file), FOLDER)
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")[:200]
        return f"{model.name}: MLflow at {uri} did not take it ({type(error).__name__}: {first})"
    return f"{model.name}: in MLflow at {uri}, run {run}"


def _run(client: Any, model: Subject) -> str | None:
    assert model.study is not None
    assert model.member is not None
    uid = (model.study.get_json("mlflow.json") or {}).get("uid", "")
    experiments = [one.experiment_id for one in client.search_experiments()]
    asked = f"tags.`{UID}` = '{uid}' and tags.`{NAME}` = '{key_of(model.member)}'"
    runs = client.search_runs(experiments, asked, max_results=1)
    return str(runs[0].info.run_id) if runs else None


def _log(client: Any, run: str, found: Sequence[Evaluation]) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    values = {f"eval/{one.data}/{name}": value for one in found for name, value in one.metrics.items()}
    for one in found:
        of_all = [c for c in one.coverage if c.group == "all ages"]
        values |= {f"eval/{one.data}/coverage_{c.kind}": c.share for c in of_all}
        for c in one.challenges:
            if c.passed is not None:
                values[f"eval/{one.data}/pass_{c.challenge:g}_{c.group}"] = c.passed
    client.log_batch(run, metrics=[Metric(name, value, now, 0) for name, value in values.items()])
    for one in found:
        told = "; ".join(f"{kind}: {verdict.verdict}" for kind, verdict in one.leaks.items())
        client.set_tag(run, f"eval.{one.data}.leaks", told)
