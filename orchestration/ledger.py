"""A study's test ledger: a file for every evaluation of a test part, since several commands may write.

Reports print how many there are, since a test part that is looked at often enough is one for validation.
"""

from __future__ import annotations

import time

from orchestration.records import STATE
from orchestration.storage import Storage

FOLDER = "test_ledger"


def enter(study: Storage, run: str, identity: str, stamp: str | None = None, data: str | None = None) -> None:
    """Enter that a run of a study was scored, at `stamp` or now. Raises MachineError.

    `data` names the images where they are not the run's own test part.
    """
    stamp = stamp or time.strftime("%Y-%m-%dT%H:%M:%S")
    entry = {"time": stamp, "run": run, "identity": identity}
    name = f"{stamp.replace(':', '')}-{run.replace('/', '-')}"
    if data is not None:
        entry["data"] = data
        name += "-" + "".join(c if c.isalnum() else "_" for c in data)
    study.put_json(f"{FOLDER}/{name}.json", entry)


def study_of(run: Storage) -> tuple[Storage, str] | None:
    """The study that a run's folder lies in and the run's name there; None for any other folder."""
    if not run.exists(STATE):
        return None
    kind = run.parent()
    return kind.parent(), f"{kind.name}/{run.name}"
