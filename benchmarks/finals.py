"""Question: which finalists of a study differ? Their fresh seeds as a Markdown table, paired against one.

    python benchmarks/finals.py --study runs/heads --base age_head.name=evr

prints, best validation first, mean ± sd over seeds of validation and test MAE at the best validation epoch,
the mean paired difference of test MAE to the base with its standard error over the seeds they share, and CS5:
the percentage of test faces that are at most 5 years off, estimates not rounded.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

from shared import command, spread

from data.errors import DataError
from orchestration import plan, study_file
from orchestration.folder import StudyFolder
from orchestration.records import Member

Seeds = dict[int, Member]


def finished(folder: StudyFolder) -> dict[str, Seeds]:
    """The finals with test scores, by what tells their trials apart, then by seed."""
    known = {member.name: member for member in folder.members("finals") if member.test}
    found: dict[str, Seeds] = {}
    for wanted in plan.wanted_finals(folder):
        if wanted.name in known:
            values = ", ".join(f"{k.removeprefix('model.')}={v}" for k, v in wanted.params.items())
            found.setdefault(values, {})[wanted.seed] = known[wanted.name]
    return found


def test_score(member: Member, name: str = "age_mae") -> float:
    return (member.test or {})[name]


def row(name: str, seeds: Seeds, base: Seeds) -> str:
    """One line of the table."""
    tests = [test_score(member) for member in seeds.values()]
    pairs = [test_score(seeds[s]) - test_score(base[s]) for s in seeds if s in base]
    difference = ""
    if seeds is not base and len(pairs) > 1:
        difference = f"{mean(pairs):+.3f} ± {stdev(pairs) / len(pairs) ** 0.5:.3f}"
    validation = spread([member.value or 0.0 for member in seeds.values()])
    within = mean(test_score(member, "age_cs5") for member in seeds.values())
    return f"| {name} | {validation} | {spread(tests)} | {difference} | {within:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Finalists of a study, paired against one of them")
    parser.add_argument("--study", type=Path, default=Path("runs/heads"))
    parser.add_argument("--base", default="age_head.name=evr", help="the finalist to compare with")
    args = parser.parse_args()
    groups = finished(StudyFolder(study_file.load(str(args.study / "study.yaml"))))
    if args.base not in groups:
        raise DataError(f"{args.study}: no finished final {args.base!r}; there are {', '.join(groups)}")
    base = groups[args.base]
    print(f"seeds {', '.join(map(str, sorted(base)))}, MAE in years\n")
    print(f"| | validation | test | to {args.base.rpartition('=')[2]} | CS5 |\n|---|---|---|---|---|")
    for name, seeds in sorted(groups.items(), key=lambda g: mean(m.value or 0.0 for m in g[1].values())):
        print(row(name, seeds, base))


if __name__ == "__main__":
    command(main)
