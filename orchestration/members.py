"""Who gives out members of a study to run, and who watches them: what the engine asks of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from orchestration.records import Member


class Source(Protocol):
    """Gives out members to run, and hears how they go."""

    def __len__(self) -> int: ...
    def next(self) -> Member | None: ...
    def report(self, member: Member, epoch: int, best: float) -> None: ...
    def tell(self, member: Member) -> None: ...


class Watcher(Protocol):
    """Tells a person how members go."""

    def started(self, member: Member) -> None: ...
    def epoch(self, member: Member, line: Mapping[str, Any]) -> None: ...
    def ended(self, member: Member) -> None: ...
    def say(self, line: str) -> None: ...


class Listed:
    """Members known beforehand: final seeds, or a single run."""

    def __init__(self, members: list[Member]) -> None:
        self._members = list(members)

    def __len__(self) -> int:
        return len(self._members)

    def next(self) -> Member | None:
        """The next member, or None."""
        return self._members.pop(0) if self._members else None

    def report(self, member: Member, epoch: int, best: float) -> None:
        """Nothing is decided by an epoch of a listed run."""

    def tell(self, member: Member) -> None:
        """Nothing is decided by the end of a listed run."""
