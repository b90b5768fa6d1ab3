"""Everything that can be wrong with `space:`, found before anything starts."""

from __future__ import annotations

from typing import Any

from orchestration.config import RunConfig
from orchestration.errors import ConfigError
from orchestration.fields import Leaf, leaves, suggestion
from orchestration.layers import flatten
from orchestration.points import inside, point_problems
from orchestration.space import INPUT_PREFIXES, in_order, is_integer, is_number, own_values, pinned
from orchestration.study import Param, Study

# Values that reach age only through shared trainable layers.
SHARED_ONLY = ("loss.", "references.", "model.gender_head", "model.position_head.")


def space_problems(study: Study) -> list[str]:
    """Everything that is wrong with `space:`, before anything starts."""
    known = leaves(RunConfig)
    found: list[str] = []
    try:
        in_order(study.space)
    except ConfigError as error:
        return error.problems
    for path, param in study.space.items():
        if path == "seed":
            found.append("space.seed: a seed is no choice of a search; final.seeds trains fresh ones")
            continue
        if path not in known:
            found.append(f"space.{path}: no such value in a run.{suggestion(path, known)}")
            continue
        found += [
            f"space.{path}.when.{p}: no such value in a run.{suggestion(p, known)}"
            for p in param.when
            if p not in known
        ]
        found += _reachable(study, path, known[path]) or _values_fit(study, path, param)
    if found:
        return found
    return (
        _first_trial(study)
        + point_problems(study)
        + _search_fits(study)
        + _frozen_reach(study)
        + _epochs_fixed(study)
        + _shares_hold(study)
    )


def _search_fits(study: Study) -> list[str]:
    """A sampler, its scheduler and the objectives must go together."""
    search, several = study.search, bool(study.objective.others)
    found = []
    if several and search.scheduler != "none":
        found.append(f"search.scheduler: {search.scheduler} stops by one objective; several need none")
    if search.sampler == "nsga2" and search.scheduler != "none":
        found.append("search.sampler: nsga2 breeds from finished trials alone; set search.scheduler: none")
    if search.sampler == "cmaes":
        if several:
            found.append("search.sampler: cmaes takes one objective; use tpe, gp or nsga2")
        if search.constraints:
            found.append("search.sampler: cmaes knows no constraints; use tpe, gp or nsga2")
    final = study.final.top_k * study.final.seeds * study.config().train.epochs
    if study.budget.epochs is not None and study.budget.epochs <= final:
        found.append(
            f"budget.epochs: {study.budget.epochs} leave nothing for the search, since final.top_k ×"
            f" final.seeds × train.epochs = {final} are kept for the final seeds"
        )
    return found


def _reachable(study: Study, path: str, options: list[Leaf]) -> list[str]:
    """A value of some union members needs one of them: fixed in `run:`, required by `when`, or searched
    among members that all have it.
    """
    needed: dict[str, set[str]] = {}
    for leaf in options:
        for name, value in leaf.conditions:
            if name != path:
                needed.setdefault(name, set()).add(value)
    if all(_possible(study, path, name) <= values for name, values in needed.items()):
        return []
    wanted = " or ".join(", ".join(f"{n}: {v}" for n, v in leaf.conditions) for leaf in options)
    return [f"space.{path}: exists only with {wanted}; add it to the parameter's `when`"]


def _possible(study: Study, path: str, name: str) -> set[str]:
    """The members that `name` can select in a run that has the parameter `path`."""
    when = study.space[path].when
    if name in when:
        given = when[name] if isinstance(when[name], (list, tuple)) else [when[name]]
        return {str(value) for value in given}
    if name in study.space:
        return {str(choice) for choice in study.space[name].choices or ()}
    return {str(flatten(study.config().model_dump(mode="json"))[name])}


def _values_fit(study: Study, path: str, param: Param) -> list[str]:
    if param.choices is not None:
        candidates: list[Any] = list(param.choices)
    elif not is_number(path):
        return [f"space.{path}: takes no range; give choices"]
    elif path.startswith(INPUT_PREFIXES):
        return [f"space.{path}: decides what runs read, which is prepared before they start; give choices"]
    elif is_integer(path):
        bounds = [param.low, param.high]
        if any(b is not None and b != int(b) for b in bounds):
            return [f"space.{path}: takes whole numbers, received low {param.low:g}, high {param.high:g}"]
        candidates = [int(b) for b in bounds if b is not None]
    else:
        candidates = [param.low, param.high]
    found: list[str] = []
    for value in candidates:
        try:
            study.config({**pinned(param.when), path: value})
        except ConfigError as error:
            found += [f"space.{problem}" for problem in error.problems]
    return found


def _first_trial(study: Study) -> list[str]:
    if study.search.sampler == "grid":
        ranges = (path for path, param in study.space.items() if param.choices is None)
        return [
            f"space.{path}: a grid needs choices; give them, or another search.sampler" for path in ranges
        ]
    start = study.search.start_from
    if start != "run" and not (isinstance(start, tuple) and "run" in start):
        return []
    found = []
    for path, value in own_values(study).items():
        if not inside(study.space[path], value):
            found.append(
                f"space.{path}: the file's own value {value!r} is the first trial but lies outside;"
                " widen the space or set search.start_from: none"
            )
    return found


def _frozen_reach(study: Study) -> list[str]:
    """Without a shared trainable layer λ, μ and references cannot change the age estimate."""
    config = study.config()
    neck_searched = any(p.startswith("model.neck.") for p in study.space)
    if not config.frozen or config.model.neck.name != "none" or neck_searched:
        return []
    return [
        f"space.{path}: cannot affect age with a frozen backbone and no neck; set model.neck.name: mlp"
        for path in study.space
        if path.startswith(SHARED_ONLY)
    ]


def _epochs_fixed(study: Study) -> list[str]:
    if study.search.scheduler != "none" and "train.epochs" in study.space:
        return [
            "space.train.epochs: schedules of different length are not comparable at one epoch;"
            " fix it, or set search.scheduler: none"
        ]
    return []


def _shares_hold(study: Study) -> list[str]:
    """Every worker needs a share of two in a full batch."""
    searched = study.space.get("train.batch_size")
    sizes = [study.config().train.batch_size]
    if searched is not None:
        sizes += [int(searched.low)] if searched.low is not None else list(searched.choices or ())
    if min(sizes) >= 2 * study.resources.workers:
        return []
    return [
        f"train.batch_size: {min(sizes)} cannot be shared by {study.resources.workers} workers, two samples"
        f" each; give at least {2 * study.resources.workers}, or lower resources.workers"
    ]
