"""Studies listed, stopped and deleted; commands whose help loads nothing heavy."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration import shelf
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.storage import Storage
from orchestration.study import Study

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]
HEAVY = ("torch", "ray", "mlflow", "optuna", "pandas")
DRIVER = """
import sys, time
from orchestration.lock import Lock
from orchestration.stop import StopWatch
from orchestration.storage import Storage
storage = Storage(sys.argv[1])
with Lock(storage), StopWatch(storage):
    print("ready", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def folder(load: Callable[..., Study]) -> StudyFolder:
    """A study with two finished trials, one stopped and one cut off."""
    folder = StudyFolder(load("search.trials=6"))
    inputs = Inputs("nowhere", "f", "s", (1, 2))
    folder.begin(inputs)
    for number, (status, value) in enumerate(
        [("complete", 5.5), ("complete", 5.25), ("pruned", 4.0), ("running", None)]
    ):
        member = folder.start(Member(f"trials/{number:04d}"), folder.study.config(), inputs)
        if status != "running":
            folder.end(member, status, value=value)
    return folder


@pytest.fixture
def driver(folder: StudyFolder) -> subprocess.Popen[str]:
    """A process that runs the study."""
    made = subprocess.Popen(
        [sys.executable, "-c", DRIVER, folder.storage.root],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    yield made
    if made.poll() is None:
        made.send_signal(signal.SIGKILL)
    made.wait()


def test_a_study_is_listed_with_its_state_and_how_to_go_on(folder: StudyFolder) -> None:
    (one,) = shelf.entries(Storage(folder.study.storage))
    assert (one.state, one.best, one.planned) == ("interrupted", 5.25, 6)
    assert one.members == {"trials": {"complete": 2, "pruned": 1, "running": 1}}
    assert one.go_on == f"python -m orchestration.tune --space {folder.storage.root}/study.yaml"
    files = [p for p in Path(folder.storage.root).rglob("*") if p.is_file()]
    assert one.size == sum(p.stat().st_size for p in files)


def test_complete_is_what_its_driver_said_and_nothing_cut_off(folder: StudyFolder) -> None:
    folder.done()
    assert shelf.entry(folder.storage).state == "interrupted"  # trial 3 is cut off
    member = folder.member("trials/0003")
    assert member is not None
    folder.end(member, "failed", reason="x")
    assert shelf.entry(folder.storage).state == "complete"
    folder.begin(Inputs("nowhere", "f", "s", (1, 2)))
    assert shelf.entry(folder.storage).state == "interrupted"


def test_a_damaged_study_does_not_hide_the_others(folder: StudyFolder) -> None:
    storage = Path(folder.study.storage)
    (storage / "other" / "trials" / "0000").mkdir(parents=True)
    (storage / "other" / "trials" / "0000" / "state.json").write_text("{")
    (storage / "features").mkdir()
    (storage / "list").mkdir()
    (storage / "list" / "study.yaml").write_text("- no mapping")
    assert [(e.name, e.state) for e in shelf.entries(Storage(str(storage)))] == [
        ("list", "damaged"),
        ("other", "damaged"),
        ("tiny", "interrupted"),
    ]


def test_a_running_study_is_stopped_but_not_deleted(
    folder: StudyFolder,
    driver: subprocess.Popen[str],
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    path = Path(folder.storage.root)
    found = shelf.entry(folder.storage)
    assert found.state == "running"
    assert f"process {driver.pid} on " in found.holder
    with pytest.raises(UserError, match=f"process {driver.pid}.*--stop tiny"):
        shelf.delete(folder.storage.parent(), "tiny")
    stopped = command("studies", "--storage", str(path.parent), "--stop", "tiny")
    assert stopped.returncode == 0, stopped.stderr
    assert driver.wait(10) == 130
    assert stopped.stdout.strip().endswith(f"orchestration.tune --space {path}/study.yaml")
    again = command("studies", "--storage", str(path.parent), "--stop", "tiny")
    assert again.returncode == 2
    assert "nothing runs this study" in again.stderr


def test_deleting_follows_no_link_and_takes_only_studies(folder: StudyFolder, tmp_path: Path) -> None:
    storage = Path(folder.study.storage)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "faces.arrow").write_text("precious")
    (Path(folder.storage.root) / "link").symlink_to(elsewhere)
    (storage / "alias").symlink_to(folder.storage.root)
    (storage / "features").mkdir()
    for other in ("tiny2/study.yaml", ".before/tiny-20260101-000000/study.yaml", "mlflow.db"):
        (storage / other).parent.mkdir(parents=True, exist_ok=True)
        (storage / other).write_text(other)
    for name in ("alias", "features", ".before", "tin", "..", "../elsewhere", ""):
        with pytest.raises(UserError, match="has no study"):
            shelf.delete(Storage(str(storage)), name)
    shelf.delete(Storage(str(storage)), "tiny")
    there = sorted(p.relative_to(storage).as_posix() for p in storage.rglob("*") if not p.is_dir())
    assert there == [".before/tiny-20260101-000000/study.yaml", "alias", "mlflow.db", "tiny2/study.yaml"]
    assert (storage / "features").is_dir()
    assert (elsewhere / "faces.arrow").read_text() == "precious"


def test_delete_asks_where_nobody_answers(folder: StudyFolder, command: Command) -> None:
    refused = command("studies", "--storage", folder.study.storage, "--delete", "tiny")
    assert refused.returncode == 2
    assert "give --yes" in refused.stderr
    assert Path(folder.storage.root).is_dir()
    done = command("studies", "--storage", folder.study.storage, "--delete", "tiny", "--yes")
    assert done.returncode == 0, done.stderr
    assert not Path(folder.storage.root).exists()


def test_an_old_request_to_stop_is_void(folder: StudyFolder) -> None:
    folder.storage.put_json("stop.json", {})
    made = subprocess.Popen(
        [sys.executable, "-c", DRIVER, folder.storage.root],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert made.stdout is not None
    made.stdout.readline()
    time.sleep(1.5)
    assert made.poll() is None
    made.kill()
    made.wait()


def _loaded(code: str) -> list[str]:
    """Which heavy packages a Python program has loaded when it ends."""
    ending = f"import sys, json, atexit; atexit.register(lambda: print(json.dumps([m for m in {HEAVY!r}"
    done = subprocess.run(
        [sys.executable, "-c", f"{ending} if m in sys.modules])))\n{code}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return list(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    sorted(
        f"{package}.{path.stem}"
        for package in ("orchestration", "data", "model")
        for path in (ROOT / package).glob("*.py")
        if "__main__" in path.read_text()
    ),
)
def test_help_loads_nothing_heavy(module: str) -> None:
    code = f"import runpy; sys.argv = ['x', '--help']; runpy.run_module({module!r}, run_name='__main__')"
    assert _loaded(code) == []


def test_listing_studies_loads_nothing_heavy(folder: StudyFolder) -> None:
    argv = ["x", "--storage", folder.study.storage]
    code = (
        f"import runpy; sys.argv = {argv!r}; runpy.run_module('orchestration.studies', run_name='__main__')"
    )
    assert _loaded(code) == []
