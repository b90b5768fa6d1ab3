"""An evaluation in MLflow: metrics and files on the run of the model that was evaluated."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestration import mlflow_runs
from orchestration.evaluation import Evaluation
from orchestration.evaluation_pass import Subject

FOLDER = "evaluation"  # of the artifacts


def send(model: Subject, found: Sequence[Evaluation], files: Sequence[Path], flip: bool) -> str:
    """Log a model's evaluations on its run, again where they were before; returns what became of it.

    Those of faces seen mirrored too have names of their own.
    """
    if model.study is None or model.member is None:
        return f"{model.name}: lies in no study, so MLflow has no run of it"

    def log(client: Any, run: str) -> None:
        _log(client, run, found, "eval_flip" if flip else "eval")
        for file in files:
            client.log_artifact(run, str(file), f"{FOLDER}_flip" if flip else FOLDER)

    return f"{model.name}: {mlflow_runs.add(model.study, mlflow_runs.key_of(model.member), log)}"


def _log(client: Any, run: str, found: Sequence[Evaluation], kind: str) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    values = {f"{kind}/{one.data}/{name}": value for one in found for name, value in one.metrics.items()}
    for one in found:
        of_all = [c for c in one.coverage if c.group == "all ages"]
        values |= {f"{kind}/{one.data}/coverage_{c.kind}": c.share for c in of_all}
        for c in one.challenges:
            if c.passed is not None:
                values[f"{kind}/{one.data}/pass_{c.challenge:g}_{c.group}"] = c.passed
    client.log_batch(run, metrics=[Metric(name, value, now, 0) for name, value in values.items()])
    for one in found:
        told = "; ".join(f"{kind}: {verdict.verdict}" for kind, verdict in one.leaks.items())
        client.set_tag(run, f"{kind}.{one.data}.leaks", told)
