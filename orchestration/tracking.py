"""MLflow, from the driver only: one thread that sends what lies in the study folder and is not sent yet.

Nothing waits for the server: what it did not take is sent again later, at the latest by the next
start of the same command. Study = parent run, trial = child, final seed = child of its trial.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping, Sequence

from orchestration.folder import StudyFolder
from orchestration.mlflow_runs import default_file
from orchestration.mlflow_store import MlflowStore

POLL_SECONDS = 1.0
CLOSE_SECONDS = 60.0


def uri_of(folder: StudyFolder) -> str:
    """The study's MLflow: its own key, else MLFLOW_TRACKING_URI, else an SQLite file (`default_file`)."""
    given = folder.study.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{default_file(folder.storage)}"


class Tracker:
    """Sends a study to MLflow in the background, from `__enter__` to `__exit__`."""

    def __init__(self, folder: StudyFolder, kinds: Sequence[str], tags: Mapping[str, str]) -> None:
        """`kinds` names what is sent: trials and finals, or one single run such as single/3f2a-seed0."""
        self.folder = folder
        self.kinds = kinds
        self.tags = dict(tags)
        self.uri = uri_of(folder)
        self.problem: str | None = None
        self.summary: dict[str, float] | None = None  # given once the command has done its work
        self.variants: dict[str, dict[str, float]] = {}  # of an ablation: what came out, by variant
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._store: MlflowStore | None = None
        self._thread = threading.Thread(target=self._loop, name="mlflow", daemon=True)

    def __enter__(self) -> Tracker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._wake.set()
        before = -1
        while self._thread.is_alive() and before != (now := self._store.count if self._store else 0):
            if before >= 0:
                print(f"MLflow is behind; {now - before} entries sent in the last minute", file=sys.stderr)
            before = now
            self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self.problem = f"no answer within {CLOSE_SECONDS:.0f} s"

    @property
    def look(self) -> str:
        """How to see the runs: a server's address, or the command that shows a database."""
        at_server = self.uri.startswith(("http://", "https://"))
        return self.uri if at_server else f"mlflow ui --backend-store-uri {self.uri}"

    def wake(self) -> None:
        """There is something new in the folder."""
        self._wake.set()

    def _loop(self) -> None:
        while True:
            woken = self._wake.wait(POLL_SECONDS)
            self._wake.clear()
            last = self._closing.is_set()
            if self._store is not None and not (woken or last or self.problem):
                continue  # nothing new: an object store is not asked for it
            try:
                if self._store is None:
                    self._store = MlflowStore(self.folder, self.uri, self.kinds, self.tags)
                self._store.send()
                if last and self.summary is not None:
                    self._store.finish(self.summary, self.variants)
                self.problem = None
            except Exception as error:
                # Whatever the server or its store raised: the folder keeps everything, so try again, and ask
                # first what it has: a run may have been made though the answer was lost.
                self._store = None
                self.problem = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:200]}"
            if last:
                return
            self._closing.wait(POLL_SECONDS)
