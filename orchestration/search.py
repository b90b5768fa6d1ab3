"""Optuna inside Ray Tune: pruned means pruned, and the study folder is the truth.

Every start builds a new in-memory Optuna study and a new ASHA from the folder: ended trials are
added with their states, running ones are asked first with their number and checkpoint.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.seeds import seed_of
from orchestration.space import (
    encoded,
    encoded_choices,
    grid,
    is_integer,
    own_values,
    planned_trials,
    sample,
)
from orchestration.study import Param, Study

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
NUMBER = "number"  # the user attribute that ties an Optuna trial to its folder


class OptunaTrials:
    """Chooses what trials there are: those of the folder that still run, then new ones from Optuna."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        self.study = folder.study
        existing = folder.members("trials")
        self.optuna = _new_study(self.study, len(existing))
        self._asked: dict[str, optuna.Trial] = {}
        self._epochs: dict[str, int] = {}
        self._waiting = [m for m in existing if m.status == "running"]
        for member in existing:
            if member.status != "running":
                self.optuna.add_trial(_frozen(folder, member))
        self._next_number = max((m.number for m in existing), default=-1) + 1
        self._left = planned_trials(self.study) - len(existing)
        for member in self._waiting:
            self._enqueue(member.params)
        if self.study.search.sampler == "grid":
            begun = [member.params for member in existing]
            for point in grid(self.study):
                if point not in begun:
                    self._enqueue(point)
        elif not existing and self.study.search.start_from == "run" and self.study.space:
            self._enqueue(own_values(self.study))

    def _enqueue(self, point: dict[str, Any]) -> None:
        self.optuna.enqueue_trial(encoded(self.study, point))

    def __len__(self) -> int:
        """How many trials are still to run."""
        return len(self._waiting) + max(0, self._left)

    def next(self) -> Member | None:
        """The next trial, or None when all are given out."""
        if not len(self):
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trial = self.optuna.ask()
            point = sample(self.study, trial)
        if self._waiting:
            member = self._waiting.pop(0)
        else:
            self._left -= 1
            seed = self.study.config().seed
            member = Member(f"trials/{self._next_number:04d}", params=point, seed=seed)
            self._next_number += 1
        trial.set_user_attr(NUMBER, member.number)
        self._asked[member.name] = trial
        return member

    def report(self, member: Member, epoch: int, best: float) -> None:
        """An epoch's best value so far; an epoch trained again after a kill is known already."""
        if epoch > self._epochs.get(member.name, 0):
            self._asked[member.name].report(best, epoch)
            self._epochs[member.name] = epoch

    def tell(self, member: Member) -> None:
        """A trial's end, as its state has it."""
        trial = self._asked.pop(member.name)
        value = member.value if member.status == "complete" else None
        self.optuna.tell(trial, value, state=STATES[member.status], skip_if_finished=True)


def _new_study(study: Study, existing: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # A restarted search must not draw the same points again.
    seed = seed_of(study.search.seed, "sampler", existing) % 2**32
    sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
    if study.search.sampler == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=study.search.startup,
            )
    direction = "minimize" if study.objective.mode == "min" else "maximize"
    return optuna.create_study(direction=direction, sampler=sampler)


def _frozen(folder: StudyFolder, member: Member) -> FrozenTrial:
    """An ended trial as Optuna holds it: a pruned one is PRUNED with its intermediate values."""
    values = {int(line["epoch"]): float(line["best"]) for line in folder.lines(member)}
    study = folder.study
    return create_trial(
        state=STATES[member.status],
        params=encoded(study, member.params),
        distributions={p: distribution(p, study.space[p]) for p in member.params},
        intermediate_values=values,
        value=member.value if member.status == "complete" else None,
        user_attrs={NUMBER: member.number},
    )


def distribution(path: str, param: Param) -> BaseDistribution:
    """The Optuna distribution of a parameter, the one that `space.sample` draws from."""
    if param.choices is not None:
        return CategoricalDistribution(encoded_choices(param))
    assert param.low is not None and param.high is not None
    if is_integer(path):
        return IntDistribution(int(param.low), int(param.high), log=param.log)
    return FloatDistribution(param.low, param.high, log=param.log)


def grace_of(study: Study) -> int:
    """Epochs before ASHA may stop a trial: a quarter of the schedule unless the file says."""
    return study.search.grace or max(1, math.ceil(study.config().train.epochs / 4))


def scheduler(study: Study) -> TrialScheduler:
    """ASHA on the best value so far, in our own epochs; or none."""
    epochs = study.config().train.epochs
    if study.search.scheduler == "none" or epochs == 1:
        return FIFOScheduler()
    return ASHAScheduler(
        time_attr="epoch",
        metric="best",
        mode=study.objective.mode,
        max_t=epochs,
        grace_period=min(grace_of(study), epochs - 1),
        reduction_factor=study.search.reduction,
    )


class Replayed:
    """Stands for a trial of an earlier start while its record is shown to a scheduler."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def replay(scheduler: TrialScheduler, trial_id: str, lines: Sequence[dict[str, Any]]) -> None:
    """Fill the scheduler's rungs from a recorded trial, through the calls Tune itself makes."""
    trial = Replayed(trial_id)
    scheduler.on_trial_add(None, trial)
    for line in lines:
        scheduler.on_trial_result(None, trial, {"epoch": line["epoch"], "best": line["best"]})
