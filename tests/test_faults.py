"""kill -9 at any moment: the same command goes on, and no finished trial is lost or repeated."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration import cluster
from orchestration.folder import StudyFolder

ROOT = Path(__file__).parents[1]
ENDED = ("complete", "pruned", "failed")


def _start(code: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
        )


def _wait(process: subprocess.Popen[bytes], condition: Callable[[], bool], seconds: float = 120) -> None:
    """Until the condition holds or the process ended."""
    end = time.monotonic() + seconds
    while process.poll() is None and not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _states(folder: Path) -> dict[str, bytes]:
    """state.json of every trial and final, by name."""
    found = sorted(folder.glob("trials/*/state.json")) + sorted(folder.glob("finals/*/state.json"))
    return {f"{path.parts[-3]}/{path.parts[-2]}": path.read_bytes() for path in found}


def _ended(folder: Path) -> dict[str, bytes]:
    return {name: raw for name, raw in _states(folder).items() if json.loads(raw)["status"] in ENDED}


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _epochs_written(folder: Path) -> int:
    return sum(len(_lines(path)) for path in folder.glob("*/*/"))


def _search_with_kills(study: Path, folder: Path, trials: int, kills: int, log: Path) -> int:
    """Start the command until it ends by itself, killing it so many times; returns how many hit."""
    rng = random.Random(0)
    hit = 0
    for start in range(kills + 3):
        before, known = _epochs_written(folder), _ended(folder)
        driver = _start(["-m", "orchestration.tune", "--space", str(study)], log)
        if start < kills:
            # Once this start trains, after so many epochs more and a moment.
            after = before + rng.randint(1, 7)
            _wait(driver, lambda after=after: _epochs_written(folder) >= after)  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.3))
            driver.kill()
        code = driver.wait(timeout=150)
        hit += code == -signal.SIGKILL
        now = _states(folder)
        assert {name: now[name] for name in known} == known, "what had ended has changed"
        assert len(list(folder.glob("trials/*"))) <= trials
        if code != -signal.SIGKILL:
            assert code == 0, log.read_text()[-3000:]
            return hit
    raise AssertionError(f"not done after {kills + 3} starts\n{log.read_text()[-3000:]}")


def _require_whole(folder: Path, trials: int, epochs: int, finals: int) -> None:
    states = {name: json.loads(raw) for name, raw in _states(folder).items()}
    assert all(state["status"] in ENDED for state in states.values()), states
    names = [name for name in states if name.startswith("trials/")]
    assert names == [f"trials/{number:04d}" for number in range(trials)]
    points = [json.dumps(states[name]["params"], sort_keys=True) for name in names]
    assert len(set(points)) == trials, "a point was drawn twice"
    for name, state in states.items():
        lines = _lines(folder / name)
        assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
        assert state["status"] in ("complete", "pruned"), state["reason"]
        assert (len(lines) == epochs) is (state["status"] == "complete")
        assert state["value"] == min(line["val/age_mae"] for line in lines)
    scored = [name for name, state in states.items() if state["test"] is not None]
    assert len(scored) == finals and all(name.startswith("finals/") for name in scored)
    ledger = [json.loads(path.read_text()) for path in (folder / "test_ledger").iterdir()]
    assert sorted(entry["run"] for entry in ledger) == scored


def _equal_in_optuna(folder: Path) -> None:
    """The file that optuna-dashboard opens says what the study folder says."""
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from orchestration.journal import NAME, differences
    from orchestration.study import study_on_disk

    study = study_on_disk(str(folder.parent), folder.name)
    assert study is not None
    storage = JournalStorage(JournalFileBackend(str(folder / NAME)))
    assert differences(StudyFolder(study), load_study(study_name=None, storage=storage)) == []


def _whole_in_mlflow(folder: Path, uri: str) -> None:
    """Every member is one run there, ended, with every epoch's values once."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(folder.name)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    by_name = {run.data.tags["rapl.run"]: run for run in runs}
    states = _states(folder)
    assert len(runs) == len(by_name) == len(states) + 1 and set(by_name) == {*states, "study"}
    for name in states:
        assert by_name[name].info.status in ("FINISHED", "KILLED", "FAILED")
        history = client.get_metric_history(by_name[name].info.run_id, "val/age_mae")
        own = [(line["epoch"], line["val/age_mae"]) for line in _lines(folder / name)]
        assert sorted((m.step, m.value) for m in history) == own, name


def _demo(document: dict[str, Any], trials: int) -> dict[str, Any]:
    """The tiny study with epochs long enough to be killed in: some 0.3 s."""
    document["run"]["data"]["root"] = "synthetic:1500x32"
    document["run"]["model"]["backbone"]["width"] = 12
    document["run"]["train"] = {"epochs": 5, "batch_size": 64}
    document["search"] = {"trials": trials, "startup": 3}
    document["final"] = {"top_k": 1, "seeds": 1}
    return document


