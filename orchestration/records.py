"""What a study folder holds, read without torch or Ray: its members, their states and their metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestration.errors import UserError
from orchestration.storage import Storage

ENDED = ("complete", "pruned", "failed")
KINDS = ("trials", "finals", "cells", "single")  # of members
ENDED_FILE = "ended.json"  # left by a driver that did all there was to do
STATE = "state.json"  # of a member
FIGURES = "figures"  # the folder of a search's figures


@dataclass(frozen=True)
class Member:
    """A trial, final seed, ablation cell or single run of a study, as its `state.json` has it."""

    name: str  # trials/0007, finals/0007-seed1, cells/evr-seed3, single/seed0
    status: str = "running"  # running, complete, pruned, failed
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    attempt: int = 0
    value: float | None = None
    reason: str | None = None
    cause: str | None = None  # of a failure, one of causes.CAUSES
    values: list[float] | None = None  # of several objectives, the first one's first
    broken: list[str] = field(default_factory=list)  # constraints it does not keep to
    changes: dict[str, Any] = field(default_factory=dict)  # what the machine forced: train.accumulate
    source: str | None = None  # the trial of an earlier study whose result this is
    identity: str = ""
    fingerprint: str = ""
    audit: dict[str, str] = field(default_factory=dict)  # leaks: verdicts and reasons (audit_line.py)
    dataset: str = ""
    split_hash: str = ""
    cell: dict[str, Any] = field(default_factory=dict)  # of an ablation: its variant, dataset and split
    test: dict[str, float] | None = None
    started: float = 0.0
    ended: float | None = None

    @property
    def number(self) -> int:
        """The number of a trial or of the trial a final seed is of: 7 for trials/0007, finals/0007-seed1."""
        return int(self.name.split("/")[1].split("-")[0])


class Records:
    """Reads the folder of a study. What writes to it is `folder.StudyFolder`."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def members(self, kind: str) -> list[Member]:
        """All members of a kind (`trials`, `finals`, `cells`, `single`), in order of their names."""
        return self.read([f"{kind}/{entry}" for entry in self.storage.list(kind)])

    def read(self, names: Sequence[str]) -> list[Member]:
        """The members of these names that were ever started."""
        states = self.storage.get_all([f"{name}/{STATE}" for name in names])
        read = zip(names, states, strict=True)
        return [self._member(name, state) for name, state in read if state is not None]

    def member(self, name: str) -> Member | None:
        """The member called `name`, such as trials/0007, if it was ever started."""
        state = self.storage.get(f"{name}/{STATE}")
        return None if state is None else self._member(name, state)

    def _member(self, name: str, data: bytes) -> Member:
        state = self.storage.parsed(f"{name}/{STATE}", data)
        state.pop("format_version")
        try:
            return Member(**state)
        except TypeError as error:
            raise UserError(f"{self.storage.address(name)}/{STATE} is damaged: {error}") from None

    def lines(self, member: Member) -> list[dict[str, Any]]:
        """The member's metrics, one dictionary an epoch."""
        return read_metrics(self.storage.child(member.name))


def read_metrics(storage: Storage) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl`, oldest first; empty where there is none. Raises UserError."""
    data = storage.get("metrics.jsonl") or b""
    try:
        return [json.loads(line) for line in data.splitlines()]
    except ValueError as error:
        raise UserError(f"{storage.address('metrics.jsonl')} is damaged: {error}") from None
