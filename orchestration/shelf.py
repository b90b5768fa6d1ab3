"""The studies below a storage folder: what state each is in, and taking one away. No torch, no Ray."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import yaml

from orchestration import lock
from orchestration.errors import UserError, first_line, nearest
from orchestration.records import ENDED, ENDED_FILE, KINDS, STATE, Member, Records
from orchestration.storage import Storage

DELETED = ".deleted"


@dataclass(frozen=True)
class Entry:
    """A study as a list shows it."""

    name: str
    folder: Storage
    state: str  # running, complete, interrupted, damaged
    holder: str = ""
    members: dict[str, Counter[str]] = field(default_factory=dict)  # by kind and status
    planned: int | None = None  # trials
    metric: str = ""
    best: float | None = None
    size: int = 0
    changed: float = 0.0
    go_on: str = ""


def entries(storage: Storage) -> list[Entry]:
    """Every study of a storage folder, by name. A link is not followed."""
    return [entry(storage.child(name)) for name in names(storage)]


def names(storage: Storage) -> list[str]:
    """The folders that tune, train or ablate made: they have a study file or runs of their own."""
    found = storage.list(folders=True)
    return [name for name in found if not name.startswith(".") and _is_study(storage.child(name))]


def _is_study(folder: Storage) -> bool:
    if folder.exists("study.yaml"):
        return True
    kinds = [kind for kind in folder.list(folders=True) if kind in KINDS]
    return any(folder.exists(f"{kind}/{run}/{STATE}") for kind in kinds for run in folder.list(kind))


def find(storage: Storage, name: str) -> Storage:
    """The folder of the study `name`. Raises UserError that says which there are."""
    known = names(storage)
    if name in known:
        return storage.child(name)
    storage.require()
    hint = nearest(name, known) or f" It has: {', '.join(known) or 'none'}."
    raise UserError(f"{storage.root} has no study {name!r}.{hint}")


def entry(folder: Storage) -> Entry:
    """What there is to say of a study."""
    files = folder.files()
    count, changed = sum(one.size for one in files), max((one.changed for one in files), default=0.0)
    try:
        return _entry(folder, count, changed)
    except (UserError, yaml.YAMLError, ValueError) as error:
        return Entry(folder.name, folder, "damaged", holder=first_line(error), size=count, changed=changed)


def _entry(folder: Storage, count: int, changed: float) -> Entry:
    records = Records(folder)
    file: Any = yaml.safe_load(folder.get("study.yaml") or b"{}") or {}
    if not isinstance(file, dict):
        raise UserError("study.yaml is damaged: it is no mapping")
    members = {kind: records.members(kind) for kind in KINDS}
    members = {kind: those for kind, those in members.items() if those}
    objective = file.get("objective") or {}
    holder = who_runs(folder, members)
    return Entry(
        folder.name,
        folder,
        _state(records, members, holder),
        holder or "",
        {kind: Counter(m.status for m in those) for kind, those in members.items()},
        (file.get("search") or {}).get("trials") if file.get("space") else None,
        str(objective.get("metric", "val/age_mae")),
        _best([m for those in members.values() for m in those], str(objective.get("mode", "min"))),
        count,
        changed,
        _go_on(folder, members, bool(file)),
    )


def who_runs(storage: Storage, members: dict[str, list[Member]]) -> str | None:
    """Who holds the study or one of its single runs."""
    folders = [storage, *(storage.child(m.name) for m in members.get("single", []))]
    return next((who for who in map(lock.holder, folders) if who is not None), None)


def _state(records: Records, members: dict[str, list[Member]], holder: str | None) -> str:
    if holder is not None:
        return "running"
    runs = [m for those in members.values() for m in those]
    ended = all(m.status in ENDED for m in runs)
    if records.storage.exists("study.yaml"):
        ended = ended and records.storage.exists(ENDED_FILE)
    return "complete" if ended else "interrupted"


def _best(members: list[Member], mode: str) -> float | None:
    values = [m.value for m in members if m.status == "complete" and m.value is not None]
    searched = [m.value for m in members if m.name.startswith("trials/") and m.status == "complete"]
    found = [value for value in searched if value is not None] or values
    return (min(found) if mode == "min" else max(found)) if found else None


def _go_on(folder: Storage, members: dict[str, list[Member]], searched: bool) -> str:
    if searched:
        return f"python -m orchestration.tune --space {shlex.quote(folder.address('study.yaml'))}"
    waiting = [m for m in members.get("single", []) if m.status not in ("complete", "pruned")]
    if not waiting:
        return ""
    file = shlex.quote(folder.address(f"{waiting[0].name}/resolved.yaml"))
    return f"python -m orchestration.train --space {file} study={folder.name}"


def delete(storage: Storage, name: str) -> int:
    """Delete a study's folder. Returns its bytes. Raises UserError while something runs it.

    On a disk it is moved to .deleted/ first, so that a deletion that is cut off leaves no half study behind;
    what links point to stays.
    """
    folder = find(storage, name)
    found = entry(folder)
    if found.state == "running":
        raise UserError(f"{folder.root}: {found.holder} runs this; stop it first: {stop_command(folder)}")
    with lock.Lock(folder):
        if folder.local is not None:
            grave = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
            (folder.local.parent / DELETED).mkdir(exist_ok=True)
            folder.local.rename(folder.local.parent / DELETED / grave)
    storage.clear(DELETED if folder.local is not None else name)
    return found.size


def stop_command(folder: Storage) -> str:
    """What stops the study in `folder`."""
    storage = shlex.quote(folder.parent().root)
    return f"python -m orchestration.studies --storage {storage} --stop {folder.name}"
