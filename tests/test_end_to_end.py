"""From a study file to numbers: search, finals, MLflow, going on, Ray Train workers, real faces."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from data import splits
from data.faces import Faces
from data.prepare import prepare
from data.protocols import Spec
from orchestration import cluster, study_file
from orchestration.train import train
from orchestration.tune import tune

ROOT = Path(__file__).parents[1]
Arguments = Callable[..., Namespace]


def _state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return found


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _files(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "driver.lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _ledger(folder: Path) -> list[str]:
    return [json.loads(path.read_text())["run"] for path in (folder / "test_ledger").iterdir()]


def test_a_search_its_finals_its_record_and_going_on_with_more_trials(
    document: dict[str, Any],
    arguments: Arguments,
    ray_session: cluster.Capacity,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One search, seen from all sides: each start of Tune takes seconds."""
    document["final"] = {"top_k": 1, "seeds": 2}
    folder = tmp_path / "runs" / "tiny"
    assert tune(arguments(document)) == 0
    said = capsys.readouterr().out

    trials = [folder / "trials" / f"{number:04d}" for number in range(4)]
    assert sorted((folder / "trials").iterdir()) == trials
    states = [_state(trial) for trial in trials]
    for trial, state in zip(trials, states, strict=True):
        lines = _lines(trial)
        assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
        assert state["status"] == ("complete" if len(lines) == 2 else "pruned")
        assert state["value"] == min(line["val/age_mae"] for line in lines)
        # A search neither scores test data nor keeps checkpoints of what is over.
        assert state["test"] is None and not any("test" in key for line in lines for key in line)
        assert not list(trial.glob("*.pt")) and not (trial / "result.json").exists()
        run = study_file.load(str(trial / "resolved.yaml")).config()
        assert run.loss.gender_weight == state["params"]["loss.gender_weight"]
    assert states[0]["params"] == {"loss.gender_weight": 1.0, "loss.position_weight": 1.0}
    assert len({json.dumps(state["params"]) for state in states}) == 4

    # Finals: the best trial's values, on seeds that the search did not use.
    complete = [state for state in states if state["status"] == "complete"]
    best = min(complete, key=lambda state: state["value"])
    number = best["name"].removeprefix("trials/")
    names = [f"{number}-seed1", f"{number}-seed2"]
    assert [path.name for path in sorted((folder / "finals").iterdir())] == names
    scores = []
    for name in names:
        state = _state(folder / "finals" / name)
        assert state["params"] == best["params"] and state["identity"] == best["identity"]
        assert state["test"]["count"] == 60 and 0 < state["test"]["age_mae"] < 80
        scores.append(state["test"]["age_mae"])
    assert scores[0] != scores[1]
    assert sorted(_ledger(folder)) == [f"finals/{name}" for name in names]
    assert f"{np.mean(scores):.3f}" in said

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None

    def runs() -> dict[str, Any]:
        found = client.search_runs([experiment.experiment_id])
        return {run.data.tags["rapl.run"]: run for run in found}

    found = runs()
    expected = ["study", *(s["name"] for s in states), *(f"finals/{name}" for name in names)]
    assert sorted(found) == sorted(expected)
    for state in states:
        history = client.get_metric_history(found[state["name"]].info.run_id, "val/age_mae")
        own = [(line["epoch"], line["val/age_mae"]) for line in _lines(folder / state["name"])]
        assert sorted((m.step, m.value) for m in history) == own
    scored = {name for name, run in found.items() if "test/age_mae" in run.data.metrics}
    assert {f"finals/{name}" for name in names} <= scored <= {"study", *(f"finals/{n}" for n in names)}

    # The same command again runs nothing; two trials more run two, and the best may be another.
    before = {trial.name: _files(trial) for trial in trials}
    assert tune(arguments(document)) == 0
    assert {trial.name: _files(trial) for trial in trials} == before
    document["search"]["trials"] = 6
    assert tune(arguments(document)) == 0
    assert {trial.name: _files(trial) for trial in trials} == before
    assert [p.name for p in sorted((folder / "trials").iterdir())] == [f"{n:04d}" for n in range(6)]
    assert all(_state(folder / "trials" / f"{n:04d}")["attempt"] == 1 for n in range(6))
    assert sum(name.startswith("trials/") for name in runs()) == 6
    assert len(_ledger(folder)) == len(set(_ledger(folder)))


