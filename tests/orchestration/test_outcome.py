"""What a finished search says: tables, failures, importance, figures. Early values are never final ones."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from PIL import Image

from orchestration import figures, outcome
from orchestration.display import displayed
from orchestration.folder import StudyFolder
from orchestration.importance import importance
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.study import Study

SPACE = {
    "loss.gender_weight": {"low": 0.1, "high": 10, "log": True},
    "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "model.neck.name": {"choices": ["none", "mlp"]},
    "model.neck.width": {"low": 16, "high": 64, "when": {"model.neck.name": "mlp"}},
}


@pytest.fixture
def folder(load: Callable[..., Study]) -> StudyFolder:
    """A search whose value depends on log lr alone, but for a little noise; stopped trials look better."""
    folder = StudyFolder(load("search.trials=40", space=SPACE))
    inputs = Inputs("nowhere", "f", "s", (1, 2))
    draw = np.random.default_rng(0)
    for number in range(36):
        params = {
            "loss.gender_weight": float(10 ** draw.uniform(-1, 1)),
            "optimizer.lr": float(10 ** draw.uniform(-4, -2)),
            "model.neck.name": ["none", "mlp"][number % 2],
        }
        if number % 2:
            params["model.neck.width"] = 32
        pruned = number >= 30
        final = 1.0 if pruned else 6 + np.log10(params["optimizer.lr"] * 1e4) + draw.normal() * 0.1
        member = folder.start(
            Member(f"trials/{number:04d}", params=params), folder.study.config(params), inputs
        )
        lines = [{"epoch": e, "best": final + 2 - e, "val/age_mae": final, "time": 0.0} for e in (1, 2)]
        put_metrics(folder.storage.child(member.name), lines[: 1 if pruned else 2])
        folder.end(member, "pruned" if pruned else "complete", value=final)
    return folder


def test_stopped_trials_have_no_value_and_no_say(folder: StudyFolder) -> None:
    shown = displayed(folder)
    states = [t.state for t in shown.trials]
    assert states.count(TrialState.COMPLETE) == 30
    assert {t.value for t in shown.trials if t.state == TrialState.PRUNED} == {None}
    assert shown.best_trial.user_attrs["trial"] != "trials/0030"
    assert importance(shown, refits=3).finished == 30


def test_importance_finds_what_matters_and_leaves_out_what_some_lack(folder: StudyFolder) -> None:
    found = importance(displayed(folder), refits=4)
    name, share, sd = found.shares[0]
    assert name == "lr"
    assert share > 0.8
    assert 0 < sd < 0.2
    assert sum(s for _, s, _ in found.shares) == pytest.approx(1)
    assert found.left_out == ["width"]


def test_importance_of_a_few_trials_is_not_made_up(folder: StudyFolder) -> None:
    for number in range(9, 36):
        folder.storage.delete(f"trials/{number:04d}/state.json")
    found = importance(displayed(folder))
    assert found.shares == []
    assert found.lines() == ["parameter importance: needs 10 finished trials, there are 9"]


def test_figures_are_pictures_and_one_page_that_asks_no_network(folder: StudyFolder) -> None:
    names, problems = figures.draw(folder, importance(displayed(folder), refits=3))
    assert problems == []
    pictures = ["history", "importance", "learning_curves", "parallel_coordinates", "slice"]
    assert folder.storage.list("figures") == sorted([*(f"{name}.png" for name in pictures), "search.html"])
    for name in names[:-1]:
        with Image.open(f"{folder.storage.root}/{name}") as image:
            assert image.width > 600
            assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20  # not blank
    page = (folder.storage.get("figures/search.html") or b"").decode()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", page)
    assert page.count('class="plotly-graph-div"') == 5


def test_a_figure_that_fails_is_said_and_keeps_nothing_else_away(folder: StudyFolder) -> None:
    for number in range(9, 36):
        folder.storage.delete(f"trials/{number:04d}/state.json")
    in_the_way = Path(folder.storage.root) / "figures" / "slice.png" / "x"
    in_the_way.mkdir(parents=True)
    _, failed, where = outcome.conclude(folder)
    assert failed.startswith("figures/slice.png failed: ")
    assert where == f"figures: {folder.storage.root}/figures/search.html"
    assert set(folder.storage.list("figures")) >= {"history.png", "search.html"}


def test_failures_are_counted_by_cause() -> None:
    failed = [
        Member("trials/0001", "failed", reason="loss is not finite in epoch 1: {'age': nan}"),
        Member("trials/0002", "failed", reason="out of memory: tried to allocate 2 GiB"),
        Member("trials/0003", "failed", reason="out of memory: tried to allocate 9 GiB"),
    ]
    head, columns, *rows = outcome.failures(failed)
    assert head == "failures by cause:"
    assert columns.split() == ["cause", "first", "its", "reason"]
    assert rows[0].split()[:5] == ["2", "out", "of", "memory", "trials/0002"]
    assert rows[1].split()[0] == "1"


def test_the_best_are_a_table_with_the_parameters_that_vary(folder: StudyFolder) -> None:
    members = [replace(m, value=float(m.number)) for m in folder.members("trials")[:2]]
    _, head, first, second = outcome.best(folder, members)
    assert head.split() == ["val/age_mae", "gender_weight", "lr", "neck", "width"]
    assert first.split()[0] == "trials/0000"
    assert first.split()[-2:] == ["none", "-"]
    assert second.split()[-2:] == ["mlp", "32"]
