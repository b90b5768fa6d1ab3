"""An audit in words: the Markdown report, and the lines that the command prints."""

from __future__ import annotations

from typing import Any


def summary(audit: dict[str, Any]) -> list[str]:
    """Return what an audit found, a line for each kind of finding."""
    labels, constant = audit["labels"], audit["constant"]
    gaps = f"without {_ranges(labels['gaps'])}" if labels["gaps"] else "without gaps"
    lines = [
        f"{audit['name']}: {audit['faces']:,} faces, {labels['count']} ages from {labels['low']} to"
        f" {labels['high']} {gaps}",
        f"always {constant['age']:g} years: MAE {constant['mae']:.2f}",
        *(_copies(kind, audit["copies"][kind]) for kind in ("identical", "near")),
        f"compared by {audit['copies']['methods']}",
        _people(audit["people"]),
        _quarantine(audit["quarantine"]),
    ]
    if audit["flat"]:
        lines.append(f"pictures that show nothing: {len(audit['flat'])} (rows {_some(audit['flat'])})")
    lines += [f"splits, {name}: {_split(told)}" for name, told in audit["protocols"].items()]
    return [*lines, _other(audit)]


def _copies(kind: str, found: dict[str, Any]) -> str:
    return (
        f"{kind} pictures: {found['pairs']:,} pairs of {found['faces']:,} faces; ages conflict in"
        f" {found['ages_conflict']:,} ({found['ages_differ_by_5_or_more']:,} by 5 years or more), genders in"
        f" {found['genders_conflict']:,}"
    )


def _people(found: dict[str, Any]) -> str:
    if not found["count"]:
        return "people: no identities"
    both = found["both_genders"]
    text = f"people: {found['count']:,} with {found['fewest']} to {found['most']} images"
    if found["nameless"]:
        text += f", {found['nameless']:,} faces without identity"
    if not both["people"]:
        return f"{text}; none under both genders"
    return (
        f"{text}; {both['people']} under both genders ({both['images']} images, at least"
        f" {both['wrong_at_least']} of them with a wrong gender)"
    )


def _quarantine(found: dict[str, Any]) -> str:
    told = ", ".join(f"{entry['count']:,} ({reason})" for reason, entry in found.items())
    return f"set aside when it was prepared: {told or 'nothing'}"


def _split(told: dict[str, Any]) -> str:
    for kind in ("not_made", "not_read"):
        if kind in told:
            return str(told[kind])
    return f"{told['verdict']} ({'; '.join(told['reasons'])})"


def _other(audit: dict[str, Any]) -> str:
    found = audit["against"]
    if found is None:
        return (
            "fine-tuning data, pretraining: cannot be determined from one data set; --against OTHER compares"
            " with what a model saw before"
        )
    return f"fine-tuning data or pretraining on {found['name']}: {_split(found)}"


def markdown(audit: dict[str, Any]) -> str:
    """Return the report of an audit as Markdown, beside its figure audit.png."""
    lines = [f"# Audit of {audit['name']}", "", f"Fingerprint `{audit['fingerprint']}`.", ""]
    lines += [f"- {line}" for line in summary(audit)]
    lines += ["", "![Faces by age and gender](audit.png)", "", "## What parts share", ""]
    kinds = ("identical", "near", "people")
    lines += ["| split | parts | identical pairs | near pairs | people |", "|---|---|---|---|---|"]
    for name, told in audit["protocols"].items():
        for parts, counts in told.get("shared", {}).items():
            lines.append(f"| {name} | {parts} | " + " | ".join(f"{counts[kind]:,}" for kind in kinds) + " |")
    lines += ["", "## Set aside", "", "| reason | files | such as |", "|---|---|---|"]
    for reason, entry in audit["quarantine"].items():
        lines.append(f"| {reason} | {entry['count']:,} | {', '.join(entry['examples'])} |")
    lines += ["", "## Faces by age", "", "| age | M | F | unknown |", "|---|---|---|---|"]
    ages = audit["ages"]
    rows = zip(ages["age"], ages["M"], ages["F"], ages["unknown"], strict=True)
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)]) + "\n"


def _some(values: list[int]) -> str:
    return ", ".join(map(str, values[:5])) + (", …" if len(values) > 5 else "")


def _ranges(ages: list[int]) -> str:
    """Return ages as `2, 71, 97–99`."""
    runs: list[list[int]] = []
    for age in ages:
        if runs and age == runs[-1][-1] + 1:
            runs[-1].append(age)
        else:
            runs.append([age])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)
