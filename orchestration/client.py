"""`--address ray://HOST:PORT`: the command runs on the cluster's head, and this terminal shows what it says.

Ray Client carries single calls. Tune's loop, the study folder and MLflow belong on a node of the cluster: a
network that is slow or gone would stop them.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from orchestration import joining, study_file
from orchestration.console import size

HEAD = {"node:__internal_head__": 0.001}  # every head has this resource
FILES = "study_files"


def run(address: str, module: str, typed: list[str], space: str) -> int:
    """Run `python -m orchestration.MODULE` with the arguments `typed` on the head; returns its exit code.

    The study file `space` and its bases go along. Relative paths are those of the head's home folder.
    Raises UserError where nothing answers at `address`.
    """
    import ray

    with tempfile.TemporaryDirectory() as folder:
        sent = joining.staged(Path(folder))
        there = send_study(Path(folder), space)
        print(
            f"the code goes along to {address}: {size(sent)}; it runs in the head's home folder",
            file=sys.stderr,
        )
        options = {"log_to_driver": False, "logging_level": "ERROR", "runtime_env": {"working_dir": folder}}
        joining.require_answer(address.removeprefix("ray://"))
        joining.connect(address, options)
    arguments = ["--space", there, *without(typed, ("--address", "--space"))]
    driver: Any = ray.remote(num_cpus=0, resources=HEAD)(Driver).remote(module, arguments)
    try:
        return _shown(driver)
    except KeyboardInterrupt:
        ray.get(driver.interrupt.remote())
        _shown(driver)
        raise


class Driver:
    """On the head: a process that runs the command, and its output as it comes."""

    def __init__(self, module: str, arguments: list[str]) -> None:
        import ray

        code = Path.cwd()
        own = [str(code / word) if word.startswith(f"{FILES}/") else word for word in arguments]
        address = ray.get_runtime_context().gcs_address
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"orchestration.{module}", *own, "--address", address],
            cwd=Path.home(),
            env={**os.environ, "PYTHONPATH": str(code)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[tuple[str, str]] = queue.Queue()
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in streams.items()
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        for line in stream:
            self._lines.put((name, line))

    def news(self) -> tuple[list[tuple[str, str]], int | None]:
        """Lines since the last call, each with its stream; and the exit code once all is said."""
        code = self._process.poll()
        if code is not None:
            for reader in self._readers:
                reader.join()
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines, code

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)


def _shown(driver: Any) -> int:
    import ray

    while True:
        lines, code = ray.get(driver.news.remote())
        for name, line in lines:
            print(line, end="", file=getattr(sys, name), flush=True)
        if code is not None:
            return int(code)
        time.sleep(0.3)


def send_study(folder: Path, space: str) -> str:
    """Copy a study file and its bases into the code that goes along; returns how it is called there."""
    files = [path for path, _ in study_file.chain(study_file.find(space))]
    (folder / FILES).mkdir()
    for path in files:
        shutil.copyfile(path, folder / FILES / path.name)
    return f"{FILES}/{files[-1].name}"


def without(typed: list[str], flags: tuple[str, ...]) -> list[str]:
    """The words without these flags and their values, which may be joined by `=`."""
    found, words = [], iter(typed)
    for word in words:
        if word in flags:
            next(words, None)
        elif word.split("=")[0] not in flags:
            found.append(word)
    return found
