"""Who is stopped early: ASHA, several of its brackets, the median rule; and how a restart fills them."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.seeds import seed_of
from orchestration.stopping import brackets_of, grace_of
from orchestration.study import Study

MEDIAN_OF = 5  # trials that must have come so far before their median stops one
PATIENCE_SECONDS = 30.0  # after which one of the trials that wait for a process takes one that is free


def scheduler(study: Study) -> TrialScheduler:
    """The study's rule on the best value so far, in our own epochs; trials go by their member's name."""
    epochs = study.config().train.epochs
    search = study.search
    grace = grace_of(study)
    if search.scheduler == "none" or epochs == 1:
        return FIFOScheduler()
    if search.scheduler == "median":
        return MedianStopping(study.objective.mode, grace, epochs)
    return Asha(
        search.seed,
        time_attr="epoch",
        metric="best",
        mode=study.objective.mode,
        max_t=epochs,
        grace_period=grace,
        reduction_factor=search.reduction,
        brackets=brackets_of(study),
    )


class Asha(ASHAScheduler):
    """Ray's ASHA, but a trial's bracket follows from its name, so that a restart finds it again."""

    def __init__(self, seed: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._seed = seed

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Ray's own odds: the more rungs a bracket has, the likelier it is."""
        number = int("".join(filter(str.isdigit, trial.trial_id)) or 0)
        odds = [math.exp(len(bracket._rungs)) for bracket in self._brackets]
        draw = random.Random(seed_of(self._seed, "bracket", number))
        self._trial_info.setdefault(trial.trial_id, draw.choices(self._brackets, odds)[0])


class MedianStopping(FIFOScheduler):
    """Stops a trial whose best value so far is worse than the median of the others' at the same epoch.

    (Golovin et al., Google Vizier, 2017, with best values for running means.)
    """

    def __init__(self, mode: str, grace: int, epochs: int) -> None:
        super().__init__()
        self._sign = 1.0 if mode == "min" else -1.0
        self._grace = grace
        self._epochs = epochs
        self._seen: dict[int, dict[str, float]] = defaultdict(dict)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """The decision on one epoch of one trial."""
        epoch, value = int(result["epoch"]), self._sign * float(result["best"])
        others = [v for name, v in self._seen[epoch].items() if name != trial.trial_id]
        self._seen[epoch][trial.trial_id] = value
        worse = len(others) >= MEDIAN_OF and value > median(others)
        stop = epoch >= self._epochs or (epoch >= self._grace and worse)
        return str(TrialScheduler.STOP if stop else TrialScheduler.CONTINUE)


class Known:
    """Stands for a Tune trial before a scheduler: it is known by its member's name, over all starts."""

    def __init__(self, name: str) -> None:
        self.trial_id = name


def replay(rule: TrialScheduler, name: str, lines: Sequence[dict[str, Any]]) -> str:
    """Show a scheduler a recorded trial through the calls Tune itself makes; returns its last decision."""
    trial = Known(name)
    rule.on_trial_add(None, trial)
    decision = str(TrialScheduler.CONTINUE)
    for line in lines:
        decision = str(rule.on_trial_result(None, trial, {"epoch": line["epoch"], "best": line["best"]}))
    return decision


def replay_all(rule: TrialScheduler, folder: StudyFolder) -> list[Member]:
    """Show a scheduler every trial of a study, epochs in the order they happened.

    Returns the running ones that it stops at their last epoch: a kill came before their state was written.
    """
    last: dict[str, str] = {}
    members = {member.name: member for member in folder.members("trials")}
    recorded = {name: folder.lines(member) for name, member in members.items()}
    for name in members:
        rule.on_trial_add(None, Known(name))
    epochs = [[(float(line.get("time", 0.0)), name, line) for line in recorded[name]] for name in members]
    for _, name, line in heapq.merge(*epochs, key=lambda item: item[:2]):
        last[name] = replay(rule, name, [line])
    total = folder.study.config().train.epochs
    return [
        member
        for name, member in members.items()
        if member.status == "running"
        and last.get(name) == TrialScheduler.STOP
        and int(recorded[name][-1]["epoch"]) < total
    ]


class ByMember(FIFOScheduler):
    """Tune's scheduler: asks a rule under the member's name, and whether there is a reason to stop at all."""

    def __init__(self, rule: TrialScheduler, over: Callable[[], bool]) -> None:
        super().__init__()
        self.rule = rule
        self.names: dict[str, str] = {}  # of Tune's trials
        self.trials: dict[str, Any] = {}  # Tune's, those that have not ended
        self.errors: dict[str, str] = {}  # Tune's words on what ended a trial's process
        self.stopped: set[str] = set()  # members that the rule stopped
        self._over = over
        self._added: dict[str, float] = {}  # when, of `trials`
        self._favoured: Any = None  # the trial that takes the next free process, though its own is coming
        self._favoured_since = 0.0

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """The rule knows the member since it was given out."""
        self.trials[trial.trial_id] = trial
        self._added[trial.trial_id] = time.monotonic()

    def forget(self, trial_id: str) -> None:
        """A Tune trial ended."""
        self.trials.pop(trial_id, None)
        self._added.pop(trial_id, None)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Who gets the process that an ended trial left, if there is one: the newest trial, or None.

        Left to itself, Tune gives it to the trial that waits longest and throws away the process that is
        being started for that one; where trials are shorter than such a start, it never has as many
        processes as there is room for. So that none waits for ever, now and then one takes it all the same.
        """
        pending = [trial for trial in self.trials.values() if trial.status == Trial.PENDING]
        if not pending:
            return None
        first, now = pending[0], time.monotonic()
        if first is not self._favoured:
            if now - max(self._added[first.trial_id], self._favoured_since) < PATIENCE_SECONDS:
                return pending[-1]
            self._favoured, self._favoured_since = first, now
        return first

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """The rule's decision on an epoch; STOP for all once it is over."""
        name = self.names.get(trial.trial_id)
        if name is None or "epoch" not in result:
            return str(TrialScheduler.CONTINUE)
        decision = self.rule.on_trial_result(
            tune_controller, Known(name), {"epoch": result["epoch"], "best": result["best"]}
        )
        if decision == TrialScheduler.STOP:
            self.stopped.add(name)
        return str(TrialScheduler.STOP if self._over() else decision)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Keep in words why a trial's process ended; the searcher is told next."""
        if trial.error_file is not None and Path(trial.error_file).exists():
            self.errors[trial.trial_id] = Path(trial.error_file).read_text(errors="replace")