def test_frozen_and_conditional_values_are_searched_without_training_the_backbone(
    document: dict[str, Any],
    arguments: Arguments,
    weights: Path,
    ray_session: cluster.Capacity,
    tmp_path: Path,
) -> None:
    document["run"]["model"] = {
        "backbone": {"name": "small_ir", "width": 8, "weights": str(weights)},
        "train_backbone": False,
        "neck": {"name": "mlp", "width": 16},
    }
    document["space"] = {
        "model.position_head.name": {"choices": ["rapl", "aux_ce", "none"]},
        "references.missing": {
            "choices": ["interpolate", "zeros"],
            "when": {"model.position_head.name": "rapl"},
        },
        "features.views": {"choices": [["identity"], ["identity", "hflip"]]},
    }
    document["search"] = {"trials": 5, "scheduler": "none", "sampler": "random"}
    document["final"] = {"top_k": 0}
    assert tune(arguments(document)) == 0
    folder = tmp_path / "runs" / "tiny"
    states = [_state(folder / "trials" / f"{number:04d}") for number in range(5)]
    assert [state["status"] for state in states] == ["complete"] * 5
    views = set()
    for state in states:
        lines = _lines(folder / state["name"])
        params = state["params"]
        assert ("references.missing" in params) is (params["model.position_head.name"] == "rapl")
        assert ("train/position_loss" in lines[1]) is (params["model.position_head.name"] != "none")
        views.add(tuple(params["features.views"]))
    # One feature file for each choice of views that the space has, made before trials start.
    assert len(list((tmp_path / "runs" / "features").glob("*.arrow"))) == 2
    assert not (folder / "finals").exists() and not (folder / "test_ledger").exists()


def test_a_trial_that_diverges_fails_alone_with_its_reason(
    document: dict[str, Any], arguments: Arguments, ray_session: cluster.Capacity, tmp_path: Path
) -> None:
    # AdamW multiplies a weight by 1 - rate × decay at every step: -8 to the 69th overflows.
    document["run"]["optimizer"] = {"name": "adamw", "lr": 1.0, "head_lr_scale": 1}
    document["run"]["train"] = {"epochs": 3, "batch_size": 8}
    document["run"]["schedule"] = {"name": "constant"}
    document["space"] = {"optimizer.weight_decay": {"choices": [0.0, 9.0, 10.0, 9.5]}}
    document["search"] = {"trials": 3, "scheduler": "none", "sampler": "random"}
    document["final"] = {"top_k": 0}
    assert tune(arguments(document)) == 0
    folder = tmp_path / "runs" / "tiny"
    states = [_state(folder / "trials" / f"{number:04d}") for number in range(3)]
    kinds = {(s["params"]["optimizer.weight_decay"] > 0, s["status"]) for s in states}
    assert kinds == {(False, "complete"), (True, "failed")}
    assert all("not finite" in s["reason"] for s in states if s["status"] == "failed")


def test_a_single_run_is_scored_once_and_repeats_its_numbers(
    document: dict[str, Any], arguments: Arguments, cache: Path, tmp_path: Path
) -> None:
    document["space"] = {}
    assert train(arguments(document)) == 0
    (folder,) = (tmp_path / "runs" / "tiny" / "single").iterdir()
    state = _state(folder)
    assert state["status"] == "complete" and state["test"]["count"] == 60
    before = _files(folder)
    assert train(arguments(document)) == 0  # finished already
    assert _files(folder) == before
    document["storage"] = str(tmp_path / "elsewhere")
    assert train(arguments(document)) == 0
    (again,) = (tmp_path / "elsewhere" / "tiny" / "single").iterdir()
    assert again.name == folder.name and _state(again)["test"] == state["test"]


