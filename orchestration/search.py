"""Optuna inside Ray Tune: pruned means pruned, and the study folder is the truth.

Every start builds a new in-memory Optuna study from the folder: ended trials are added with their
states, running ones are asked first with their number and checkpoint. The file that optuna-dashboard
opens is written after the folder (journal.py).
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from orchestration import cluster, frozen_trials, packing, schedulers, start
from orchestration.folder import StudyFolder
from orchestration.journal import Journal
from orchestration.layers import Flat
from orchestration.objectives import outcome
from orchestration.points import not_begun
from orchestration.records import Member
from orchestration.samplers import sampler
from orchestration.space import encoded, planned_trials, sample
from orchestration.start import first_points

if TYPE_CHECKING:
    from orchestration.engine import Engine


def run(engine: Engine) -> None:
    """Run the trials that are missing, stopped early by the study's rule."""
    start.take_over(engine.folder, engine.prepared.inputs)
    if engine.folder.study.resources.pack == "measured":
        _pack(engine)
    _run(engine)


def _run(engine: Engine) -> None:
    folder = engine.folder
    rule = schedulers.scheduler(folder.study)
    for member in schedulers.replay_all(rule, folder):
        lines = folder.lines(member)
        folder.end(member, "pruned", value=float(lines[-1]["best"]), **outcome(folder.study, lines))
    trials = OptunaTrials(folder)
    engine.run(trials, rule)
    trials.journal.copy()


def _pack(engine: Engine) -> None:
    """Place by the memory that trials took so far; where none has run, one goes alone for an epoch first."""
    stated = engine.placement
    if packing.peak_of(_lines(engine.folder)) is None:
        engine.placement = replace(stated, concurrent=1, follows=False)
        engine.measuring = True
        _run(engine)
        engine.measuring = False
    engine.placement = stated
    peak = packing.peak_of(_lines(engine.folder))
    if peak is not None:
        there = cluster.capacity()
        engine.console.say(packing.advice(stated, peak, stated.gpu_gib, there))
        place = engine.placement = packing.packed(stated, peak, stated.gpu_gib, there)
        if engine.spending is not None:
            engine.spending.place(place.gpus * place.workers, place.concurrent)
        engine.console.say(f"packed: {place.concurrent} at once, each {place}")


def _lines(folder: StudyFolder) -> list[dict[str, Any]]:
    return [line for member in folder.members("trials") for line in folder.lines(member)]


class OptunaTrials:
    """Chooses what trials there are: those of the folder that still run, then new ones from Optuna."""

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        self.study = folder.study
        existing = folder.members("trials")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.optuna = optuna.create_study(
            directions=frozen_trials.directions(self.study), sampler=sampler(self.study, len(existing))
        )
        self.journal = Journal(folder)
        self._asked: dict[str, optuna.Trial] = {}
        self._epochs: dict[str, int] = {}
        self._waiting = [m for m in existing if m.status == "running"]
        for member in existing:
            if member.status != "running":
                self.optuna.add_trial(frozen_trials.frozen(folder, member))
        self._next_number = max((m.number for m in existing), default=-1) + 1
        # What was begun is finished, also where search.trials was lowered meanwhile.
        self._left = max(0, planned_trials(self.study) - len(existing))
        for member in self._waiting:
            self._enqueue(member.params)
        for point in not_begun(first_points(self.study), [member.params for member in existing]):
            self._enqueue(point)

    def _enqueue(self, point: Flat) -> None:
        self.optuna.enqueue_trial(encoded(self.study, point))

    def __len__(self) -> int:
        """How many trials are still to run."""
        return len(self._waiting) + self._left

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
        trial.set_user_attr(frozen_trials.NUMBER, member.number)
        self._asked[member.name] = trial
        return member

    def report(self, member: Member, epoch: int, best: float) -> None:
        """An epoch's best value so far; an epoch trained again after a kill is known already."""
        if epoch > self._epochs.get(member.name, 0):
            if not self.study.objective.others:  # Optuna takes no epochs of several objectives
                self._asked[member.name].report(best, epoch)
            self._epochs[member.name] = epoch
            self.journal.sync(member)

    def tell(self, member: Member) -> None:
        """A trial's end, as its state in the folder has it."""
        trial = self._asked.pop(member.name)
        wanted = frozen_trials.frozen(self.folder, member)
        frozen_trials.describe_end(trial, wanted)
        values = wanted.values if wanted.state == TrialState.COMPLETE else None
        self.optuna.tell(trial, values, state=wanted.state, skip_if_finished=True)
        self.journal.sync(member)
