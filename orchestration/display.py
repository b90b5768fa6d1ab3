"""A study as its figures show it: an Optuna study in memory with short names and plain choices."""

from __future__ import annotations

import warnings

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from orchestration.console import labels
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.space import is_integer
from orchestration.study import Param

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def displayed(folder: StudyFolder) -> optuna.Study:
    """The ended trials: finished ones with their value, stopped ones with their epochs' alone."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    direction = "minimize" if folder.study.objective.mode == "min" else "maximize"
    study = optuna.create_study(direction=direction, study_name=folder.study.study)
    names = labels(folder.study.space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of choices that are lists, which stay text here
        for member in folder.members("trials"):
            if member.status in STATES:
                study.add_trial(_trial(folder, member, names))
    return study


def _trial(folder: StudyFolder, member: Member, names: dict[str, str]) -> optuna.trial.FrozenTrial:
    space = {path: folder.study.space[path] for path in member.params if path in folder.study.space}
    return create_trial(
        state=STATES[member.status],
        value=member.value if member.status == "complete" else None,
        params={names[p]: plain(member.params[p], q) for p, q in space.items()},
        distributions={names[p]: _distribution(p, q) for p, q in space.items()},
        intermediate_values={int(line["epoch"]): float(line["best"]) for line in folder.lines(member)},
        user_attrs={"trial": member.name},
    )


def plain(value: object, param: Param) -> object:
    """A choice as text, `on` and `off` for true and false, a list joined by +; a number as it is."""
    if param.choices is None:
        return value
    if isinstance(value, bool):
        return "on" if value else "off"
    return "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _distribution(path: str, param: Param) -> BaseDistribution:
    if param.choices is not None:
        return CategoricalDistribution([str(plain(choice, param)) for choice in param.choices])
    assert param.low is not None and param.high is not None
    if is_integer(path):
        return IntDistribution(int(param.low), int(param.high), log=param.log)
    return FloatDistribution(param.low, param.high, log=param.log)
