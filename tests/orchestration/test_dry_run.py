"""The plan before anything starts: what it says, by hand, and what it refuses."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration import costs, dry_run, session
from orchestration.cluster import Capacity
from orchestration.costs import Epochs
from orchestration.folder import StudyFolder
from orchestration.kernels import PLAIN
from orchestration.nodes import Node
from orchestration.pace import Pace
from orchestration.placement import Placement
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.session import Opened
from orchestration.study import Study

TWO_AT_ONCE = Placement("inline", 1, 1, 0.0, 2, PLAIN)


@pytest.fixture
def opened(load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Opened]:
    """The tiny study with overrides, on a machine of two cores."""
    monkeypatch.setattr(dry_run, "capacity", lambda address: Capacity((Node(2.0, 0.0),)))

    def open_(*overrides: str, **sections: Any) -> Opened:
        study = load(*overrides, **sections)
        return session.open_study(study, [study.config()], None)

    return open_


def trained(folder: StudyFolder, opened: Opened, name: str, seconds: float) -> None:
    config = folder.study.config()
    member = folder.start(Member(name), config, opened.prepared.inputs(config))
    lines = [{"epoch": e, "time": 1000.0 + e * seconds, "best": 5.0} for e in (1, 2, 3)]
    put_metrics(folder.storage.child(name), lines)
    folder.end(member, "complete", value=5.0)


def test_the_space_is_a_table(load: Callable[..., Study]) -> None:
    space = {
        "model.neck.name": {"choices": ["none", "mlp"]},
        "model.neck.width": {"low": 16, "high": 64, "when": {"model.neck.name": "mlp"}},
        "optimizer.lr": {"low": 1e-4, "high": 0.01, "log": True},
    }
    head, neck, lr, width = dry_run.space(load(space=space))
    assert head.split() == ["parameter", "values", "scale", "when", "file's", "own"]
    assert neck.split() == ["model.neck.name", "none,", "mlp", "none"]
    assert width.split() == ["model.neck.width", "16", "…", "64", "model.neck.name:", "mlp", "-"]
    assert lr.split() == ["optimizer.lr", "0.0001", "…", "0.01", "log", "0.0001"]


def test_time_by_hand() -> None:
    """100 epochs expected, 200 at most, 20 of finals, 36 s each, two at once: 120 · 36 / 2 s is 36 min."""
    lines = costs.time(Epochs(100, 200, 20), TWO_AT_ONCE, Pace(36.0, "measured"), search=True)
    assert lines[1] == "expected: 36 min 00 s of wall time, 1.20 CPU-hours"
    assert lines[2] == "at most: 1 h 06 min of wall time, 2.20 CPU-hours"
    on_gpus = Placement("train", 2, 1, 1.0, 1, PLAIN)
    lines = costs.time(Epochs(100, 100, 0), on_gpus, Pace(36.0, "measured"), search=True)
    assert lines[1:] == ["expected: 1 h 00 min of wall time, 2.00 CPU-hours, 2.00 GPU-hours"]


def test_what_a_budget_cuts_by_hand(load: Callable[..., Study]) -> None:
    """100 epochs expected, 20 of finals, 36 s each, two runs at once, each on 2 GPUs."""
    limits = ["budget.hours=0.35", "budget.gpu_hours=8", "budget.epochs=90", "budget.trials=3"]
    folder = StudyFolder(load(*limits, "search.trials=12"))
    place, epochs = Placement("train", 2, 1, 1.0, 2, PLAIN), Epochs(100, 200, 20)
    assert costs.budget(folder, epochs, place, Pace(36.0, "measured")) == [
        "budget.hours: 0.35, 0.1 kept for final seeds; ends the search after about 50% of it",
        "budget.gpu_hours: 8, 0.4 kept for final seeds; cuts nothing expected",
        "budget.epochs: 90, 20 kept for final seeds; ends the search after about 70% of it",
        "budget.trials: 3, 0 kept for final seeds; ends the search after about 25% of it",
    ]
    unknown = costs.budget(folder, epochs, place, None)[0]
    assert unknown == "budget.hours: 0.35; what it cuts is unknown without seconds per epoch"
    # 540 s are spent, and a trial of two epochs: less is left of each.
    folder.storage.put_json("budget.json", {"wall_seconds": 540.0})
    folder.put(Member("trials/0000", "complete"))
    put_metrics(folder.storage.child("trials/0000"), [{"epoch": e, "best": 5.0} for e in (1, 2)])
    lines = costs.budget(folder, epochs, place, Pace(36.0, "measured"))
    assert [line.partition(";")[0] for line in lines] == [
        "budget.hours: 0.35, 0.15 used, 0.1 kept for final seeds",
        "budget.gpu_hours: 8, 0.4 kept for final seeds",
        "budget.epochs: 90, 2 used, 20 kept for final seeds",
        "budget.trials: 3, 1 used, 0 kept for final seeds",
    ]
    assert lines[0].endswith("ends the search after about 20% of it")


def test_unknown_seconds_are_said_and_stated_ones_used(opened: Callable[..., Opened]) -> None:
    text = "\n".join(dry_run.lines(opened(), None, search=True))
    assert "seconds per epoch: unknown" in text
    assert "wall time" not in text
    text = "\n".join(dry_run.lines(opened("resources.seconds_per_epoch=3"), None, search=True))
    assert "3.00 (stated in resources.seconds_per_epoch)" in text
    assert "4 trials, 4 to run; then 1 final seeds of 2 epochs" in text
    # Nothing was made by asking.
    assert not Path(opened().folder.storage.root).exists()


def test_measured_seconds_come_from_this_study_then_from_one_like_it(opened: Callable[..., Opened]) -> None:
    mine, other = opened(), opened("study=other")
    trained(other.folder, other, "trials/0000", seconds=7.0)
    found = dry_run.seconds_per_epoch(mine)
    assert found is not None
    assert (found.seconds, found.source) == (7.0, "measured in the study other, 1 run")
    assert dry_run.seconds_per_epoch(opened("train.batch_size=32")) is None
    trained(mine.folder, mine, "trials/0000", seconds=4.0)
    found = dry_run.seconds_per_epoch(mine)
    assert found is not None
    assert (found.seconds, found.source) == (4.0, "measured in this study, tiny, 1 run")


def test_a_checkpoint_is_as_large_as_said(opened: Callable[..., Opened], tmp_path: Path) -> None:
    import torch

    from orchestration.run import Run

    here = opened("train.epochs=1")
    config = here.configs[0]
    inputs = here.prepared.inputs(config)
    member = here.folder.start(Member("single/a"), config, inputs)
    run = Run(here.folder.task(member, config, inputs, test=True), torch.device("cpu"))
    run.step()
    written = (Path(here.folder.storage.root) / "single/a/best.pt").stat().st_size
    assert dry_run.checkpoint_bytes(here) == pytest.approx(written, abs=100_000, rel=0.1)


def test_a_plan_that_cannot_fit_exits_with_2_and_no_ray(
    document: dict[str, Any],
    written: Callable[..., Path],
    command: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    path = str(written(document))
    done = command("tune", "--space", path, "--dry-run", "resources.concurrent=4096")
    assert done.returncode == 2
    assert "resources.concurrent: received 4096" in done.stderr
    good = command(
        "tune", "--space", path, "search.trials=7", "--dry-run", "search.trials=5", PYTHONVERBOSE="1"
    )
    assert good.returncode == 0
    assert "5 trials, 5 to run" in good.stdout
    assert "import 'ray'" not in good.stderr
    assert "import 'torch'" in good.stderr
    assert good.stdout.splitlines()[-1].startswith("run it: python -m orchestration.tune --space ")
