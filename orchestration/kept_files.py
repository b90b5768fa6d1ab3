"""Passes that `features.keep` left with a run, found and brought to this machine. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.feature_folder import epoch_name, epochs, has_whole, parse_epoch
from orchestration.storage import Storage

FOLDER = "features"  # below a run's


def whole_epochs(kept: Storage) -> list[int]:
    """The epochs of a run's features folder that all workers wrote, ascending."""
    if kept.local is not None:
        return epochs(kept.local)
    found = [parse_epoch(name) for name in kept.list(folders=True)]
    return sorted(e for e in found if e is not None and has_whole(kept.list(epoch_name(e))))


@contextmanager
def passes(run: Storage, last: int) -> Iterator[tuple[Path, list[int]]]:
    """For the block, a folder of this machine with the last kept passes of a run, and their epochs."""
    kept = run.child(FOLDER)
    chosen = whole_epochs(kept)[-last:]
    if kept.local is not None:
        yield kept.local, chosen
        return
    names = [f"{epoch_name(e)}/{name}" for e in chosen for name in kept.list(epoch_name(e))]
    with kept.on_disk(*names) as paths:
        yield paths[0].parent.parent if paths else Path(), chosen
