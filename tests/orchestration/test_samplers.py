"""Samplers in spaces with conditions: drawn only where it applies, learnt from, and the rule of `auto`."""

import importlib.util
import math
import statistics
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from orchestration.errors import UserError
from orchestration.sampler_choice import chosen, require_packages
from orchestration.samplers import Exploring, sampler
from orchestration.space import sample
from orchestration.study import Study

RANGES = {
    "loss.gender_weight": {"low": 0.1, "high": 10, "log": True},
    "loss.position_weight": {"low": 0.01, "high": 10, "log": True},
}
CONDITIONAL = {
    **RANGES,
    "model.neck.name": {"choices": ["none", "mlp"]},
    "model.neck.width": {"low": 8, "high": 64, "when": {"model.neck.name": "mlp"}},
    "model.neck.dropout": {"low": 0.0, "high": 0.5, "when": {"model.neck.name": "mlp"}},
}


def _ask(study: Study, trials: int, worth: Callable[[dict[str, Any]], Any]) -> list[dict[str, Any]]:
    directions = ["minimize"] * (1 + len(study.objective.others))
    told = optuna.create_study(directions=directions, sampler=sampler(study, 0))
    points = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(trials):
            trial = told.ask()
            points.append(sample(study, trial))
            told.tell(trial, worth(points[-1]))
    return points


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2", "random"])
def test_a_conditional_parameter_is_drawn_only_where_it_applies(
    load: Callable[..., Study], name: str
) -> None:
    study = load(f"search.sampler={name}", "search.scheduler=none", "search.startup=4", space=CONDITIONAL)
    points = _ask(
        study,
        10 if name == "gp" else 14,
        lambda p: abs(p["loss.gender_weight"] - 1) + p.get("model.neck.dropout", 0.3),
    )
    with_neck = [point for point in points if point["model.neck.name"] == "mlp"]
    assert 0 < len(with_neck) < len(points)
    for point in points:
        has = {"model.neck.width" in point, "model.neck.dropout" in point}
        assert has == {point["model.neck.name"] == "mlp"}
        assert 0.1 <= point["loss.gender_weight"] <= 10
    assert all(isinstance(p["model.neck.width"], int) and 8 <= p["model.neck.width"] <= 64 for p in with_neck)
    assert len({tuple(point.items()) for point in points}) == len(points)


@pytest.mark.parametrize(("name", "trials"), [("tpe", 40), ("gp", 14), ("cmaes", 60)])
def test_a_model_draws_nearer_to_the_optimum_than_chance(
    load: Callable[..., Study], name: str, trials: int
) -> None:
    def distance(point: dict[str, Any]) -> float:
        near = point["loss.gender_weight"] / 3, point["loss.position_weight"] / 2
        return sum(abs(math.log(ratio)) for ratio in near)

    def late(sampler: str) -> float:
        study = load(f"search.sampler={sampler}", "search.startup=5", "search.scheduler=none", space=RANGES)
        return statistics.median(distance(point) for point in _ask(study, trials, distance)[trials // 2 :])

    assert late(name) < 0.6 * late("random")


def test_every_choice_is_tried_though_the_first_trials_lacked_it(load: Callable[..., Study]) -> None:
    """Eight trials with one choice, and forty of the model: without random draws it kept to that choice."""
    space = {**RANGES, "model.neck.norm": {"choices": ["none", "batch", "layer"]}}
    study = load("search.startup=8", "model.neck.name=mlp", space=space)
    told = optuna.create_study(sampler=sampler(study, 0))
    drawn = Counter()
    for number in range(48):
        if number < 8:
            told.enqueue_trial({"model.neck.norm": '"batch"'})
        trial = told.ask()
        point = sample(study, trial)
        drawn[point["model.neck.norm"]] += 1
        told.tell(trial, abs(math.log(point["loss.gender_weight"])) - (point["model.neck.norm"] == "layer"))
    assert drawn["none"] >= 2
    assert drawn["layer"] > 20  # and what is better is kept to


def test_constraints_are_learnt(load: Callable[..., Study]) -> None:
    """The best value is not allowed: a sampler that is told so draws what is allowed more often."""

    def kept(told_so: bool) -> int:
        study = load("search.startup=5", space=RANGES)
        told = optuna.create_study(sampler=sampler(study, 0))
        found = 0
        for _ in range(18):
            trial = told.ask()
            point = sample(study, trial)
            excess = 1.0 - point["loss.gender_weight"]
            if told_so:
                trial.set_constraint("gender", excess)
            told.tell(trial, point["loss.gender_weight"])
            found += excess <= 0
        return found

    assert kept(True) > kept(False)


@pytest.mark.parametrize(
    ("space", "overrides", "expected"),
    [
        ({"model.neck.name": {"choices": ["none", "mlp"]}}, ["search.trials=2"], "grid"),
        ({"model.neck.name": {"choices": ["none", "mlp"]}}, ["search.trials=1"], "tpe"),
        (CONDITIONAL, [], "tpe"),
        (RANGES, [], "tpe"),
        (RANGES, ["search.scheduler=none"], "gp"),
        (RANGES, ["search.scheduler=none", "search.trials=101"], "cmaes"),
        (
            RANGES,
            ["search.scheduler=none", "search.trials=101", "search.constraints=[train/seconds <= 9]"],
            "tpe",
        ),
    ],
)
def test_auto_is_a_stated_rule(
    load: Callable[..., Study], space: dict[str, Any], overrides: list[str], expected: str
) -> None:
    assert chosen(load("search.sampler=auto", *overrides, space=space)) == expected


def test_auto_breeds_only_where_there_are_trials_for_generations(load: Callable[..., Study]) -> None:
    several = [{"metric": "val/age_mae"}, {"metric": "train/seconds"}]
    names = [
        chosen(load("search.sampler=auto", f"search.trials={trials}", objective=several))
        for trials in (499, 500)
    ]
    assert names == ["tpe", "nsga2"]


def test_a_package_that_is_missing_is_named(
    load: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"cmaes needs the package cmaes: pip install"):
        require_packages(load("search.sampler=cmaes", "search.scheduler=none"))


@pytest.mark.parametrize("seed", range(5))
def test_trials_at_once_differ_from_each_other(seed: int) -> None:
    study = optuna.create_study(sampler=Exploring(seed, startup=2))
    drawn = [study.ask() for _ in range(8)]  # none has ended
    points = [(t.suggest_float("a", 0.1, 10, log=True), t.suggest_float("b", 0, 1)) for t in drawn]
    assert len(set(points)) == 8
