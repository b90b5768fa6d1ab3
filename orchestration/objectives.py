"""What a trial's epochs are worth: the value of every objective, the constraints it breaks, the front."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestration.constraint import Constraint
from orchestration.records import Member
from orchestration.study import Objective, Study

# Costs of the whole schedule, from the lines of its epochs. A run without a GPU uses none of its memory.
COSTS: dict[str, Callable[[list[float]], float]] = {
    "train/seconds": sum,
    "train/memory_gib": max,
    "train/gpu_memory_gib": max,
}

Lines = Sequence[Mapping[str, Any]]


def modes(objective: Objective) -> list[str]:
    """`min` or `max` of every objective, the first one's first."""
    return [objective.mode, *(aim.mode for aim in objective.others)]


def metrics(objective: Objective) -> list[str]:
    """The metric of every objective, the first one's first."""
    return [objective.metric, *(aim.metric for aim in objective.others)]


def measure(objective: Objective, metric: str, lines: Lines) -> float:
    """A trial's value of a metric: a cost summed or at its peak over the epochs, anything else at the
    epoch that is best by the first objective, since that epoch's model is the one that is kept.
    """
    if metric in COSTS:
        return float(COSTS[metric]([line.get(metric, 0.0) for line in lines]))
    better = min if objective.mode == "min" else max
    best = better(lines, key=lambda line: float(line[objective.metric]))
    return float(best[metric])


def values(objective: Objective, lines: Lines) -> list[float]:
    """The value of every objective."""
    return [measure(objective, metric, lines) for metric in metrics(objective)]


def excesses(study: Study, lines: Lines) -> dict[str, float]:
    """How far a trial is beyond each constraint; 0 or less where it keeps to it."""
    wanted = [Constraint.of(text) for text in study.search.constraints]
    return {c.text: c.excess(measure(study.objective, c.metric, lines)) for c in wanted}


def outcome(study: Study, lines: Lines) -> dict[str, Any]:
    """What a trial's state records beside its value: all objectives' values, constraints it broke."""
    if not lines:
        return {}
    broken = [text for text, excess in excesses(study, lines).items() if excess > 0]
    several = values(study.objective, lines) if study.objective.others else None
    return {"values": several, "broken": broken}


def front(objective: Objective, members: Sequence[Member]) -> list[Member]:
    """Those that no other is at least as good as in every objective and better in one, in their order."""
    signs = [1 if mode == "min" else -1 for mode in modes(objective)]
    points = [[s * v for s, v in zip(signs, m.values or (), strict=True)] for m in members]

    def beaten(mine: list[float]) -> bool:
        as_good = (p for p in points if all(a <= b for a, b in zip(p, mine, strict=True)))
        return any(other != mine for other in as_good)

    return [member for member, mine in zip(members, points, strict=True) if not beaten(mine)]
