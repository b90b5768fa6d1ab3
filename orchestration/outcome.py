"""What came out of a search, in words: its best trials, its failures, what mattered, its figures."""

from __future__ import annotations

from orchestration import figures, plan
from orchestration.audit_line import audit_line
from orchestration.console import labels, number, table
from orchestration.display import displayed
from orchestration.folder import StudyFolder
from orchestration.importance import Importance, importance
from orchestration.objectives import metrics
from orchestration.records import Member

BEST_SHOWN = 5


def conclude(folder: StudyFolder) -> list[str]:
    """Draw the search's figures into its folder. Returns lines on importance and where the figures are.

    What cannot be drawn is said; the search's results do not depend on it.
    """
    try:
        found = importance(displayed(folder))
        drawn, problems = figures.draw(folder, found)
    except Exception as error:
        return [f"figures failed: {error}"]
    where = [f"figures: {folder.storage.address(drawn[-1])}"] if drawn else []
    return _importance(found) + problems + where


def _importance(found: Importance) -> list[str]:
    return found.lines() if found.finished else []


def trials(folder: StudyFolder) -> list[str]:
    """Trials by state, the best of them, failures by cause, the final seeds."""
    tally = plan.tally(folder)
    lines = [", ".join(f"{count} {status}" for status, count in tally.items())]
    ranked = plan.ranked(folder)
    lines += best(folder, ranked if folder.study.objective.others else ranked[:BEST_SHOWN])
    lines += failures([m for m in folder.members("trials") if m.status == "failed"])
    lines += plan.final_rows(folder)
    audits = sorted({audit_line(m.audit) for m in plan.ranked(folder)})
    return lines + [f"leaks into test: {line}" for line in audits]


def best(folder: StudyFolder, members: list[Member]) -> list[str]:
    """A table of trials, best first, with the parameters that vary."""
    objective = folder.study.objective
    names = labels(folder.study.space)
    rows = [
        [
            m.name,
            *(number(value) for value in m.values or (m.value,)),
            *(number(m.params[path]) if path in m.params else "-" for path in names),
        ]
        for m in members
    ]
    head = f"best trials by {objective.metric} (best epoch of each; optimistic, since chosen on validation):"
    if objective.others:
        head = f"Pareto front, best {objective.metric} first; final seeds are of its first ones (optimistic):"
    return [head, *table(["", *metrics(objective), *names.values()], rows)]


def failures(members: list[Member]) -> list[str]:
    """How many trials failed of which cause, with the first of each."""
    causes: dict[str, list[Member]] = {}
    for member in members:
        causes.setdefault(member.cause or (member.reason or "unknown").split(":")[0], []).append(member)
    often = sorted(causes.items(), key=lambda cause: -len(cause[1]))
    rows = [[str(len(those)), cause, those[0].name, those[0].reason or ""] for cause, those in often]
    return ["failures by cause:", *table(["", "cause", "first", "its reason"], rows)] if rows else []
