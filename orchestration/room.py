"""How many runs go at once, as nodes come and go; and what a run that can't start waits for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from orchestration import cluster
from orchestration.placement import Placement, fit

LOOK_SECONDS = 5.0
WAIT_SECONDS = 20.0  # a trial's process starts and imports in less
SAY_SECONDS = 120.0


class Room:
    """`concurrent: auto` follows the cluster; a stated number stays."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._limit = placement.concurrent
        self._looked = time.monotonic()
        self._since: dict[str, float] = {}
        self._said = float("-inf")

    def limit(self) -> int:
        """Runs that may be under way now; at least one, which then waits for a node."""
        now = time.monotonic()
        if self._placement.follows and now - self._looked > LOOK_SECONDS:
            self._looked = now
            self._limit = max(1, fit(self._placement, cluster.capacity()))
        return self._limit

    def waiting(self, pending: Iterable[str]) -> str | None:
        """A line when runs have waited for long, and not again for a while; None otherwise."""
        now = time.monotonic()
        self._since = {name: self._since.get(name, now) for name in pending}
        long = [name for name, since in self._since.items() if now - since > WAIT_SECONDS]
        if not long or now - self._said < SAY_SECONDS:
            return None
        self._said = now
        import ray

        free, there = ray.available_resources(), cluster.capacity()
        return (
            f"{', '.join(sorted(long))} can't start yet: waits for {self._placement}; free now"
            f" {free.get('CPU', 0.0):g} of {there.cpus:g} CPU and {free.get('GPU', 0.0):g} of"
            f" {there.gpus:g} GPU"
        )
