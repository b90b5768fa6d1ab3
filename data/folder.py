"""A data set appears whole or not at all: it is built in a hidden sibling folder, then renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from data.errors import DataError, MachineError
from data.schema import FACES_FILE, MANIFEST_FILE, Manifest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_manifest(root: Path) -> Manifest:
    """Return the manifest of the data set in `root`; DataError where there is none."""
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise DataError(f"{root} is not a prepared data set: it holds no {MANIFEST_FILE}")
    return Manifest.from_json(path.read_text(), path)


def check_replaceable(out: Path, reader: str) -> None:
    """Raise DataError unless `out` is absent, empty, or a data set made by the same reader."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / MANIFEST_FILE).is_file():
        raise DataError(f"{out} exists and is not a prepared data set; choose another --out or remove it")
    there = read_manifest(out).reader
    if there != reader:
        raise DataError(f"{out} holds a {there} data set, not {reader}; choose another --out or remove it")


def up_to_date(out: Path, fingerprint: str) -> Manifest | None:
    """Return the manifest of `out` if it has this fingerprint and its faces are as they were written."""
    from data.store import content_hash

    if not (out / MANIFEST_FILE).is_file() or not (out / FACES_FILE).is_file():
        return None
    manifest = read_manifest(out)
    if manifest.fingerprint != fingerprint or content_hash(out / FACES_FILE) != manifest.content_hash:
        return None
    return manifest


@contextmanager
def built(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out` that becomes `out` if the block ends well, and vanishes if not.

    Raises MachineError where the disk is full or does not let write.
    """
    with scratch(out, "partial") as partial:
        yield partial
        _swap(partial, out)


@contextmanager
def scratch(out: Path, kind: str) -> Iterator[Path]:
    """Yield an empty folder of this kind beside `out`, which vanishes with the block. Raises as `built`."""
    path = _sibling(out, kind)
    try:
        path.mkdir(parents=True)
        yield path
    except OSError as error:
        if error.errno in _FULL:
            raise MachineError(f"{out.parent}: no room left for the data set ({error.strerror})") from None
        raise MachineError(f"{error.filename or out.parent}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(path, ignore_errors=True)


def check_room(folder: Path, needed: int) -> None:
    """Raise MachineError if less than `needed` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MachineError(
            f"{folder}: preparing needs {needed / 1e9:.1f} GB free, there are {free / 1e9:.1f} GB"
        )


def clear_stale(out: Path) -> None:
    """Remove what killed runs left beside `out`; bring back a data set whose replacement was cut short."""
    for left in sorted(out.parent.glob(f".{escape(out.name)}.*-*")):
        kind, _, pid = left.name.removeprefix(f".{out.name}.").rpartition("-")
        if kind not in {"partial", "source", "old"} or not pid.isdigit() or _alive(int(pid)):
            continue
        if kind == "old" and not out.exists():
            left.rename(out)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _swap(partial: Path, out: Path) -> None:
    """Put `partial` where `out` is. Of two runs that end at once both succeed; one is then replaced."""
    old = _sibling(out, "old")
    while True:
        try:
            if out.exists():
                out.rename(old)
            partial.rename(out)
            break
        except OSError as error:  # the other run came between: it took `out` away, or put its own there
            if error.errno not in {errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST} or not partial.exists():
                raise
            shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _sibling(out: Path, kind: str) -> Path:
    return out.with_name(f".{out.name}.{kind}-{os.getpid()}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
