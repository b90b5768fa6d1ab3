"""What a search may change: checks against RunConfig, and one sample from an Optuna trial."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from orchestration.config import RunConfig
from orchestration.errors import ConfigError
from orchestration.fields import leaves
from orchestration.layers import Flat, flatten
from orchestration.study import Param, Study

# Values that decide which features a frozen run reads: enumerated before trials start.
INPUT_PREFIXES = ("data.", "model.backbone.", "model.train_backbone", "features.views")


class Suggests(Protocol):
    """The part of optuna.Trial that sampling needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = ...) -> int: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


def sample(study: Study, trial: Suggests) -> Flat:
    """One point of the space; a parameter whose `when` does not hold is not drawn."""
    drawn: Flat = {}
    fixed = flatten(study.config().model_dump(mode="json"))
    for path in in_order(study.space):
        param = study.space[path]
        if holds(param.when, {**fixed, **drawn}):
            drawn[path] = _draw(trial, path, param)
    return drawn


def _draw(trial: Suggests, path: str, param: Param) -> Any:
    if param.choices is not None:
        return json.loads(trial.suggest_categorical(path, encoded_choices(param)))
    assert param.low is not None and param.high is not None
    if is_integer(path):
        return trial.suggest_int(path, int(param.low), int(param.high), log=param.log)
    return trial.suggest_float(path, param.low, param.high, log=param.log)


def encoded_choices(param: Param) -> list[str]:
    """Choices as Optuna stores them: JSON text, since they may be lists."""
    return [json.dumps(choice) for choice in param.choices or ()]


def encoded(study: Study, point: Mapping[str, Any]) -> Flat:
    """A sample as Optuna stores it."""
    return {k: json.dumps(v) if study.space[k].choices is not None else v for k, v in point.items()}


def grid(study: Study) -> list[Flat]:
    """Every point of a space of choices, in the order of the file; the last parameter varies fastest."""
    fixed = flatten(study.config().model_dump(mode="json"))
    points: list[Flat] = [{}]
    for path in in_order(study.space):
        param = study.space[path]
        points = [
            longer
            for point in points
            for longer in (
                [{**point, path: choice} for choice in param.choices or ()]
                if holds(param.when, {**fixed, **point})
                else [point]
            )
        ]
    return points


def planned_trials(study: Study) -> int:
    """How many trials the study has when it is done: `search.trials`, or the whole grid if that is less."""
    trials = min(study.search.trials, study.budget.trials or study.search.trials)
    ranges = any(param.choices is None for param in study.space.values())
    as_grid = study.search.sampler == "grid" or (study.search.sampler == "auto" and not ranges)
    return min(trials, len(grid(study))) if as_grid else trials


def holds(when: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether every condition is met; a condition is a value or a list of allowed values."""
    for path, wanted in when.items():
        allowed = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        if path not in values or values[path] not in allowed:
            return False
    return True


def pinned(when: Mapping[str, Any]) -> Flat:
    """One point that meets the conditions."""
    return {k: v[0] if isinstance(v, list) and v else v for k, v in when.items()}


def in_order(space: Mapping[str, Param]) -> list[str]:
    """The paths such that what a `when` names comes before it. Raises ConfigError on a circle."""
    order: list[str] = []
    waiting = list(space)
    while waiting:
        ready = [p for p in waiting if all(w not in waiting for w in space[p].when)]
        if not ready:
            raise ConfigError([f"space.{p}.when: conditions form a circle" for p in waiting], "space")
        order += ready
        waiting = [p for p in waiting if p not in ready]
    return order


@cache
def is_integer(path: str) -> bool:
    """Whether RunConfig takes a whole number at this path. Asked at every report of a trial."""
    return all(leaf.field.annotation is int for leaf in leaves(RunConfig)[path])


def is_number(path: str) -> bool:
    """Whether RunConfig takes a number at this path, so that a range of it makes sense."""
    return all(leaf.field.annotation in (int, float) for leaf in leaves(RunConfig)[path])


def own_values(study: Study) -> Flat:
    """The file's own point of the space: the first trial under `start_from: run`."""
    values = flatten(study.config().model_dump(mode="json"))
    active = [p for p in in_order(study.space) if holds(study.space[p].when, values)]
    return {p: _as_written(study, p, values[p]) for p in active}


def _as_written(study: Study, path: str, value: Any) -> Any:
    """The choice that a run reads as `value`: YAML's 1 or `1e-4` may stand for 1.0 or 0.0001."""
    param = study.space[path]
    for choice in param.choices or ():
        run = study.config({**pinned(param.when), path: choice})
        if flatten(run.model_dump(mode="json"))[path] == value:
            return choice
    return value


def input_variants(study: Study) -> list[RunConfig]:
    """A config for every combination of searched values that decides what data a run reads."""
    searched = {p: q for p, q in study.space.items() if p.startswith(INPUT_PREFIXES)}
    options = [[(p, c) for c in q.choices or ()] for p, q in searched.items()]
    configs = []
    for combination in itertools.product(*options):
        point = dict(combination)
        values = {**flatten(study.run), **point}
        active = {p: v for p, v in point.items() if holds(_known_part(study, p, searched), values)}
        needed = {k: v for p in active for k, v in pinned(searched[p].when).items()}
        configs.append(study.config({**needed, **active}))
    return configs


def _known_part(study: Study, path: str, searched: Mapping[str, Param]) -> Flat:
    """The conditions of a parameter that are decided here; one on what else is searched may hold in a run."""
    when = study.space[path].when
    return {name: value for name, value in when.items() if name not in study.space or name in searched}


def varying_keys(study: Study) -> list[str]:
    """Every dotted key that some trial of the study can have, sorted; the union of their params."""
    keys = set(flatten(study.config().model_dump(mode="json")))
    for values in (study.ablation.values() if study.ablation is not None else {}).values():
        keys |= set(flatten(study.config(values).model_dump(mode="json")))
    for path, param in study.space.items():
        for choice in param.choices or ():
            if path.endswith(".name"):
                point = {**pinned(param.when), path: choice}
                keys |= set(flatten(study.config(point).model_dump(mode="json")))
    return sorted(keys)
