"""How far a phase of a study is, and how long it will take: counts and arithmetic, no output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.records import Member
from orchestration.stopping import Stopping

# How many trials' worth the expectation counts beside the trials that have ended.
PRIOR_TRIALS = 4


@dataclass
class Live:
    """A member that runs now."""

    member: Member
    epoch: int = 0
    best: float | None = None


class Progress:
    """Hears what a Watcher hears. `done` members with `spent` epochs in all had ended before this start.

    `later` is how many epochs the command still trains after this phase: the final seeds.
    """

    def __init__(
        self,
        total: int,
        stopping: Stopping,
        mode: str = "min",
        tally: Mapping[str, int] | None = None,
        spent: int = 0,
        best: float | None = None,
        later: float = 0.0,
    ) -> None:
        self.total = total
        self.stopping = stopping
        self.better = min if mode == "min" else max
        self.tally = {"complete": 0, "pruned": 0, "failed": 0, **(tally or {})}
        self.best = best
        self.later = later
        self.running: dict[str, Live] = {}
        self._spent = spent
        self._first = self.done
        self._trained = 0
        self._start: float | None = None

    @property
    def done(self) -> int:
        """How many members have ended, over all starts."""
        return sum(self.tally.values())

    def started(self, member: Member) -> None:
        """A member begins, or goes on."""
        self._start = self._start or time.monotonic()
        self.running[member.name] = Live(member)

    def epoch(self, member: Member, line: Mapping[str, Any]) -> None:
        """An epoch is over. One that is reported twice counts once."""
        live = self.running.setdefault(member.name, Live(member))
        if int(line["epoch"]) > live.epoch:
            # A member that goes on from a checkpoint did not train its first epochs now.
            self._trained += 1
            live.epoch, live.best = int(line["epoch"]), float(line["best"])

    def ended(self, member: Member) -> None:
        """A member is over; only a finished one's value can be the best."""
        live = self.running.pop(member.name, Live(member))
        self.tally[member.status] = self.tally.get(member.status, 0) + 1
        self._spent += live.epoch
        if member.value is not None and member.status == "complete":
            self.best = member.value if self.best is None else self.better(self.best, member.value)

    def per_minute(self) -> float:
        """Members ended per minute of this start."""
        return (self.done - self._first) / max(1e-9, self._elapsed()) * 60

    def seconds_left(self) -> float | None:
        """Expected seconds to the end of the command, or None before the first epoch is over.

        What is left is counted in epochs, since stopped trials end early: what the rule lets expect, mixed
        with what trials took so far.
        """
        if not self._trained:
            return None
        return (self.epochs_left() + self.later) * self._elapsed() / self._trained

    def epochs_left(self) -> float:
        """Expected epochs that this phase still trains."""
        waiting = max(0, self.total - self.done - len(self.running))
        running = sum(self.stopping.rest(live.epoch, self.done) for live in self.running.values())
        expected = self.stopping.expected(self.total) - self.stopping.expected(self.total - waiting)
        prior = expected / waiting if waiting else 0.0
        usual = (PRIOR_TRIALS * prior + self._spent) / (PRIOR_TRIALS + self.done)
        return waiting * usual + running

    def _elapsed(self) -> float:
        return time.monotonic() - self._start if self._start is not None else 0.0
