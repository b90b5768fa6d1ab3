"""How much of object storage a machine keeps: RAPL_CACHE_GIB bounds it, the least recently used goes first.

An entry is a folder of the cache. Whoever opens one holds a shared lock on its mark `.ENTRY.used` until the
process ends, so that nothing in use is removed; the mark's time is that of the last use, and its text the
bytes that a fetch which is under way will need.
"""

import contextlib
import fcntl
import os
import shutil
import sys
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

from data.errors import DataError

VARIABLE = "RAPL_CACHE_GIB"
_held: dict[Path, TextIOWrapper] = {}  # for as long as this process lives


@dataclass(frozen=True)
class _Entry:
    path: Path
    size: int
    used: float


def limit() -> int | None:
    """Return the bound in bytes; None where there is none. Raises DataError."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    with contextlib.suppress(ValueError, OverflowError):
        if float(given) > 0:
            return int(float(given) * 2**30)
    raise DataError(f"{VARIABLE} must be a number of GiB above 0. Received: {given!r}")


def hold(entry: Path) -> None:
    """Keep an entry, there or still to be fetched, from being removed while this process lives."""
    mark = _mark(entry)
    if entry not in _held:
        file = mark.open("a")
        fcntl.flock(file, fcntl.LOCK_SH)
        _held[entry] = file
    os.utime(mark)


def make(entry: Path, size: int) -> None:
    """Remove other entries until this one of `size` bytes fits. Raises DataError where it cannot."""
    from data.cache import locked

    bound = limit()
    if bound is None:
        return
    with locked(entry.parent / ".room.lock"):
        _mark(entry).write_text(str(size))
        others = [_measured(p) for p in entry.parent.iterdir() if p.name[0] != "." and p != entry]
        total = size + sum(other.size for other in others)
        for other in sorted(others, key=lambda one: one.used):
            if total <= bound:
                break
            if _remove(other):
                total -= other.size
    if total > bound:
        _mark(entry).write_text("")
        raise DataError(
            f"{VARIABLE} is {bound / 2**30:g}: {size / 2**30:.3g} GiB more do not fit into {entry.parent}"
            f" beside the {(total - size) / 2**30:.3g} GiB in use. Raise it, or set RAPL_CACHE to a"
            " larger disk"
        )


def _mark(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.used")


def _measured(path: Path) -> _Entry:
    found, mark = 0, _mark(path)
    for file in path.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process renames it
            found += file.stat().st_size
    asked = mark.read_text() if mark.is_file() else ""
    used = mark if mark.is_file() else path
    return _Entry(path, max(found, int(asked) if asked.isdigit() else 0), used.stat().st_mtime)


def _remove(entry: _Entry) -> bool:
    """Remove an entry unless some process holds it; returns whether it is gone."""
    with _mark(entry.path).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        file.truncate(0)
        grave = entry.path.with_name(f".removed-{entry.path.name}")
        shutil.rmtree(grave, ignore_errors=True)
        entry.path.rename(grave)
    shutil.rmtree(grave, ignore_errors=True)
    print(f"cache: {entry.path.name}, {entry.size / 2**20:,.1f} MiB, made room", file=sys.stderr)
    return True
