"""A finished study as a report reads it: variants and their runs, from the study's folder alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import yaml

from orchestration import predictions, report_numbers
from orchestration.errors import UserError, nearest
from orchestration.layers import flatten
from orchestration.predictions import Predictions
from orchestration.records import Member, Records
from orchestration.report_numbers import Values
from orchestration.storage import Storage


@dataclass(frozen=True)
class Reported:
    """A finished run: its state, resolved values, epochs, and what it predicted of the test part."""

    member: Member
    config: dict[str, Any]  # dotted
    lines: list[dict[str, Any]]
    result: dict[str, Any]
    test: Predictions | None

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Test metrics from the kept predictions; the run's own where it kept none."""
        return report_numbers.metrics(self.test) if self.test is not None else dict(self.member.test or {})

    @property
    def seconds(self) -> float:
        """Seconds of training over all epochs, without validation and waiting."""
        return float(sum(line.get("train/seconds", 0.0) for line in self.lines))

    @property
    def gpu_hours(self) -> float:
        """Training hours times GPUs; 0 on CPUs."""
        gpus = self.result.get("workers", 1) if self.result.get("device", "cpu") != "cpu" else 0
        return self.seconds / 3600 * float(gpus)


@dataclass(frozen=True)
class Variant:
    """Runs that differ in seed or split alone."""

    name: str
    runs: list[Reported]

    pooled: bool = False  # the test parts of a seed's folds are one

    @property
    def first(self) -> Reported:
        """One of its runs: they share all values but seed and split."""
        return self.runs[0]

    @cached_property
    def tests(self) -> dict[int, Predictions]:
        """Test predictions of every unit, a run or the folds of a seed together, by number or seed."""
        if not self.pooled:
            return {i: run.test for i, run in enumerate(self.runs) if run.test is not None}
        folds: dict[int, list[Predictions]] = {}
        for run in self.runs:
            if run.test is not None:
                folds.setdefault(run.member.seed, []).append(run.test)
        whole = max((len(parts) for parts in folds.values()), default=0)
        return {s: predictions.pooled(parts) for s, parts in folds.items() if len(parts) == whole}

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """Test metrics of every unit."""
        if self.pooled:
            return [report_numbers.metrics(test) for test in self.tests.values()]
        return [run.metrics for run in self.runs]

    def errors(self) -> tuple[Values, Values] | None:
        """True ages [n] and errors [units, n] where all units predicted the same images; else None."""
        tests = list(self.tests.values())
        ids = [test.column("sample_id") for test in tests]
        if not ids or any(not np.array_equal(ids[0], other) for other in ids):
            return None
        return tests[0].column("age"), np.stack([report_numbers.errors(test) for test in tests])


@dataclass(frozen=True)
class Section:
    """The variants on one data set; `base` is the one the others are compared with."""

    title: str
    variants: list[Variant]
    base: str | None = None


@dataclass(frozen=True)
class Reading:
    """A study folder: `document` is its study.yaml as a dictionary, where there is one."""

    name: str
    root: Storage
    kind: str  # ablation, search or single runs
    sections: list[Section]
    document: dict[str, Any] = field(default_factory=dict)
    test_evaluations: int = 0
    unfinished: int = 0


def read(path: str) -> Reading:
    """The study in a folder. Raises UserError where there is none, or nothing in it has finished."""
    root = Storage(path)
    _require_study(root)
    records = Records(root)
    data = records.storage.get("study.yaml")
    document = (yaml.safe_load(data) if data is not None else None) or {}
    kinds = {"cells": "ablation", "finals": "search", "single": "single runs"}
    members = {kind: records.members(kind) for kind in kinds}
    for folder, kind in kinds.items():
        finished = [m for m in members[folder] if m.status == "complete" and m.test]
        if finished:
            runs = [_reported(records, member) for member in finished]
            return Reading(
                root.name,
                root,
                kind,
                _sections(folder, runs, document),
                document,
                len(records.storage.list("test_ledger")),
                len(members[folder]) - len(finished),
            )
    begun = sum(map(len, members.values())) + len(records.storage.list("trials"))
    raise UserError(
        f"{root.root}: no final seed, single run or ablation cell has finished (runs begun: {begun}); a"
        " report needs test scores. Go on with the command that began the study"
    )


def _require_study(root: Storage) -> None:
    def holds(names: list[str]) -> bool:
        return bool({"cells", "finals", "single", "trials"} & set(names))

    inside = root.list()
    if holds(inside):
        return
    root.require()
    there_is = bool(inside) or root.parent().exists(root.name)
    place = root if there_is else root.parent()
    found = [name for name in place.list(folders=True) if holds(place.list(name))]
    there = f"Studies in {place.root}: {', '.join(found)}.{nearest(root.name, found)}" if found else ""
    what = "holds no study" if there_is else "there is no such folder"
    raise UserError(
        f"{root.root}: {what}. {there}" if there else f"{root.root}: {what}; give a folder such as runs/NAME"
    )


def _reported(records: Records, member: Member) -> Reported:
    storage = records.storage.child(member.name)
    resolved = yaml.safe_load(storage.get("resolved.yaml") or b"{}") or {}
    return Reported(
        member,
        flatten(resolved.get("run", {})),
        records.lines(member),
        storage.get_json("result.json") or {},
        predictions.read(storage, "test"),
    )


def _sections(folder: str, runs: list[Reported], document: dict[str, Any]) -> list[Section]:
    if folder == "cells":
        return _of_ablation(runs, document)
    groups: dict[str, list[Reported]] = {}
    for run in runs:
        if folder == "finals":
            key = f"trial {run.member.number}"
        else:
            head, gender, position = (
                run.config.get(f"model.{part}")
                for part in ("age_head.name", "gender_head", "position_head.name")
            )
            parts = [str(head), "gender" if gender else "", "" if position == "none" else str(position)]
            key = f"{' + '.join(filter(None, parts))} ({run.member.identity[:8]})"
        groups.setdefault(key, []).append(run)
    variants = [Variant(name, members) for name, members in groups.items()]
    if folder == "single":
        return [Section("", variants)]
    sign = -1 if (document.get("objective") or {}).get("mode") == "max" else 1
    # The finalist that validation prefers is the base: nothing is chosen on the test part.
    variants.sort(key=lambda v: sign * float(np.mean([run.member.value or 0.0 for run in v.runs])))
    return [Section("", variants, variants[0].name)]


def _of_ablation(runs: list[Reported], document: dict[str, Any]) -> list[Section]:
    plan = document.get("ablation") or {}
    order = list(plan.get("variants") or {})
    datasets: dict[str, dict[str, list[Reported]]] = {}
    for run in runs:
        cell = run.member.cell
        datasets.setdefault(cell["dataset"], {}).setdefault(cell["variant"], []).append(run)
    pooled = plan.get("splits") == "folds"
    sections = []
    for dataset, groups in datasets.items():
        names = sorted(groups, key=lambda name: order.index(name) if name in order else len(order))
        base = plan.get("base") or next((n for n in ("none", "all", *order) if n in groups), names[0])
        sections.append(Section(dataset, [Variant(n, groups[n], pooled) for n in names], base))
    return sections
