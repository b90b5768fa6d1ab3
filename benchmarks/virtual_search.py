"""A search without Ray in virtual time: the same sampler, rule and folder; every epoch is equally long.

What is trained is kept as curves, so that no point is trained twice and other rules can be replayed on it.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.inputs import Prepared
from orchestration.layers import Flat
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.schedulers import replay, scheduler
from orchestration.search import OptunaTrials
from orchestration.study import Study
from orchestration.training import Training

Trace = list[tuple[int, float]]  # epochs trained in all when a trial finished, best value of those finished


@dataclass
class Curves:
    """The validation value of every epoch of every point that was trained, kept in a file of JSON lines."""

    path: Path
    metric: str
    prepared: Prepared
    known: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        for point, values in map(json.loads, lines):
            self.known[_key(point)] = values

    def of(self, point: Flat, study: Study) -> Generator[float]:
        """One value an epoch; those that are known are not trained again unless more are asked for."""
        values = self.known.setdefault(_key(point), [])
        before = len(values)
        training: Training | None = None
        try:
            for epoch in itertools.count():
                if epoch == len(values):
                    training = training or self._at(study.config(point, study.config().seed), epoch)
                    values.append(training.step()[self.metric])
                yield values[epoch]
        finally:  # a rule may stop in between
            if len(values) > before:
                with self.path.open("a") as file:
                    file.write(json.dumps([point, values]) + "\n")

    def full(self, point: Flat, study: Study) -> bool:
        """Train a point to its last epoch. Returns whether nothing was left to do."""
        epochs = study.config().train.epochs
        known = len(self.known.get(_key(point), [])) == epochs
        curve = self.of(point, study)
        for _ in range(epochs):
            next(curve)
        curve.close()
        return known

    def _at(self, config: RunConfig, epoch: int) -> Training:
        training = Training(config, self.prepared.inputs(config), torch.device("cpu"))
        for _ in range(epoch):
            training.step()
        return training


def _key(point: Flat) -> str:
    return json.dumps(point, sort_keys=True)


class Chooses(Protocol):
    """Gives out trials and hears how they go."""

    def next(self) -> Member | None: ...
    def report(self, member: Member, epoch: int, value: float, best: float) -> None: ...
    def tell(self, member: Member, status: str, best: float) -> None: ...


class Live:
    """Optuna as a search has it; the folder is written as a search's runs and driver do."""

    def __init__(self, study: Study, prepared: Prepared) -> None:
        self.folder, self._prepared = StudyFolder(study), prepared
        shutil.rmtree(self.folder.storage.root, ignore_errors=True)
        self._optuna = OptunaTrials(self.folder)
        self._lines: dict[str, list[dict[str, Any]]] = {}

    def next(self) -> Member | None:
        """The next trial, or None after the study's last."""
        member = self._optuna.next()
        if member is None:
            return None
        self._lines[member.name] = []
        config = self.folder.config_of(member)
        return self.folder.start(member, config, self._prepared.inputs(config))

    def points(self) -> list[Flat]:
        """What it would draw if nothing were learnt: the points of all its trials."""
        return [member.params for member in iter(self._optuna.next, None)]

    def report(self, member: Member, epoch: int, value: float, best: float) -> None:
        """An epoch, in the folder first."""
        lines = self._lines[member.name]
        lines.append({"epoch": epoch, self.folder.study.objective.metric: value, "best": best})
        put_metrics(self.folder.storage.child(member.name), lines)
        self._optuna.report(member, epoch, best)

    def tell(self, member: Member, status: str, best: float) -> None:
        """A trial's end, in the folder first."""
        self._optuna.tell(self.folder.end(member, status, value=best))


class Drawn:
    """Points that were drawn before, in their order."""

    def __init__(self, points: Sequence[Flat]) -> None:
        self._members = [Member(f"trials/{i:04d}", params=dict(p)) for i, p in enumerate(points)]

    def next(self) -> Member | None:
        """The next point, or None."""
        return self._members.pop(0) if self._members else None

    def report(self, member: Member, epoch: int, value: float, best: float) -> None:
        """Nothing depends on it."""

    def tell(self, member: Member, status: str, best: float) -> None:
        """Nothing depends on it."""


@dataclass
class _Slot:
    member: Member
    curve: Generator[float]
    epoch: int = 0
    best: float = float("inf")


def search(
    study: Study,
    chooses: Chooses,
    curves: Curves,
    enough: Callable[[Trace, int], bool],
    at_once: int = 2,
) -> Trace:
    """Run trials, `at_once` in turns of one epoch, until there are no more or it is `enough` (trace, epochs).

    Only a trial that reached its last epoch counts as found: an early value is not a final one.
    """
    rule, spent, epochs = scheduler(study), 0, study.config().train.epochs
    trace: Trace = []
    slots: list[_Slot | None] = [None] * at_once
    going = True
    while going:
        going = False
        for place, slot in enumerate(slots):
            if slot is None:
                member = chooses.next()
                if member is None:
                    continue
                slot = slots[place] = _Slot(member, curves.of(member.params, study))
            going, value = True, next(slot.curve)
            slot.epoch, slot.best, spent = slot.epoch + 1, min(slot.best, value), spent + 1
            chooses.report(slot.member, slot.epoch, value, slot.best)
            decision = replay(rule, slot.member.name, [{"epoch": slot.epoch, "best": slot.best}])
            whole = slot.epoch == epochs
            if whole or decision == "STOP":
                slots[place] = None
                slot.curve.close()
                chooses.tell(slot.member, "complete" if whole else "pruned", slot.best)
            if whole:
                trace.append((spent, min([slot.best, *(best for _, best in trace[-1:])])))
            if enough(trace, spent):
                return trace
    return trace
