"""Variants against their base: as the ablation stored it, or computed here for the finalists of a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestration import comparisons
from orchestration.comparisons import Comparison, Estimated, Measured, Setting
from orchestration.errors import UserError
from orchestration.report_study import Reading, Section, Variant
from orchestration.statistics import Interval

ALPHA = 0.05  # of a search's finalists; an ablation's is in its file


@dataclass(frozen=True)
class Judgement:
    """The comparisons of one data set, and at which level their intervals are."""

    base: str
    level: float
    comparisons: dict[str, Comparison]
    effects: list[Estimated] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def of(section: Section, reading: Reading, identities: list[str | None]) -> Judgement | None:
    """What is judged of a section; None where nothing is compared. `identities` [n]: of test images."""
    if reading.kind == "ablation":
        return stored(reading).get(section.title)
    by_name = {v.name: v for v in section.variants}
    if section.base is None or len(by_name) < 2:
        return None
    setting = Setting(len(by_name) - 1, ALPHA, identities)
    base = measured(by_name.pop(section.base))
    found = {name: comparisons.compare(base, measured(v), setting) for name, v in by_name.items()}
    return Judgement(section.base, setting.level, comparisons.judged(found, setting))


def measured(variant: Variant) -> Measured:
    """A variant's test MAE and absolute errors by seed."""
    errors = variant.errors()
    seeds = [run.member.seed for run in variant.runs if run.test is not None]
    return Measured(
        {run.member.seed: run.metrics["age_mae"] for run in variant.runs},
        {} if errors is None else dict(zip(seeds, np.abs(errors[1]), strict=True)),
    )


def stored(reading: Reading) -> dict[str, Judgement]:
    """By data set what the ablation wrote to results.json; empty before it has. Raises UserError."""
    document = reading.root.get_json("results.json") or {}
    looks = document.get("seeds_at_looks", [])
    notes = []
    if len(looks) > 1:
        counts = ", ".join(map(str, looks))
        notes.append(
            f"Looked at with {counts} seeds: p values and intervals do not know of the earlier looks."
        )
    try:
        return {t["dataset"]: _judgement(t, notes) for t in document.get("tables", [])}
    except (KeyError, TypeError) as error:
        path = reading.root.address("results.json")
        raise UserError(f"{path} is damaged ({error}); run the ablation again") from None


def _judgement(table: Mapping[str, Any], notes: list[str]) -> Judgement:
    compared = {
        row["variant"]: Comparison(**_with_intervals(row["comparison"]))
        for row in table["rows"]
        if row["comparison"] is not None
    }
    estimated = [
        Estimated(**{**_with_intervals(e), "aliases": tuple(e["aliases"])}) for e in table["effects"]
    ]
    # Of frozen backbones the accuracy table says it.
    said = [f"{note[:1].upper()}{note[1:]}." for note in table["notes"] if not note.startswith("frozen")]
    failed = [f"Cells of {r['variant']} that failed: {r['failed']}." for r in table["rows"] if r["failed"]]
    return Judgement(table["base"], table["level"], compared, estimated, [*said, *failed, *notes])


def _with_intervals(values: Mapping[str, Any]) -> dict[str, Any]:
    names = ("interval", "headline")
    return {k: Interval(**v) if k in names and v is not None else v for k, v in values.items()}