def test_a_search_killed_three_times_loses_and_repeats_nothing(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    study, folder = written(_demo(document, trials=6)), tmp_path / "runs" / "tiny"
    assert _search_with_kills(study, folder, 6, 3, tmp_path / "log") >= 2
    _require_whole(folder, trials=6, epochs=5, finals=1)
    _equal_in_optuna(folder)
    _whole_in_mlflow(folder, f"sqlite:///{tmp_path}/runs/mlflow.db")


@pytest.mark.slow
def test_a_search_killed_twenty_times_loses_and_repeats_nothing(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    document = _demo(document, trials=12)
    document["run"]["data"]["root"] = "synthetic:3000x32"
    document["run"]["train"]["epochs"] = 12
    study, folder = written(document), tmp_path / "runs" / "tiny"
    assert _search_with_kills(study, folder, 12, 20, tmp_path / "log") >= 12
    _require_whole(folder, trials=12, epochs=12, finals=1)


# A checkpoint every epoch instead of every 30 s, so that there is one to go on from.
SINGLE = """
import sys
import orchestration.run
from orchestration import cli, train
orchestration.run.CHECKPOINT_SECONDS = 0
sys.argv = ["train.py", *sys.argv[1:]]
cli.run(train.main)
"""
CLOCK = ("time", "train/seconds", "train/images_per_second", "train/memory_gib")


def test_a_killed_run_goes_on_and_ends_as_one_that_was_never_killed(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    document = _demo(document, trials=1)
    document["run"]["train"]["epochs"] = 8
    path = str(written(document))

    def run(storage: Path) -> list[str]:
        return ["-c", SINGLE, "--space", path, f"storage={storage}"]

    def only(storage: Path) -> Path:
        found = list((storage / "tiny" / "single").glob("*"))
        return found[0] if found else storage / "nothing yet"

    killed = _start(run(tmp_path / "killed"), tmp_path / "log")
    _wait(killed, lambda: len(_lines(only(tmp_path / "killed"))) >= 3)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "it ended before it could be killed"
    before = _lines(only(tmp_path / "killed"))
    assert 3 <= len(before) < 8
    both = [_start(run(tmp_path / name), tmp_path / "log") for name in ("killed", "whole")]
    assert [process.wait(timeout=120) for process in both] == [0, 0], (tmp_path / "log").read_text()

    killed_folder, whole_folder = only(tmp_path / "killed"), only(tmp_path / "whole")
    lines, whole = _lines(killed_folder), _lines(whole_folder)
    # Not trained again, but for an epoch whose line was there and its checkpoint was not yet.
    assert lines[: len(before) - 1] == before[:-1]
    for line in (*lines, *whole):
        for key in CLOCK:
            del line[key]
    assert lines == whole
    results = [json.loads((folder / "result.json").read_text()) for folder in (killed_folder, whole_folder)]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["best_epoch"] == results[1]["best_epoch"]
    attempts = [json.loads((f / "state.json").read_text())["attempt"] for f in (killed_folder, whole_folder)]
    assert attempts == [2, 1]


# --- Faults that take longer: pytest -m faults ---


def _tune(path: Path, log: Path, *overrides: str) -> subprocess.Popen[bytes]:
    return _start(["-m", "orchestration.tune", "--space", str(path), *overrides], log)


@pytest.mark.slow
def test_a_driver_killed_at_ten_moments_leaves_one_study(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    """12 trials; also while Optuna's file or a checkpoint is written, since these follow every epoch."""
    document = _demo(document, trials=12)
    study, folder = written(document), tmp_path / "runs" / "tiny"
    assert _search_with_kills(study, folder, 12, 10, tmp_path / "log") >= 6
    _require_whole(folder, trials=12, epochs=5, finals=1)
    _equal_in_optuna(folder)
    _whole_in_mlflow(folder, f"sqlite:///{tmp_path}/runs/mlflow.db")


def _pids(folder: Path, trial: str) -> list[int]:
    found = sorted((folder / trial / "processes").glob("*.json"))
    return [int(json.loads(path.read_text())["pid"]) for path in found]


@pytest.mark.faults
def test_a_trials_process_may_be_killed_once_and_one_that_hangs_is_ended(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    document = _demo(document, trials=4)
    document["search"]["scheduler"] = "none"
    document["resources"]["stall_minutes"] = 0.5
    folder = tmp_path / "runs" / "tiny"
    driver = _tune(written(document), tmp_path / "log")
    _wait(driver, lambda: len(_lines(folder / "trials/0000")) >= 2)
    os.kill(_pids(folder, "trials/0000")[0], signal.SIGKILL)
    _wait(driver, lambda: len(_lines(folder / "trials/0001")) >= 1)
    os.kill(_pids(folder, "trials/0001")[0], signal.SIGSTOP)  # it will never report again
    assert driver.wait(timeout=240) == 0, (tmp_path / "log").read_text()[-3000:]
    states = [json.loads(raw) for name, raw in _states(folder).items() if name.startswith("trials")]
    assert [s["status"] for s in states] == ["complete", "failed", "complete", "complete"]
    assert (states[1]["cause"], states[1]["reason"]) == ("hang", "hang: no report for 0.5 minutes")
    assert [line["epoch"] for line in _lines(folder / "trials/0000")] == [1, 2, 3, 4, 5]
    _equal_in_optuna(folder)


@pytest.mark.faults
def test_a_ray_train_worker_may_be_killed(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    document = _demo(document, trials=1)
    document["resources"] = {"launcher": "train", "device": "cpu", "concurrent": 1}
    document["final"] = {"top_k": 0}
    folder = tmp_path / "runs" / "tiny"
    driver = _tune(written(document), tmp_path / "log")
    _wait(driver, lambda: len(_lines(folder / "trials/0000")) >= 2)
    os.kill(_pids(folder, "trials/0000")[0], signal.SIGKILL)
    assert driver.wait(timeout=240) == 0, (tmp_path / "log").read_text()[-3000:]
    assert [line["epoch"] for line in _lines(folder / "trials/0000")] == [1, 2, 3, 4, 5]
    _equal_in_optuna(folder)


@pytest.mark.faults
def test_a_full_disk_is_the_machines_fault_and_the_study_goes_on_when_there_is_room(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    small = tmp_path / "runs"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        document = _demo(document, trials=4)
        document["search"]["scheduler"] = "none"
        folder = small / "tiny"
        driver = _tune(written(document), tmp_path / "log")
        _wait(driver, lambda: _epochs_written(folder) >= 3)
        filler = small / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        assert driver.wait(timeout=240) == 3, (tmp_path / "log").read_text()[-3000:]
        assert "no space left on the disk" in (tmp_path / "log").read_text()
        filler.unlink()
        assert _tune(written(document), tmp_path / "log").wait(timeout=240) == 0
        _require_whole(folder, trials=4, epochs=5, finals=1)
        _equal_in_optuna(folder)
        _whole_in_mlflow(folder, f"sqlite:///{small}/mlflow.db")
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def _server(port: int, store: Path, log: Path) -> subprocess.Popen[bytes]:
    code = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    code += ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination", str(store)]
    return _start(code, log)


@pytest.mark.faults
def test_what_was_written_while_the_mlflow_server_was_away_arrives_later(
    document: dict[str, Any],
    written: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    port, store = cluster.free_port(), tmp_path / "server"
    store.mkdir()
    document = _demo(document, trials=3)
    document["search"]["scheduler"] = "none"
    document["tracking_uri"] = f"http://127.0.0.1:{port}"
    folder = tmp_path / "runs" / "tiny"
    path = written(document)
    server = _server(port, store, tmp_path / "server.log")
    try:
        driver = _tune(path, tmp_path / "log")
        _wait(driver, lambda: (folder / "mlflow.json").exists() and _epochs_written(folder) >= 2)
        server.kill()
        server.wait()
        before = _epochs_written(folder)
        _wait(driver, lambda: _epochs_written(folder) >= before + 6)
        server = _server(port, store, tmp_path / "server.log")
        assert driver.wait(timeout=240) == 0, (tmp_path / "log").read_text()[-3000:]
        # At the latest the same command sends what is missing.
        assert _tune(path, tmp_path / "log").wait(timeout=240) == 0
        _whole_in_mlflow(folder, document["tracking_uri"])
    finally:
        server.kill()
        server.wait()


@pytest.mark.faults
def test_a_budget_ends_the_search_and_a_raised_one_goes_on(
    document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    document = _demo(document, trials=6)
    document["search"]["scheduler"] = "none"
    document["budget"] = {"epochs": 17}  # 5 of them for the final seed
    folder = tmp_path / "runs" / "tiny"
    assert _tune(written(document), tmp_path / "log").wait(timeout=240) == 0
    assert "the budget ended the search (budget.epochs: 17, " in (tmp_path / "log").read_text()
    states = {name: json.loads(raw) for name, raw in _states(folder).items()}
    trained = sum(len(_lines(folder / name)) for name in states if name.startswith("trials"))
    assert 12 <= trained <= 14  # two go at once
    scored = [name for name, state in states.items() if state["test"]]
    assert len(scored) == 1 and scored[0].startswith("finals/")
    ended = _ended(folder)
    assert _tune(written(document), tmp_path / "log").wait(timeout=240) == 0
    assert _ended(folder) == ended  # nothing more
    document["budget"] = {"epochs": 100}
    assert _tune(written(document), tmp_path / "log").wait(timeout=240) == 0
    states = {name: json.loads(raw) for name, raw in _states(folder).items()}
    trials = [state["status"] for name, state in states.items() if name.startswith("trials")]
    assert trials == ["complete"] * 6
    _equal_in_optuna(folder)