def _people(folder: Path) -> Path:
    """A stand-in for AgeDB: drawn faces, ages 20..39 of 24 people whose names are in the table."""
    drawn = Faces.open("synthetic:120x24")
    from PIL import Image

    folder.mkdir()
    rows = ["path,age,gender,identity"]
    for i in range(120):
        Image.fromarray(drawn.images[i]).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{20 + i % 20},{'MF'[i % 2]},person-{i % 24}")
    (folder / "people.csv").write_text("\n".join(rows) + "\n")
    prepare("table", folder / "people.csv", folder / "faces", size=24, workers=1, progress=False)
    return folder / "faces"


def test_the_papers_study_in_train_workers_with_a_trial_that_asha_stops(
    written: Callable[..., Path], cache: Path, tmp_path: Path
) -> None:
    """rapl.yaml with a small backbone on stand-in faces: its launcher, protocol, losses and schedule.

    Each run takes two workers, all that the Ray here has room for: had the stopped trial leaked its
    placement group, the final seed would wait for ever, and the time-out would end it.
    """
    content = yaml.safe_load((ROOT / "search_spaces" / "rapl.yaml").read_text())
    faces = _people(tmp_path / "agedb")
    run = content["run"]
    run["data"]["root"] = str(faces)
    run["model"] |= {"backbone": {"name": "small_ir", "width": 8}, "batch_norm": "local"}
    run["train"] |= {"epochs": 5, "batch_size": 32}
    run["optimizer"] = {"name": "adam_l2", "lr": 1.0e-2, "head_lr_scale": 1}
    # All but the first trial learn nothing, so ASHA stops them.
    content["space"] = {"optimizer.lr": {"choices": [1.0e-2, 1.0e-9, 2.0e-9, 3.0e-9, 4.0e-9]}}
    content["search"] = {"trials": 2, "sampler": "random", "grace": 2, "reduction": 2, "seed": 0}
    content["final"] = {"top_k": 1, "seeds": 1}
    cpus = len(os.sched_getaffinity(0)) // 2
    content["resources"] = {"launcher": "train", "device": "cpu", "workers": 2, "cpus_per_worker": cpus}
    content["storage"] = str(tmp_path / "runs")
    result = subprocess.run(
        [sys.executable, "-m", "orchestration.tune", "--space", str(written(content))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs" / "rapl"
    trials = [folder / "trials" / f"{number:04d}" for number in range(2)]
    assert [_state(trial)["status"] for trial in trials] == ["complete", "pruned"]
    assert [_state(trial)["attempt"] for trial in trials] == [1, 1]
    lines = _lines(trials[0])
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert len(_lines(trials[1])) >= 2  # the rung; workers may be ahead of the word to stop
    split = splits.load(Faces.open(faces), Spec("subject_exclusive"))
    assert {line["val/count"] for line in lines} == {len(split.val)}
    assert ["train/position_loss" in line for line in lines] == [False, True, True, True, True]
    (final,) = (folder / "finals").iterdir()
    assert final.name == "0000-seed1" and _state(final)["test"]["count"] == len(split.test)
    assert _ledger(folder) == ["finals/0000-seed1"]


def test_a_frozen_face_network_estimates_ages_of_people_it_was_not_trained_on(
    real_faces: Path,
    real_weights: Path,
    document: dict[str, Any],
    arguments: Arguments,
    tmp_path: Path,
) -> None:
    faces = tmp_path / "fgnet"
    prepare("fgnet", real_faces / "fgnet", faces, size=112, workers=2, progress=False)
    document["run"] = {
        "data": {"root": str(faces), "protocol": "subject_exclusive"},
        "model": {
            "backbone": {"name": "mobilefacenet", "weights": str(real_weights)},
            "train_backbone": False,
            "neck": {"name": "mlp", "width": 128},
        },
        "train": {"epochs": 20, "batch_size": 64},
    }
    document["space"] = {}
    assert train(arguments(document)) == 0
    (folder,) = (tmp_path / "runs" / "tiny" / "single").iterdir()
    prepared = Faces.open(faces)
    split = splits.load(prepared, Spec("subject_exclusive"))
    ages = prepared.ages.astype(float)
    constant = np.abs(ages[split.test] - np.median(ages[split.train])).mean()
    assert _state(folder)["test"]["age_mae"] < 0.75 * constant
