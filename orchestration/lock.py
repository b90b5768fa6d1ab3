"""One driver per study: a file lock, or a heartbeat where the storage knows no locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestration.errors import UserError
from orchestration.storage import Storage

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class Lock:
    """Held from `__enter__` to `__exit__`; the kernel frees a file lock when its process dies.

    Entering raises UserError that says who holds it.
    """

    def __init__(self, storage: Storage, name: str = "driver.lock") -> None:
        self.storage = storage
        self.name = name
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        self._file: TextIOWrapper | None = None
        self._stop = threading.Event()
        self._token = uuid.uuid4().hex

    def __enter__(self) -> Lock:
        if "://" in self.storage.root or not self._lock_file():
            self._start_heartbeat()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
        else:
            self._stop.set()
            self._beating.join()
            self.storage.delete(self.name)

    def _lock_file(self) -> bool:
        path = Path(self.storage.root) / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
        try:
            _take(file)
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise UserError(self._held(holder)) from None
        except OSError:
            file.close()
            return False
        file.truncate(0)
        file.write(json.dumps(self.owner))
        file.flush()
        self._file = file
        return True

    def _start_heartbeat(self) -> None:
        data = self.storage.get(self.name)
        beat: dict[str, Any] = json.loads(data) if data else {}
        if time.time() - beat.get("beat", 0.0) < STALE_SECONDS:
            raise UserError(self._held(json.dumps(beat)))
        self._beat()
        time.sleep(0.2)  # two drivers that started together: the last writer keeps it
        written = json.loads(self.storage.get(self.name) or b"{}")
        if written.get("token") != self._token:
            raise UserError(self._held(json.dumps(written)))
        self._beating = threading.Thread(target=self._keep_beating, daemon=True)
        self._beating.start()

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A beat that could not be written is tried again long before the lock grows stale.
            with contextlib.suppress(Exception):
                self._beat()

    def _beat(self) -> None:
        beat = {**self.owner, "token": self._token, "beat": time.time()}
        self.storage.put(self.name, json.dumps(beat).encode())

    def _held(self, holder: str) -> str:
        return f"{self.storage.root}: {_who(holder)} runs this already; wait for it, or stop it first"


def _take(file: TextIOWrapper) -> None:
    """Lock the file. Raises BlockingIOError if another process holds it for more than a look (`holder`)."""
    for _ in range(3):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.05)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder(storage: Storage, name: str = "driver.lock") -> str | None:
    """Who runs what lies in the folder, such as `process 4711 on node3 since …`; None if nobody does."""
    data = storage.get(name)
    if data is None:
        return None
    text = data.decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        beat = json.loads(text).get("beat")
        if beat is not None:
            return _who(text) if time.time() - float(beat) < STALE_SECONDS else None
    with (Path(storage.root) / name).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _who(text)
        return None


def _who(owner: str) -> str:
    try:
        who = json.loads(owner)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
        return f"process {who['pid']} on {who['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"
