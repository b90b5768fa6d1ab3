"""A user's mistake is one message on stderr and exit code 2; no traceback."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestration import cli, cluster, train, tune
from orchestration.errors import MachineError, UserError
from orchestration.lock import Lock
from orchestration.storage import Storage

ROOT = Path(__file__).parents[2]
COMMANDS = {"train": train.main, "tune": tune.main}

Outcome = tuple[int, str]


@pytest.fixture
def typed(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs a command as `python -m` does, in this process; returns its exit code and stderr."""

    def run(name: str, *arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.run(COMMANDS[name])
        return int(str(ended.value.code)), capsys.readouterr().err

    return run


def require_message(outcome: Outcome, *words: str) -> None:
    code, text = outcome
    assert code == 2, text
    assert "Traceback" not in text
    assert text.startswith("error: ")
    assert all(word in text for word in words), text


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_study_that_does_not_exist(typed: Callable[..., Outcome], command: str) -> None:
    require_message(typed(command, "--space", "dmeo.yaml"), "dmeo.yaml", "'demo.yaml'")


def test_a_file_that_is_not_yaml(typed: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("study: x\nrun: {data: [}\n")
    require_message(typed("tune", "--space", path), str(path), "YAML", "line 2")


@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_data_set_that_is_not_there(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], command: str
) -> None:
    outcome = typed(command, "--space", written(document), "data.root=/nowhere/utkface")
    require_message(outcome, "/nowhere/utkface", "does not exist", "data.prepare")


def test_a_synthetic_data_set_that_cannot_be_drawn(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any]
) -> None:
    outcome = typed("train", "--space", written(document), "data.root=synthetic:manyx24")
    require_message(outcome, "synthetic:manyx24", "COUNTxSIZE")


def test_a_protocol_that_the_data_set_cannot_serve(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any]
) -> None:
    outcome = typed("train", "--space", written(document), "data.protocol=subject_exclusive")
    require_message(outcome, "subject_exclusive needs an identity", "image_random")


def test_weights_that_are_not_there(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any]
) -> None:
    outcome = typed("tune", "--space", written(document), "model.backbone.weights=/nowhere/w.pt")
    require_message(outcome, "/nowhere/w.pt", "does not exist")


def test_weights_of_another_network(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], weights: Path
) -> None:
    arguments = ("--space", written(document), f"model.backbone.weights={weights}")
    outcome = typed("train", *arguments, "model.backbone.width=9")
    require_message(outcome, str(weights), "does not fit", "input_layer.0.weight", "[8, 3, 3, 3]")


def test_a_file_that_holds_no_weights(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"no weights")
    outcome = typed("train", "--space", written(document), f"model.backbone.weights={path}")
    require_message(outcome, str(path), "model.backbone.weights", "checkpoint")


def test_a_frozen_backbone_without_weights(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any]
) -> None:
    changes = ("model.train_backbone=false", "model.neck.name=mlp")
    outcome = typed("tune", "--space", written(document), *changes)
    require_message(outcome, "model.backbone.weights", "model.train_backbone=true")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", ["train", "tune"])
def test_a_gpu_where_there_is_none(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], command: str
) -> None:
    document["resources"] = {}
    outcome = typed(command, "--space", written(document), "resources.gpus_per_worker=1")
    require_message(outcome, "GPU", "resources.device=cpu")


def test_more_cpus_than_there_are(
    typed: Callable[..., Outcome],
    written: Callable[..., Path],
    document: dict[str, Any],
    ray_session: cluster.Capacity,
) -> None:
    outcome = typed("tune", "--space", written(document), "resources.cpus_per_worker=1000")
    code, text = outcome
    assert code == 2 and "1000 CPU" in text and "Traceback" not in text
    assert f"has {ray_session.cpus:g}" in text


def test_a_cluster_that_does_not_answer_is_said_before_ray_waits_for_it() -> None:
    with pytest.raises(UserError, match=r"--address .*: nothing answers there"):
        cluster.start(f"127.0.0.1:{cluster.free_port()}", dashboard=False, verbose=False)


def test_a_ray_that_does_not_start_is_the_machines_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ray").write_text("a file where Ray wants its folder")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(MachineError, match="Ray does not start on this machine: "):
        cluster.start(None, dashboard=False, verbose=False)


def test_a_samplers_package_is_missed_before_ray_starts(
    typed: Callable[..., Outcome],
    written: Callable[..., Path],
    document: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cmaes" else find(name))
    outcome = typed("tune", "--space", written(document), "search.sampler=cmaes", "search.scheduler=none")
    require_message(outcome, "cmaes needs the package cmaes", "pip install")
    assert not (tmp_path / "runs").exists()


def test_a_second_driver_on_one_study(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], tmp_path: Path
) -> None:
    with Lock(Storage(str(tmp_path / "runs" / "tiny"))):
        outcome = typed("tune", "--space", written(document))
    require_message(outcome, f"process {os.getpid()}", "runs this already")


def test_a_study_folder_of_another_format(
    typed: Callable[..., Outcome], written: Callable[..., Path], document: dict[str, Any], tmp_path: Path
) -> None:
    trial = tmp_path / "runs" / "tiny" / "trials" / "0000"
    trial.mkdir(parents=True)
    (trial / "state.json").write_text('{"format_version": 99}')
    outcome = typed("tune", "--space", written(document))
    require_message(outcome, "state.json", "format version 99")


def test_a_foreign_data_package_before_ours(
    tmp_path: Path, written: Callable[..., Path], document: dict[str, Any]
) -> None:
    foreign = tmp_path / "foreign" / "data"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("")
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.tune", "--space", str(written(document))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{foreign.parent}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == 2
    assert f"the package `data` comes from {foreign.parent}" in result.stderr


@pytest.mark.parametrize("command", ["train", "tune"])
def test_help_imports_no_library(command: str) -> None:
    code = (
        f"import sys, orchestration.{command} as c\nsys.argv = ['x', '--help']\n"
        "try: c.main()\nexcept SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'ray', 'numpy', 'pyarrow', 'pydantic', 'mlflow', 'optuna', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert "--space" in result.stdout and result.stdout.splitlines()[-1] == "[]"
