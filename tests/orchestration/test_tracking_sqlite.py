"""A study's folder in MLflow: parent and children, one set of keys, every epoch once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.study import Study
from orchestration.tracking import Tracker

INPUTS = Inputs("/faces", "print", "split", (1, 2, 3))
SPACE = {
    "model.neck.name": {"choices": ["none", "mlp"]},
    "model.neck.width": {"low": 8, "high": 64, "when": {"model.neck.name": "mlp"}},
}


def _put(folder: StudyFolder, name: str, params: dict[str, Any], errors: list[float]) -> Member:
    seed = 1 if name.startswith("finals") else 0
    member = Member(name, params=params, seed=seed)
    member = folder.start(member, folder.study.config(params, seed), INPUTS)
    lines = [
        {"epoch": i + 1, "time": 1000.0 + i, "best": min(errors[: i + 1]), "val/age_mae": error}
        for i, error in enumerate(errors)
    ]
    put_metrics(folder.storage.child(name), lines)
    return member


def test_a_server_is_looked_at_in_a_browser_and_a_database_with_mlflows_page(
    load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    looks = [
        Tracker(StudyFolder(load(*given)), [], {}).look for given in ([], ["tracking_uri=http://host:5"])
    ]
    assert looks[0].startswith("mlflow ui --backend-store-uri sqlite:///")
    assert looks[1] == "http://host:5"


def _send(folder: StudyFolder) -> None:
    with Tracker(folder, ["trials", "finals"], {"git_commit": "abc"}) as tracker:
        pass
    assert tracker.problem is None


@pytest.fixture
def folder(load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study with a finished, a pruned, a failed and a running trial and one final."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = StudyFolder(load(space=SPACE))
    mlp = {"model.neck.name": "mlp", "model.neck.width": 9}
    folder.end(
        _put(folder, "trials/0000", {"model.neck.name": "none"}, [9.0, 8.0, 8.5]), "complete", value=8.0
    )
    folder.end(_put(folder, "trials/0001", mlp, [9.5]), "pruned", value=9.5)
    folder.end(_put(folder, "trials/0002", mlp, []), "failed", reason="loss is not finite in epoch 1")
    _put(folder, "trials/0003", {"model.neck.name": "none"}, [7.0])
    final = _put(folder, "finals/0000-seed1", {"model.neck.name": "none"}, [8.0, 7.5])
    folder.storage.put(f"{final.name}/predictions/test.parquet", b"rows")
    folder.end(final, "complete", value=7.5, test={"age_mae": 7.75})
    return folder


def test_a_study_is_in_mlflow_whole_once_and_goes_on(folder: StudyFolder, tmp_path: Path) -> None:
    """One test, since a fresh SQLite store takes seconds to make."""
    from mlflow import MlflowClient

    _send(folder)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None

    def runs() -> dict[str, Any]:
        found = client.search_runs([experiment.experiment_id])
        return {run.data.tags["rapl.run"]: run for run in found}

    def history(name: str, key: str) -> list[tuple[int, float]]:
        metrics = client.get_metric_history(runs()[name].info.run_id, key)
        return sorted((metric.step, metric.value) for metric in metrics)

    def everything() -> dict[str, Any]:
        return {
            name: (run.info.run_id, run.info.status, run.data.params, run.data.tags,
                   {key: history(name, key) for key in run.data.metrics})
            for name, run in runs().items() if name != "study"
        }  # fmt: skip

    found = runs()
    trials = [f"trials/{number:04d}" for number in range(4)]
    assert sorted(found) == ["finals/0000-seed1", "study", *trials]
    study = found["study"].info.run_id
    parents = {name: found[name].data.tags.get("mlflow.parentRunId") for name in found}
    assert {parents[name] for name in trials} == {study}
    assert parents["finals/0000-seed1"] == found["trials/0000"].info.run_id

    # One set of keys over the study, `-` where a value does not exist.
    keys = [set(found[name].data.params) for name in trials]
    assert all(one == keys[0] for one in keys)
    widths = [found[name].data.params["model.neck.width"] for name in trials]
    assert widths == ["-", "9", "9", "-"]
    assert found["trials/0001"].data.params["model.neck.name"] == "mlp"

    assert history("trials/0000", "val/age_mae") == [(1, 9.0), (2, 8.0), (3, 8.5)]
    tested = [name for name, run in found.items() if any(k.startswith("test/") for k in run.data.metrics)]
    assert tested == ["finals/0000-seed1"]
    assert found["finals/0000-seed1"].data.metrics["test/age_mae"] == 7.75
    kept = {name: client.list_artifacts(run.info.run_id, "predictions") for name, run in found.items()}
    assert {name: [file.path for file in files] for name, files in kept.items() if files} == {
        "finals/0000-seed1": ["predictions/test.parquet"]
    }

    statuses = [found[name].info.status for name in trials]
    assert statuses == ["FINISHED", "KILLED", "FAILED", "RUNNING"]
    assert [found[name].data.tags.get("status") for name in trials[:3]] == ["complete", "pruned", "failed"]
    failed = found["trials/0002"].data.tags
    assert failed["failure"] == "loss is not finite in epoch 1"
    assert failed["fingerprint"] == "print" and len(failed["identity"]) == 64

    before = everything()
    _send(folder)
    assert everything() == before

    # A later start sends only what is new of the trial that still ran.
    running = folder.members("trials")[3]
    lines = [*folder.lines(running), {"epoch": 2, "time": 1001.0, "best": 6.0, "val/age_mae": 6.0}]
    put_metrics(folder.storage.child(running.name), lines)
    folder.end(running, "complete", value=6.0)
    _send(folder)
    assert history("trials/0003", "val/age_mae") == [(1, 7.0), (2, 6.0)]
    assert runs()["trials/0003"].info.status == "FINISHED"
    assert len(runs()) == 6


def test_a_server_that_is_away_is_a_remark_and_stops_nothing(
    load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder = StudyFolder(load("tracking_uri=http://127.0.0.1:9", space=SPACE))
    with Tracker(folder, ["trials"], {}) as tracker:
        folder.end(_put(folder, "trials/0000", {"model.neck.name": "none"}, [9.0]), "complete", value=9.0)
    assert tracker.problem is not None and "127.0.0.1" in tracker.problem
    assert folder.members("trials")[0].status == "complete"
