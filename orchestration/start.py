"""`search.start_from`: the points a search begins with, and results it knows already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestration.config import RunConfig, identity
from orchestration.errors import ConfigError, UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.layers import Flat
from orchestration.objectives import outcome
from orchestration.plan import ranked
from orchestration.points import point_of
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.sampler_choice import chosen
from orchestration.space import grid, own_values
from orchestration.study import FromStudy, Study, study_on_disk


def first_points(study: Study) -> list[Flat]:
    """The points to try before the sampler draws any; some of their values may be left to the sampler."""
    if chosen(study) == "grid":
        return grid(study)
    start = study.search.start_from
    if start == "run":
        return [own_values(study)]
    if isinstance(start, FromStudy):
        return [point for _, point in best_of(study, start)]
    if isinstance(start, tuple):
        return [own_values(study) if point == "run" else dict(point) for point in start]
    return []


def best_of(study: Study, start: FromStudy) -> list[tuple[Member, Flat]]:
    """The best finished trials of the earlier study, each with its point in this study's space.

    A trial whose values lie outside this space is no point of it and is left out. Raises UserError.
    """
    earlier = earlier_folder(study, start)
    found = [(member, point_of(study, earlier.resolved(member)["run"])) for member in ranked(earlier)]
    inside = [(member, point) for member, point in found if point is not None]
    return inside[: start.best]


def earlier_folder(study: Study, start: FromStudy) -> StudyFolder:
    """The folder of the study to start from, beside this one. Raises UserError."""
    found = study_on_disk(study.storage, start.study)
    if found is None:
        raise UserError(f"search.start_from: no study {start.study} in {study.storage}")
    return StudyFolder(found)


def take_over(folder: StudyFolder, inputs: Callable[[RunConfig], Inputs]) -> None:
    """Enter the earlier study's results that are results of this study too: their identity is the same.

    They become its first trials, with the earlier trial as their `source`, and are not run again. A kill in
    between is made up for: nothing of the search has begun then.
    """
    study = folder.study
    begun = folder.members("trials")
    if not isinstance(study.search.start_from, FromStudy) or any(not m.source for m in begun):
        return
    earlier = earlier_folder(study, study.search.start_from)
    known = {member.source for member in begun}
    number = len(begun)
    for member, point in best_of(study, study.search.start_from):
        source = f"{earlier.study.study}/{member.name}"
        if source in known or number >= study.search.trials:
            continue
        try:
            config = study.config(point, study.config().seed)
            mine = identity(config, inputs(config).for_identity())
        except (ConfigError, KeyError):
            continue  # a point of other inputs is tried, not taken over
        lines = earlier.lines(member)
        if mine == member.identity and lines and all(study.objective.metric in line for line in lines):
            _enter(folder, replace(member, name=f"trials/{number:04d}", params=point, source=source), lines)
            number += 1


def _enter(folder: StudyFolder, member: Member, lines: list[dict[str, Any]]) -> None:
    """Its state last: a trial exists once that is there."""
    objective = folder.study.objective
    better = min if objective.mode == "min" else max
    values = [float(line[objective.metric]) for line in lines]
    lines = [{**line, "best": better(values[: i + 1])} for i, line in enumerate(lines)]
    config = folder.study.config(member.params, member.seed)
    put_metrics(folder.storage.child(member.name), lines)
    folder.put_resolved(member, config)
    folder.put(replace(member, value=lines[-1]["best"], **outcome(folder.study, lines)))
