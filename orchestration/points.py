"""Points of a space: whether one lies inside, which of them no trial stands for yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestration.layers import Flat, flatten
from orchestration.space import holds, in_order
from orchestration.study import Param, Study


def not_begun(points: list[Flat], begun: list[Flat]) -> list[Flat]:
    """The points that no trial stands for yet; a trial stands for one point that its values contain."""
    left = list(begun)
    missing = []
    for point in points:
        match = next((b for b in left if all(p in b and b[p] == v for p, v in point.items())), None)
        if match is None:
            missing.append(point)
        else:
            left.remove(match)
    return missing


def point_of(study: Study, run: Mapping[str, Any]) -> Flat | None:
    """A run's values of this study's parameters, where they apply; None if one lies outside the space."""
    values = flatten(run)
    point: Flat = {}
    fixed = flatten(study.config().model_dump(mode="json"))
    for path in in_order(study.space):
        param = study.space[path]
        if holds(param.when, {**fixed, **point}):
            if path not in values or not inside(param, values[path]):
                return None
            point[path] = values[path]
    return point


def inside(param: Param, value: Any) -> bool:
    """Whether the search could draw this value."""
    if param.choices is not None:
        return value in param.choices
    assert param.low is not None and param.high is not None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and param.low <= value <= param.high


def point_problems(study: Study) -> list[str]:
    """What is wrong with the points of a file: unknown paths, values outside the space."""
    start = study.search.start_from
    if not isinstance(start, tuple):
        return []
    found = []
    for number, point in enumerate(start):
        where = f"search.start_from.{number}"
        for path, value in () if point == "run" else point.items():
            if path not in study.space:
                found.append(f"{where}: {path} is not searched; a point holds values of `space:` alone")
            elif not inside(study.space[path], value):
                found.append(f"{where}: {path}: {value!r} lies outside the space")
        if not found and point != "run":
            found += _applies(study, where, point)
    return found


def _applies(study: Study, where: str, point: Mapping[str, Any]) -> list[str]:
    fixed = {**flatten(study.config().model_dump(mode="json")), **point}
    idle = [path for path in point if not _may_hold(study, study.space[path], fixed, point)]
    return [f"{where}: {path} does not apply there: its `when` does not hold" for path in idle]


def _may_hold(study: Study, param: Param, values: Flat, point: Mapping[str, Any]) -> bool:
    """Conditions on what the point leaves open may still be met."""
    known = {p: v for p, v in param.when.items() if p not in study.space or p in point}
    return holds(known, values)
