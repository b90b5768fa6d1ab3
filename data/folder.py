"""A data set appears whole or not at all: it is built in a hidden sibling folder, then renamed.

One run at a time does this to a target (data/held.py), so what others left beside it is nobody's.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from data.errors import DataError, DiskError, MachineError
from data.schema import FACES_FILE, MANIFEST_FILE, Manifest

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_manifest(root: Path) -> Manifest:
    """Return the manifest of the data set in `root`; DataError where there is none."""
    path = root / MANIFEST_FILE
    if not path.is_file():
        raise DataError(f"{root} is not a prepared data set: it holds no {MANIFEST_FILE}")
    return Manifest.from_json(path.read_text(errors="replace"), path)


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
def built(out: Path, journal: str) -> Iterator[Path]:
    """Yield a folder beside `out` that becomes `out` if the block ends well, and vanishes if not.

    The folder is empty, or the one that a run left which was cut short (killed, Ctrl-C, a lost worker) with
    the file `journal` in it. Raises MachineError where the disk is full or does not let write.
    """
    partial = _sibling(out, "partial")
    keep = False
    try:
        with _disk_words(out):
            _adopt(out, journal, partial)
            partial.mkdir(parents=True, exist_ok=True)
            yield partial
            _swap(partial, out)
    except (KeyboardInterrupt, MachineError) as error:
        keep = not isinstance(error, DiskError) and (partial / journal).is_file()
        raise
    finally:
        if not keep:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def scratch(out: Path, kind: str) -> Iterator[Path]:
    """Yield an empty folder of this kind beside `out`, which vanishes with the block. Raises as `built`."""
    path = _sibling(out, kind)
    try:
        with _disk_words(out):
            path.mkdir(parents=True)
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _disk_words(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskError(f"{out.parent}: no room left for the data set ({error.strerror})") from None
        raise DiskError(f"{error.filename or out.parent}: {error.strerror or error}") from None


def check_room(folder: Path, needed: int) -> None:
    """Raise MachineError if less than `needed` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MachineError(
            f"{folder}: preparing needs {needed / 1e9:.1f} GB free, there are {free / 1e9:.1f} GB"
        )


def bring_back(out: Path) -> None:
    """Bring back a data set whose replacement was cut short; remove what a cut run unpacked."""
    for left in _left(out, {"old", "source"}):
        if out.exists() or ".old-" not in left.name:
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.rename(out)


def clear_stale(out: Path) -> None:
    """Remove what runs that were cut short left beside `out`."""
    for left in _left(out, {"partial"}):
        shutil.rmtree(left, ignore_errors=True)


def _adopt(out: Path, journal: str, partial: Path) -> None:
    """Make `partial` of a folder that was left with this journal, if there is one; remove the others."""
    left = _left(out, {"partial"})
    kept = next((path for path in left if (path / journal).is_file()), None)
    for path in left:
        if path != kept:
            shutil.rmtree(path, ignore_errors=True)
    if kept:
        kept.rename(partial)


def _left(out: Path, kinds: set[str]) -> list[Path]:
    """Return the folders of these kinds beside `out`."""
    found = []
    for path in sorted(out.parent.glob(f".{escape(out.name)}.*-*")):
        kind, _, pid = path.name.removeprefix(f".{out.name}.").rpartition("-")
        if kind in kinds and pid.isdigit():
            found.append(path)
    return found


def _swap(partial: Path, out: Path) -> None:
    """Put `partial` where `out` is.

    Of two runs that end at once, where no lock keeps them apart, both succeed; one is then replaced.
    """
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
