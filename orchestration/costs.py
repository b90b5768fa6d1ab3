"""What the epochs of a plan cost, and how much of them a budget allows. Pure arithmetic on what is known."""

from __future__ import annotations

from dataclasses import dataclass

from orchestration.budget import Spending
from orchestration.console import duration, number
from orchestration.folder import StudyFolder
from orchestration.pace import Pace
from orchestration.placement import Placement
from orchestration.space import planned_trials
from orchestration.study import Budget


@dataclass(frozen=True)
class Epochs:
    """Epochs that are still to be trained: by trials as the rule lets expect and at most, by final seeds."""

    expected: float
    most: int
    finals: int


def time(wanted: Epochs, placement: Placement, measured: Pace | None, search: bool) -> list[str]:
    """What the epochs take, by seconds per epoch as they were measured or stated."""
    if measured is None:
        return [
            "seconds per epoch: unknown, since nothing like it has run with this storage. Measure it: train"
            " one run (orchestration.train, the same file) or a first trial (search.trials=1) and ask again;"
            " or state it: resources.seconds_per_epoch=…"
        ]
    at_once = placement.concurrent if search else 1
    found = [f"seconds per epoch: {measured.seconds:.2f} ({measured.source})"]
    counts = {"expected": wanted.expected + wanted.finals}
    if wanted.most - wanted.expected >= 1:
        counts["at most"] = wanted.most + wanted.finals
    for words, count in counts.items():
        busy = count * measured.seconds
        gpus = f", {busy * placement.gpus * placement.workers / 3600:.2f} GPU-hours" if placement.gpus else ""
        cores = f"{busy * placement.cpus * placement.workers / 3600:.2f} CPU-hours"
        found.append(f"{words}: {duration(busy / at_once)} of wall time, {cores}{gpus}")
    return found


def budget(folder: StudyFolder, wanted: Epochs, placement: Placement, measured: Pace | None) -> list[str]:
    """For each limit of `budget:`, how much of what is left of the search it allows."""
    study, spending = folder.study, Spending(folder)
    without = study.model_copy(update={"budget": Budget()})
    begun = len(folder.members("trials"))
    # What is spent, what the rest of the search takes, what final seeds take; None where that is unknown.
    parts: dict[str, tuple[float, float, float] | None] = dict.fromkeys(("hours", "gpu_hours"))
    parts["epochs"] = (spending.epochs, wanted.expected, wanted.finals)
    parts["trials"] = (begun, planned_trials(without) - begun, 0.0)
    if measured is not None:
        each, gpus = measured.seconds / 3600, placement.gpus * placement.workers
        wall = each / placement.concurrent
        parts["hours"] = (spending.wall / 3600, wanted.expected * wall, wanted.finals * wall)
        parts["gpu_hours"] = (spending.gpu / 3600, wanted.expected * each * gpus, wanted.finals * each * gpus)
    found = []
    for name, part in parts.items():
        limit = getattr(study.budget, name)
        if limit is None:
            continue
        if part is None:
            found.append(f"budget.{name}: {limit:g}; what it cuts is unknown without seconds per epoch")
            continue
        used, rest, kept = part
        share = max(0.0, limit - used - kept) / rest if rest > 0 else 1.0
        cut = f"ends the search after about {share:.0%} of it" if share < 1 else "cuts nothing expected"
        words = f"{number(used)} used, " if used else ""
        found.append(f"budget.{name}: {limit:g}, {words}{number(kept)} kept for final seeds; {cut}")
    return found
