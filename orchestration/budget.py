"""`budget`: what a study has spent over all its starts, what its final seeds will cost, and when to end."""

from __future__ import annotations

import math
import time

from orchestration.folder import StudyFolder
from orchestration.records import ENDED

FILE = "budget.json"
SAVE_SECONDS = 5.0


class Spending:
    """Counts a driver's time and its runs', beside what earlier drivers of this study left in the folder.

    A driver that is killed loses the last few seconds of its count.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder
        known = folder.storage.get_json(FILE) or {}
        self.wall = float(known.get("wall_seconds", 0.0))
        self.busy = float(known.get("run_seconds", 0.0))  # of all runs together
        self.gpu = float(known.get("gpu_seconds", 0.0))
        self.gpus = float(known.get("gpus_per_run", 0.0))
        self.concurrent = int(known.get("concurrent", 1))
        self.timed_seconds = float(known.get("timed_seconds", 0.0))  # between two epochs of a run
        self.timed_epochs = int(known.get("timed_epochs", 0))
        members = [m for kind in ("trials", "finals") for m in folder.members(kind) if not m.source]
        self.epochs = sum(len(folder.lines(member)) for member in members)
        self._heard: dict[str, float] = {}
        self._last = self._saved = time.monotonic()

    def place(self, gpus_per_run: float, concurrent: int) -> None:
        """What a run takes and how many go at once, known when the cluster is."""
        self.gpus, self.concurrent = gpus_per_run, concurrent

    def tick(self, running: int) -> None:
        """Time went by with so many runs going."""
        now = time.monotonic()
        passed, self._last = now - self._last, now
        self.wall += passed
        self.busy += passed * running
        self.gpu += passed * running * self.gpus
        if now - self._saved > SAVE_SECONDS:
            self.save()

    def epoch(self, run: str) -> None:
        """A run reported an epoch. What one takes is the time since its last: starts take longer."""
        now = time.monotonic()
        if run in self._heard:
            self.timed_seconds += now - self._heard[run]
            self.timed_epochs += 1
        self._heard[run] = now
        self.epochs += 1

    def save(self) -> None:
        """Leave the count for the next start."""
        self._saved = time.monotonic()
        values = {
            "wall_seconds": self.wall,
            "run_seconds": self.busy,
            "gpu_seconds": self.gpu,
            "gpus_per_run": self.gpus,
            "concurrent": self.concurrent,
            "timed_seconds": self.timed_seconds,
            "timed_epochs": self.timed_epochs,
        }
        self.folder.storage.put_json(FILE, values)

    def finals_left(self) -> int:
        """Final seeds that are still to be trained."""
        final = self.folder.study.final
        return max(0, final.top_k * final.seeds - self._finals_ended)

    @property
    def _finals_ended(self) -> int:
        return sum(member.status in ENDED for member in self.folder.members("finals"))

    def final_seconds(self) -> float:
        """What one final seed takes, by what epochs took so far; 0 before a run had two."""
        epochs = self.folder.study.config().train.epochs
        return self.timed_seconds / self.timed_epochs * epochs if self.timed_epochs else 0.0

    def reached(self) -> str | None:
        """Which part of the budget is used up, with what is kept for the final seeds; None if none is."""
        study = self.folder.study
        if all(limit is None for limit in study.budget.model_dump().values()):
            return None  # asked ten times a second: nothing is read for a study without a budget
        left, each = self.finals_left(), self.final_seconds()
        rounds = math.ceil(left / max(1, self.concurrent))
        parts = [
            ("hours", study.budget.hours, self.wall / 3600, rounds * each / 3600),
            ("gpu_hours", study.budget.gpu_hours, self.gpu / 3600, left * each * self.gpus / 3600),
            ("epochs", study.budget.epochs, self.epochs, left * study.config().train.epochs),
        ]
        for name, limit, used, kept in parts:
            if limit is not None and used + kept >= limit:
                return f"budget.{name}: {limit:g}, {used:.4g} used, {kept:.4g} kept for final seeds"
        return None
