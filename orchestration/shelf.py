"""The studies below a storage folder: what state each is in, and taking one away. No torch, no Ray."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestration import lock
from orchestration.errors import UserError, nearest
from orchestration.records import ENDED, ENDED_FILE, Member, Records
from orchestration.storage import Storage

DELETED = ".deleted"


@dataclass(frozen=True)
class Entry:
    """A study as a list shows it."""

    name: str
    path: Path
    state: str  # running, complete, interrupted, damaged
    holder: str = ""
    members: dict[str, Counter[str]] = field(default_factory=dict)  # by kind and status
    planned: int | None = None  # trials
    metric: str = ""
    best: float | None = None
    size: int = 0
    changed: float = 0.0
    go_on: str = ""


def entries(storage: Path) -> list[Entry]:
    """Every study of a storage folder, by name. A link is not followed."""
    folders = (p for p in sorted(storage.iterdir()) if is_study(p)) if storage.is_dir() else ()
    return [entry(path) for path in folders]


def is_study(path: Path) -> bool:
    """Whether a folder is one that tune, train or ablate made: it has a study file or runs of its own."""
    if path.is_symlink() or not path.is_dir() or path.name.startswith("."):
        return False
    return (path / "study.yaml").is_file() or any(path.glob("*/*/state.json"))


def find(storage: Path, name: str) -> Path:
    """The folder of the study `name`. Raises UserError that says which there are."""
    path = storage / name
    if "/" not in name and name not in ("", ".", "..") and is_study(path):
        return path
    known = [one.name for one in entries(storage)]
    hint = nearest(name, known) or f" It has: {', '.join(known) or 'none'}."
    raise UserError(f"{storage} has no study {name!r}.{hint}")


def entry(path: Path) -> Entry:
    """What there is to say of a study."""
    count, changed = _measure(path)
    try:
        return _entry(path, count, changed)
    except (UserError, yaml.YAMLError, ValueError) as error:
        return Entry(
            path.name, path, "damaged", holder=str(error).splitlines()[0], size=count, changed=changed
        )


def _entry(path: Path, count: int, changed: float) -> Entry:
    records = Records(Storage(str(path)))
    file: Any = yaml.safe_load(records.storage.get("study.yaml") or b"{}") or {}
    if not isinstance(file, dict):
        raise UserError("study.yaml is damaged: it is no mapping")
    kinds = sorted({p.parent.parent.name for p in path.glob("*/*/state.json")})
    members = {kind: records.members(kind) for kind in kinds}
    objective = file.get("objective") or {}
    holder = who_runs(records.storage, members)
    return Entry(
        path.name,
        path,
        _state(records, members, holder),
        holder or "",
        {kind: Counter(m.status for m in those) for kind, those in members.items()},
        (file.get("search") or {}).get("trials") if file.get("space") else None,
        str(objective.get("metric", "val/age_mae")),
        _best([m for those in members.values() for m in those], str(objective.get("mode", "min"))),
        count,
        changed,
        _go_on(path, members, bool(file)),
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


def _go_on(path: Path, members: dict[str, list[Member]], searched: bool) -> str:
    if searched:
        return f"python -m orchestration.tune --space {path}/study.yaml"
    waiting = [m for m in members.get("single", []) if m.status not in ("complete", "pruned")]
    if not waiting:
        return ""
    return f"python -m orchestration.train --space {path}/{waiting[0].name}/resolved.yaml study={path.name}"


def _measure(path: Path) -> tuple[int, float]:
    """Bytes of all files below, links not followed, and when the newest of them was written."""
    count, newest = 0, path.stat().st_mtime
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                stat = (Path(folder) / name).lstat()
            except FileNotFoundError:  # a driver replaced it meanwhile
                continue
            count, newest = count + stat.st_size, max(newest, stat.st_mtime)
    return count, newest


def delete(storage: Path, name: str) -> int:
    """Delete a study's folder. Returns its bytes. Raises UserError while something runs it.

    It is moved to .deleted/ first, so that a deletion that is cut off leaves no half study behind; what
    links point to stays.
    """
    path = find(storage, name)
    found = entry(path)
    if found.state == "running":
        raise UserError(f"{path}: {found.holder} runs this; stop it first: {stop_command(path)}")
    with lock.Lock(Storage(str(path))):
        grave = storage / DELETED / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        grave.parent.mkdir(exist_ok=True)
        path.rename(grave)
    shutil.rmtree(storage / DELETED)
    return found.size


def stop_command(path: Path) -> str:
    """What stops the study at `path`."""
    return f"python -m orchestration.studies --storage {path.parent} --stop {path.name}"
