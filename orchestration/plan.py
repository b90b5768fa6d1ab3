"""What a study still has to run, and what came out of what it ran. Reads the study folder only."""

from __future__ import annotations

from collections import Counter
from statistics import mean, stdev

from orchestration.console import number, short
from orchestration.folder import StudyFolder
from orchestration.live import Console
from orchestration.objectives import front
from orchestration.progress import Progress
from orchestration.records import ENDED, Member
from orchestration.space import planned_trials
from orchestration.stopping import Stopping, brackets_of, grace_of
from orchestration.study import Study


def ranked(folder: StudyFolder) -> list[Member]:
    """Finished trials that break no constraint, best validation value first; ties by number.

    With several objectives the Pareto front alone, best by the first: finals are its first `final.top_k`.
    """
    sign = 1 if folder.study.objective.mode == "min" else -1
    objective = folder.study.objective
    complete = [m for m in folder.members("trials") if m.status == "complete" and m.value is not None]
    complete = [m for m in complete if not m.broken]
    if objective.others:
        complete = front(objective, complete)
    return sorted(complete, key=lambda m: (sign * (m.value or 0.0), m.number))


def tally(folder: StudyFolder) -> dict[str, int]:
    """How many trials are in which state."""
    counts = Counter(m.status for m in folder.members("trials"))
    return {
        status: counts[status] for status in ("complete", "pruned", "failed", "running") if counts[status]
    }


def final_seeds(folder: StudyFolder) -> list[int]:
    """Seeds that no trial of the search used."""
    first = folder.study.config().seed + 1
    return list(range(first, first + folder.study.final.seeds))


def wanted_finals(folder: StudyFolder) -> list[Member]:
    """The final runs of the best trials, whether they ran or not."""
    return [
        Member(f"finals/{trial.number:04d}-seed{seed}", params=trial.params, seed=seed)
        for trial in ranked(folder)[: folder.study.final.top_k]
        for seed in final_seeds(folder)
    ]


def finals(folder: StudyFolder) -> list[Member]:
    """The final runs that have not ended; a killed one goes on with its own record."""
    known = {m.name: m for m in folder.members("finals")}
    members = [known.get(m.name, m) for m in wanted_finals(folder)]
    return [m for m in members if m.status not in ENDED]


def missing(folder: StudyFolder) -> tuple[int, int]:
    """How many trials, and how many final runs as far as known, are still to run."""
    states = Counter(m.status for m in folder.members("trials"))
    ended = sum(states[status] for status in ENDED)
    trials = max(states["running"], planned_trials(folder.study) - ended)
    wanted = folder.study.final.top_k * folder.study.final.seeds if trials else len(finals(folder))
    return trials, wanted


def stopping(study: Study) -> Stopping:
    """What the study's scheduler lets expect."""
    return Stopping(study.config().train.epochs, grace_of(study), study.search.reduction, brackets_of(study))


def console(folder: StudyFolder) -> Console:
    """The console of a search that may have begun earlier."""
    ended = [m for m in folder.members("trials") if m.status in ENDED]
    _, finals_to_run = missing(folder)
    rule = stopping(folder.study)
    progress = Progress(
        max(planned_trials(folder.study), len(ended)),
        rule,
        folder.study.objective.mode,
        Counter(m.status for m in ended),
        spent=sum(len(folder.lines(m)) for m in ended),
        best=next((m.value for m in ranked(folder)), None),
        later=finals_to_run * rule.epochs,
    )
    return Console(progress, folder.study.objective.metric, list(folder.study.space))


def finals_console(folder: StudyFolder, members: list[Member]) -> Console:
    """The console of the final runs."""
    objective = folder.study.objective
    whole = Stopping(folder.study.config().train.epochs, 1, brackets=0)
    progress = Progress(len(members), whole, objective.mode)
    return Console(progress, objective.metric, sorted({path for m in members for path in m.params}))


def final_rows(folder: StudyFolder) -> list[str]:
    """One line per finalist: validation and test mean with sd over its seeds, best validation first."""
    known = {m.name: m for m in folder.members("finals") if m.test}
    groups: dict[int, list[Member]] = {}
    for member in wanted_finals(folder):
        if member.name in known:
            groups.setdefault(member.number, []).append(known[member.name])
    sign = 1 if folder.study.objective.mode == "min" else -1
    rows = []
    for trial, members in sorted(groups.items(), key=lambda g: sign * mean(m.value or 0.0 for m in g[1])):
        validation = spread([m.value or 0.0 for m in members])
        test = spread([(m.test or {})["age_mae"] for m in members])
        seeds = ", ".join(str(m.seed) for m in members)
        name = f"final trial {trial} ({short(members[0].params)})"
        rows.append(f"{name}: validation {validation}, test MAE {test} years (seeds {seeds})")
    return rows


def spread(values: list[float]) -> str:
    """`mean ± sd` (ddof 1), or the one value."""
    if len(values) == 1:
        return f"{number(values[0])} (one seed)"
    return f"{mean(values):.3f} ± {stdev(values):.3f}"
