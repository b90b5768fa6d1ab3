"""How a member of a study ended: complete, pruned, failed, to start over, or not at all."""

from __future__ import annotations

from typing import Any

from orchestration import causes, failures
from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.objectives import outcome
from orchestration.records import Member

Failure = tuple[str, str, str | None]  # reason, cause, traceback


def record(
    folder: StudyFolder,
    member: Member,
    config: RunConfig,
    result: dict[str, Any] | None,
    failure: Failure | None,
    stopped: bool,
) -> Member:
    """Write a member's end to the folder and return it; `result` is its last report.

    Still `running` is one that goes on later, and one that failed and starts over with half its batch.
    """
    lines = folder.lines(member)
    value = float(lines[-1]["best"]) if lines else None
    worth = outcome(folder.study, lines)
    if failure is not None:
        reason, cause, trace = failure
        again = failures.halved(folder.study, member, cause)
        if again is None:
            return folder.fail(member, reason, cause, trace, value=value, **worth)
        return folder.begin_again(again)
    if result is not None and int(result["epoch"]) >= config.train.epochs:
        test = folder.test_scores(member)
        return folder.end(member, "complete", value=value, test=test, **worth)
    if stopped:
        return folder.end(member, "pruned", value=value, **worth)
    return member


def of_process(words: str | None) -> Failure:
    """The failure of a run whose process ended, from Ray's words."""
    if words is not None and failures.RAY_KILLED in words:
        return "out of memory: Ray ended its process", causes.OUT_OF_MEMORY, words
    return "its process died twice", causes.DIED, words
