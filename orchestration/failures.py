"""How runs fail: the cause, its words, its traceback; and what is tried once more."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

from orchestration.causes import DIED, EXCEPTION, NOT_FINITE, OUT_OF_MEMORY
from orchestration.errors import first_line
from orchestration.records import Member
from orchestration.run import Superseded
from orchestration.study import Study
from orchestration.training import Diverged

TRACE_LINES = 40
# What torch, CUDA, Ray and Python call it; Ray's own class for a worker that its memory monitor ended.
MEMORY_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
MEMORY_CLASSES = ("OutOfMemoryError", "MemoryError")
RAY_KILLED = "due to the node running low on memory"  # of a worker that Ray's memory monitor ended


def cause_of(error: BaseException) -> str:
    """One of causes.CAUSES."""
    if isinstance(error, Diverged):
        return NOT_FINITE
    names = {kind.__name__ for kind in type(error).__mro__}
    words = str(error).lower()
    memory = isinstance(error, RuntimeError) and any(word in words for word in MEMORY_WORDS)
    if memory or names & set(MEMORY_CLASSES):
        return OUT_OF_MEMORY
    return DIED if names & {"RayActorError", "WorkerCrashedError"} else EXCEPTION


def reason_of(error: BaseException) -> str:
    """The failure in one line."""
    first = next(iter(str(error).splitlines()), "")
    if isinstance(error, (Diverged, Superseded)):
        return str(error)
    if cause_of(error) == OUT_OF_MEMORY:
        return f"out of memory: {first_line(error)}"
    return f"{type(error).__name__}: {first}"


def trace_of(error: BaseException) -> str:
    """The last lines of its traceback, causes included."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(lines[-TRACE_LINES:]) + "\n"


def failure(error: Exception) -> dict[str, Any]:
    """The report of a run that failed. `machine` says that it was no fault of the run."""
    from data.errors import MachineError, RefusedError

    if isinstance(error, (MachineError, RefusedError)):
        return {"failed": str(error), "machine": str(error), "done": True}
    return {
        "failed": reason_of(error),
        "cause": cause_of(error),
        "trace": trace_of(error),
        "done": True,
    }


def halved(study: Study, member: Member, cause: str) -> Member | None:
    """A run that was out of memory, to be tried once more with each batch in two halves; else None.

    The batch's gradient stays a mean over the whole batch. Batch norm and dropout see the halves, so that
    this is another experiment: `train.accumulate` is part of its identity.
    """
    if cause != OUT_OF_MEMORY or study.resources.on_oom != "halve_batch" or member.changes:
        return None
    train = study.config(member.params).train
    if train.batch_size < 4 * train.accumulate * study.resources.workers:
        return None  # batch norm needs two samples in each part
    return replace(member, status="running", changes={"train.accumulate": 2 * train.accumulate})
