"""`resources.stall_minutes`: which runs have not reported for too long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

EPOCHS_LONG = 10
SHORTEST_SECONDS = 600.0
UNKNOWN_SECONDS = 7200.0  # auto, before any epoch of this start has been seen


class Stalls:
    """Hears of every report; `among` names the runs that hang."""

    def __init__(self, minutes: float | Literal["auto"]) -> None:
        self._minutes = minutes
        self._heard: dict[str, float] = {}
        self._longest = 0.0

    def heard(self, trial_id: str) -> None:
        """A run has reported an epoch."""
        now = time.monotonic()
        if trial_id in self._heard:
            self._longest = max(self._longest, now - self._heard[trial_id])
        self._heard[trial_id] = now

    def limit(self) -> float:
        """Seconds without a report that are a hang."""
        if self._minutes != "auto":
            return self._minutes * 60
        return max(SHORTEST_SECONDS, EPOCHS_LONG * self._longest) if self._longest else UNKNOWN_SECONDS

    def among(self, running: Sequence[Any]) -> list[tuple[Any, str]]:
        """Those of Tune's running trials that hang, each once, with the reason in words."""
        now, limit = time.monotonic(), self.limit()
        hang = [t for t in running if now - self._heard.setdefault(t.trial_id, now) > limit]
        for trial in hang:
            self._heard[trial.trial_id] = float("inf")
        return [(trial, f"hang: no report for {limit / 60:.3g} minutes") for trial in hang]
