"""One driver per study: a file lock, or a heartbeat where the storage knows no locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import threading
import time
import uuid
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestration.errors import MachineError, UserError
from orchestration.storage import Storage

BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0


class Held(UserError):
    """Another process has the lock; the message says which."""


class Lock:
    """Held from `__enter__` to `__exit__`; the kernel frees a file lock when its process dies.

    Entering raises Held, which says who holds it.
    """

    def __init__(self, storage: Storage, name: str = "driver.lock") -> None:
        self.storage = storage
        self.name = name
        self.owner: dict[str, Any] = {"host": socket.gethostname(), **_process(), "since": time.time()}
        self._file: TextIOWrapper | None = None
        self._stop = threading.Event()
        self._token = uuid.uuid4().hex

    def __enter__(self) -> Lock:
        if self.storage.local is None or not self._lock_file(self.storage.local / self.name):
            self._start_heartbeat()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            return
        self._stop.set()
        self._beating.join()
        # Where the storage is away nothing else can be done: the lock grows stale.
        with contextlib.suppress(MachineError, OSError):
            if self._mine():
                self.storage.delete(self.name)

    def _lock_file(self, path: Path) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
        try:
            _take(file)
        except BlockingIOError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise Held(self._held(holder)) from None
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
        if data is not None and self._held_still(data):
            raise Held(self._held(data.decode(errors="replace")))
        self._beat()
        time.sleep(0.2)  # two drivers that started together: the last writer keeps it
        if not self._mine():
            raise Held(self._held((self.storage.get(self.name) or b"").decode(errors="replace")))
        self._beating = threading.Thread(target=self._keep_beating, daemon=True)
        self._beating.start()

    def _held_still(self, data: bytes) -> bool:
        """Whether the holder lives: by its process where that was of this machine, else by its heartbeat."""
        beat = _read(data)
        if _dead(beat):
            return False
        if time.time() - beat.get("beat", 0.0) < STALE_SECONDS:
            return True
        # Its clock may be behind ours: a heart that beats is heard within a beat or two.
        print(f"looking whether {_who(data.decode())} is still there", file=sys.stderr)
        until = time.monotonic() + 1.5 * BEAT_SECONDS
        while time.monotonic() < until:
            time.sleep(BEAT_SECONDS / 10)
            if self.storage.get(self.name) != data:
                return True
        return False

    def _mine(self) -> bool:
        return bool(_read(self.storage.get(self.name) or b"").get("token") == self._token)

    def _keep_beating(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            # A beat that could not be written is tried again long before the lock grows stale.
            with contextlib.suppress(Exception):
                if not self._mine():
                    # This machine slept or was cut off for so long that another driver went on.
                    print(f"{self._held('')}; this driver ends", file=sys.stderr)
                    return os.kill(os.getpid(), signal.SIGINT)
                self._beat()

    def _beat(self) -> None:
        beat = {**self.owner, "token": self._token, "beat": time.time()}
        self.storage.put(self.name, json.dumps(beat).encode())

    def _held(self, holder: str) -> str:
        left = _read(holder.encode()).get("beat", 0.0) + STALE_SECONDS - time.time()
        killed = f"; if it was killed, give this command again in {left:.0f} s" if left > 0 else ""
        return f"{self.storage.root}: {_who(holder)} runs this already; wait for it, or stop it first{killed}"


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
    beat = _read(data)
    if storage.local is None or "beat" in beat:
        fresh = time.time() - float(beat.get("beat", 0.0)) < STALE_SECONDS
        return _who(text) if fresh and not _dead(beat) else None
    with (storage.local / name).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _who(text)
        return None


def _process() -> dict[str, Any]:
    """What tells this process from every other: its number, when it began, and whose numbers those are."""
    return {"pid": os.getpid(), "began": _began(os.getpid()), "machine": _machine()}


def _machine() -> str | None:
    """This boot of this machine and, in a container, its process numbers; None where Linux does not say."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the boot; None if there is none."""
    with contextlib.suppress(OSError):
        # What stands in parentheses is its name, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else int(fields[19])  # a zombie is one that nobody buried
    return None


def _dead(beat: dict[str, Any]) -> bool:
    """Whether the process that wrote this is known to be gone: it was one of this machine's."""
    known = beat.get("machine") is not None and beat["machine"] == _machine()
    return known and _began(int(beat["pid"])) != beat.get("began")


def _read(data: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(data)
        return value if isinstance(value, dict) else {}
    return {}


def _who(owner: str) -> str:
    try:
        who = json.loads(owner)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(who["since"]))
        return f"process {who['pid']} on {who['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"
