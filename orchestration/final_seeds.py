"""Which of the finalists wins, by the mean of validation over its seeds, never by the test part."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from orchestration.folder import StudyFolder
from orchestration.plan import ranked, tally, wanted_finals
from orchestration.records import Member


@dataclass(frozen=True)
class Finalist:
    """A trial whose wanted final seeds are all complete."""

    trial: int
    members: list[Member]

    @property
    def validation(self) -> float:
        """Mean validation value over the seeds; each at its own best epoch."""
        return mean(member.value or 0.0 for member in self.members)

    @property
    def tests(self) -> list[float]:
        """Test MAE in years of every seed."""
        return [member.test["age_mae"] for member in self.members if member.test]


def finalists(folder: StudyFolder) -> list[Finalist]:
    """Those whose seeds are all complete, best mean validation value first; ties by number."""
    known = {member.name: member for member in folder.members("finals")}
    groups: dict[int, list[Member]] = {}
    for wanted in wanted_finals(folder):
        groups.setdefault(wanted.number, []).append(known.get(wanted.name, wanted))
    whole = [
        Finalist(trial, members)
        for trial, members in groups.items()
        if all(member.status == "complete" and member.value is not None for member in members)
    ]
    sign = 1 if folder.study.objective.mode == "min" else -1
    return sorted(whole, key=lambda finalist: (sign * finalist.validation, finalist.trial))


def winner(folder: StudyFolder) -> tuple[Finalist, Member] | None:
    """The best finalist, and the one of its seeds whose checkpoint stands for it: the best by validation."""
    found = finalists(folder)
    if not found:
        return None
    sign = 1 if folder.study.objective.mode == "min" else -1
    return found[0], min(found[0].members, key=lambda member: (sign * (member.value or 0.0), member.seed))


def best_trial(folder: StudyFolder) -> str | None:
    """The trial to train again: the winner of the final seeds, else the search's best; None without any."""
    found = winner(folder)
    if found is not None:
        return f"trials/{found[0].trial:04d}"
    return next((trial.name for trial in ranked(folder)), None)


def summary(folder: StudyFolder) -> dict[str, float]:
    """The study's outcome in numbers: trials by state, best validation value, the winner's test MAE."""
    numbers: dict[str, float] = {f"trials/{status}": count for status, count in tally(folder).items()}
    best = next(iter(ranked(folder)), None)
    if best is not None and best.value is not None:
        numbers[f"best_trial/{folder.study.objective.metric}"] = best.value
    found = winner(folder)
    if found is not None and found[0].tests:
        numbers["finals/test_age_mae_mean"] = mean(found[0].tests)
    return numbers
