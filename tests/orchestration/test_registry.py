"""The winner is chosen on validation alone, and its checkpoint is registered once, with its lineage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.final_seeds import best_trial, finalists, summary, winner
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.study import Study
from orchestration.tracking import Tracker

INPUTS = Inputs("/faces", "print", "split", (1, 2, 3), weights_sha256="abc123")


def _run(folder: StudyFolder, name: str, seed: int, value: float, test: float | None = None) -> Member:
    params = {"loss.gender_weight": 1.0 + int(name.split("/")[1][:4])}
    config = folder.study.config(params, seed)
    member = folder.start(Member(name, params=params, seed=seed), config, INPUTS)
    line = {"epoch": 1, "time": 1000.0, "best": value, "val/age_mae": value}
    put_metrics(folder.storage.child(name), [line])
    folder.storage.put(f"{name}/best.pt", name.encode())
    scores = {"age_mae": test} if test is not None else None
    return folder.end(member, "complete", value=value, test=scores)


@pytest.fixture
def folder(load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """Two finalists of two seeds: trial 0 won the search and the test part, trial 1 the final seeds."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = StudyFolder(load("final.top_k=2", "final.seeds=2", "search.trials=2"))
    folder.begin(INPUTS)
    _run(folder, "trials/0000", 0, 5.0)
    _run(folder, "trials/0001", 0, 5.5)
    for number, seed, value, test in ((0, 1, 7.0, 1.0), (0, 2, 6.0, 1.5), (1, 1, 5.9, 9.0), (1, 2, 5.8, 8.0)):
        _run(folder, f"finals/{number:04d}-seed{seed}", seed, value, test)
    return folder


def test_the_choice_among_finalists_is_by_their_mean_on_validation(folder: StudyFolder) -> None:
    assert [(f.trial, f.validation) for f in finalists(folder)] == [
        (1, pytest.approx(5.85)),
        (0, pytest.approx(6.5)),
    ]
    found = winner(folder)
    assert found is not None and found[1].name == "finals/0001-seed2"


def test_the_best_is_the_final_seeds_winner_or_the_searchs_best_without_them(folder: StudyFolder) -> None:
    assert best_trial(folder) == "trials/0001"
    assert summary(folder)["finals/test_age_mae_mean"] == 8.5
    for name in folder.storage.list("finals"):
        folder.storage.delete(f"finals/{name}/state.json")
    folder = StudyFolder(folder.study)  # a driver does not read again what it saw end
    assert best_trial(folder) == "trials/0000"
    assert "finals/test_age_mae_mean" not in summary(folder)


def test_a_finalist_whose_seeds_are_not_all_done_cannot_win(folder: StudyFolder) -> None:
    member = folder.member("finals/0001-seed1")
    assert member is not None
    folder.fail(member, "hang: no report", "hang", None)
    found = winner(folder)
    assert found is not None and found[1].name == "finals/0000-seed2"


def test_the_winner_is_one_version_of_a_model_with_its_lineage(folder: StudyFolder, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    def send() -> None:
        with Tracker(folder, ["trials", "finals"], {"git_commit": "c0ffee"}) as tracker:
            tracker.summary = {}
        assert tracker.problem is None

    send()
    send()  # the same command again
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    (version,) = client.search_model_versions("name = 'tiny'")
    member = folder.member("finals/0001-seed2")
    assert member is not None
    expected: dict[str, Any] = {
        "identity": member.identity,
        "fingerprint": "print",
        "protocol": "image_random",
        "split_hash": "split",
        "weights_sha256": "abc123",
        "git_commit": "c0ffee",
        "trial": "0001",
        "seed": "2",
        "validation": "5.85",
        "test_age_mae": "8.500 ± 0.707",
    }
    assert expected.items() <= version.tags.items()
    run = client.get_run(version.run_id)
    assert run.data.tags["rapl.run"] == "finals/0001-seed2"
    files = client.download_artifacts(version.run_id, "model", str(tmp_path))
    assert (Path(files) / "best.pt").read_bytes() == b"finals/0001-seed2"
    assert "seed: 2" in (Path(files) / "resolved.yaml").read_text()
