"""Work spread over processes of this machine, or over whatever an executor reaches."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from data.errors import MachineError

_INLINE = 4  # up to this many items, starting processes costs more than it saves

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Calls a function that can be pickled on items; `here` says whether on this machine, with its disk."""

    here: bool

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
        """Yield the results, in any order. Raises MachineError where a worker is lost for good."""


class Processes:
    """Processes of this machine; they end with the one that started them."""

    here = True

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
        """Yield the results in the order of `items`. Raises MachineError when a worker is killed."""
        if self.workers == 1 or len(items) <= _INLINE:
            yield from map(function, items)
            return
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of the caller's threads
        done = 0
        try:
            with ProcessPoolExecutor(self.workers, mp_context=context, initializer=_enter_worker) as pool:
                try:
                    for result in pool.map(function, items):
                        yield result
                        done += 1
                except BaseException:  # Ctrl-C, full disk: don't do the rest before saying so
                    pool.shutdown(cancel_futures=True)
                    raise
        except BrokenProcessPool:
            raise MachineError(
                f"a worker process was killed after {done} of {len(items)} parts of the work, as happens "
                "when memory runs out; try fewer --workers. The same command goes on where it was"
            ) from None


def _enter_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it does: a killed parent closes no queue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent

    def end_with_parent() -> None:
        sentinel.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
