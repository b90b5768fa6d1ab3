"""Asking a driver, on this machine or another, to stop as Ctrl-C would."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import TracebackType

from orchestration.errors import MachineError
from orchestration.storage import Storage

NAME = "stop.json"
POLL_SECONDS = 1.0


def ask(storage: Storage) -> None:
    """Leave the request for the folder's driver."""
    storage.put_json(NAME, {})


class StopWatch:
    """Interrupts this process when asked to, from `__enter__` to `__exit__`. Older requests are void."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop", daemon=True)

    def __enter__(self) -> StopWatch:
        self._storage.delete(NAME)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            asked = False
            with contextlib.suppress(OSError, MachineError):  # a storage that is away for a moment
                asked = self._storage.get(NAME) is not None
            if asked:
                self._storage.delete(NAME)
                print("asked to stop (orchestration.studies --stop)", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGINT)
                return
