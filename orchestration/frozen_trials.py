"""A trial of the study folder as Optuna holds it."""

from __future__ import annotations

import datetime

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from orchestration.folder import StudyFolder
from orchestration.objectives import excesses, modes
from orchestration.records import Member
from orchestration.space import encoded, encoded_choices, is_integer
from orchestration.study import Param, Study

STATES = {
    "running": TrialState.RUNNING,
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
# User attributes: the number that ties an Optuna trial to its folder, why it failed, where it came from.
NUMBER, REASON, SOURCE = "number", "reason", "source"


def directions(study: Study) -> list[str]:
    """Optuna's word for the mode of every objective."""
    return ["minimize" if mode == "min" else "maximize" for mode in modes(study.objective)]


def distribution(path: str, param: Param) -> BaseDistribution:
    """The Optuna distribution of a parameter, the one that `space.sample` draws from."""
    if param.choices is not None:
        return CategoricalDistribution(encoded_choices(param))
    assert param.low is not None and param.high is not None
    if is_integer(path):
        return IntDistribution(int(param.low), int(param.high), log=param.log)
    return FloatDistribution(param.low, param.high, log=param.log)


def frozen(folder: StudyFolder, member: Member) -> FrozenTrial:
    """A trial with its epochs as intermediate values (none with several objectives, as Optuna wants it).

    A pruned one is PRUNED with its last one for a value, Optuna's own convention: samplers rank it below
    every finished trial, and importance leaves it out.
    """
    study = folder.study
    lines = folder.lines(member)
    one = not study.objective.others
    state = STATES[member.status]
    values = None
    if state == TrialState.COMPLETE:
        values = [member.value] if one else member.values
    elif state == TrialState.PRUNED and one and lines:
        values = [float(lines[-1]["best"])]
    attributes = {NUMBER: member.number, REASON: member.reason, SOURCE: member.source}
    ended = member.status != "running"
    trial = create_trial(
        state=state,
        params=encoded(study, member.params),
        distributions={p: distribution(p, study.space[p]) for p in member.params},
        intermediate_values={int(line["epoch"]): float(line["best"]) for line in lines} if one else {},
        values=values,
        user_attrs={key: value for key, value in attributes.items() if value is not None},
        constraints=excesses(study, lines) if ended and lines else {},
    )
    if member.started:
        trial.datetime_start = datetime.datetime.fromtimestamp(member.started)
    if member.ended:
        trial.datetime_complete = datetime.datetime.fromtimestamp(member.ended)
    return trial


def describe_end(live: Trial, wanted: FrozenTrial) -> None:
    """Tell a trial that is about to end of its constraints and its reason, which must come before."""
    for key, excess in wanted.constraints.items():
        live.set_constraint(key, excess)
    for key, value in wanted.user_attrs.items():
        if live.user_attrs.get(key) != value:
            live.set_user_attr(key, value)
