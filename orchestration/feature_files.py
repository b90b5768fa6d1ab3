"""Where the feature files of frozen backbones lie: in `features/` beside the studies, for all of them.

In an object store a file is put with its SHA-256 beside it, and every node fetches it once (data/cache.py).
"""

from __future__ import annotations

import time
from pathlib import Path

from data import cache, remote
from orchestration import frozen
from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.lock import Held, Lock
from orchestration.storage import Storage

FOLDER = "features"
WAIT_SECONDS = 5.0


def ensure(config: RunConfig, inputs: Inputs, storage: Storage) -> str:
    """The path or address of a run's feature file, computed if it is not there. `storage` holds the studies.

    One process computes, others wait. Raises MachineError where a disk is full or the storage is away.
    """
    folder = storage.child(FOLDER)
    if folder.local is not None:
        return str(frozen.ensure(config, inputs, folder.local))
    name = _name(config, inputs)
    while not folder.exists(f"{name}.sha256"):  # put last
        try:
            with Lock(folder, f".{name}.lock"):
                path = frozen.ensure(config, inputs, cache.cache_root() / FOLDER)
                remote.put(path, folder.address(name), cache.fetched_root())
        except Held:  # another driver computes it
            time.sleep(WAIT_SECONDS)
    address = folder.address(name)
    cache.local(address)  # a damaged one is found here, not in every trial
    return address


def find(config: RunConfig, inputs: Inputs, storage: Storage) -> Path | None:
    """A run's feature file on this machine, fetched from an object store; None where there is none."""
    folder, name = storage.child(FOLDER), _name(config, inputs)
    return cache.local(folder.address(name)) if folder.exists(name) else None


def missing(config: RunConfig, inputs: Inputs, storage: Storage) -> str | None:
    """The name of a run's feature file where it is still to be computed."""
    name = _name(config, inputs)
    return None if storage.child(FOLDER).exists(name) else name


def _name(config: RunConfig, inputs: Inputs) -> str:
    return frozen.path_of(config, inputs, Path()).name
