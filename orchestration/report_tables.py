"""The tables of a report: rows of text, for Markdown, HTML and LaTeX alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestration import report_numbers, statistics
from orchestration.comparisons import years
from orchestration.console import duration
from orchestration.report_judgement import Judgement
from orchestration.report_numbers import mean_of
from orchestration.report_study import Section, Variant
from orchestration.statistics import Interval

LEVEL = 0.95  # of a variant's own interval
MINUS = "−"


@dataclass(frozen=True)
class Table:
    """Rows of text under column names; the first column is left-aligned, the others right unless `text`."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)
    text: bool = False


def accuracy(section: Section) -> Table:
    """The paper's columns and more: one row for every variant, means over its runs."""
    columns = ["variant", "MAE", "95 % interval", "CS5", "CS5 rounded", "RMSE", "bias", "gender"]
    columns += ["seeds", "time each", "GPU-hours"]
    return Table(
        "Test accuracy", columns, [_accuracy_row(v) for v in section.variants], _accuracy_notes(section)
    )


def _accuracy_row(variant: Variant) -> list[str]:
    rows = variant.metrics
    maes = [row["age_mae"] for row in rows]
    interval = statistics.t_interval(maes, LEVEL) if len(maes) > 1 else None
    hours = sum(run.gpu_hours for run in variant.runs)
    return [
        variant.name,
        spread(rows, "age_mae", 3),
        bounds(interval),
        spread(rows, "age_cs5", 2),
        spread(rows, "age_cs5_rounded", 2),
        spread(rows, "age_rmse", 2),
        signed(float(np.mean([row["age_bias"] for row in rows]))),
        spread(rows, "gender_accuracy", 2),
        str(len(rows)),
        duration(sum(run.seconds for run in variant.runs) / len(rows)),
        f"{hours:.2f}" if hours else "none",
    ]


def _accuracy_notes(section: Section) -> list[str]:
    notes = [
        "MAE, RMSE and bias (predicted minus true) in years, CS5 and gender accuracy in per cent; mean ±"
        " standard deviation over runs at the epoch that validation chose. The interval of the MAE is a t"
        " interval over runs: new seeds, this test set.",
        "CS5 on raw and on rounded predictions are different numbers: rounding alone lifts it.",
    ]
    if any(len(v.metrics) < 2 for v in section.variants):
        notes.append("A variant with one seed has no deviation: its numbers are of one checkpoint.")
    if any(v.pooled for v in section.variants):
        notes.append("The test predictions of all folds of a seed are pooled; only complete seeds count.")
    lacking = [v.name for v in section.variants if any(run.test is None for run in v.runs)]
    if lacking:
        notes.append(f"Without kept predictions, so without figures and groups: {', '.join(lacking)}.")
    if any(run.config.get("model.train_backbone") is False for v in section.variants for run in v.runs):
        notes.append("Frozen backbone: not evidence for fine-tuning.")
    return notes


def comparison(judgement: Judgement) -> Table:
    """Every variant against the base: the difference with its intervals, p values and the verdict."""
    found = judgement.comparisons
    rows = [
        [
            name,
            signed(c.difference, 3),
            bounds(c.interval, True),
            bounds(c.headline, True),
            probability(c.p),
            probability(c.p_holm),
            probability(c.p_sign_flip),
            "" if c.detectable is None else years(c.detectable),
            str(c.pairs),
            c.words,
        ]
        for name, c in found.items()
    ]
    about = sorted({c.about for c in found.values()} - {""})
    headline = sorted({c.headline_about for c in found.values()} - {""})
    notes = [
        f"Paired differences of test MAE to {judgement.base} in years; negative is better. Intervals at"
        f" {100 * judgement.level:.4g} % (Bonferroni over the family); the verdict is by Holm's adjusted p.",
        f"Interval: {'; '.join(about)}." if about else "",
        f"New people: {'; '.join(headline)}." if headline else "",
        *judgement.notes,
    ]
    columns = ["variant", "Δ MAE", "interval", "new people", "p", "p (Holm)", "p (sign flip)"]
    columns += ["detectable", "pairs", "verdict"]
    return Table(f"Against {judgement.base}", columns, rows, list(filter(None, notes)))


def effects(judgement: Judgement) -> Table:
    """Main effects and two-way interactions of a factorial design."""
    rows = [
        [e.name, ", ".join(e.aliases), signed(e.estimate, 3), bounds(e.interval, True), probability(e.p_holm)]
        for e in judgement.effects
    ]
    note = (
        "Effects on test MAE in years, a family of their own; an aliased one cannot be told from the others."
    )
    return Table("Effects", ["effect", "aliases", "Δ MAE", "interval", "p (Holm)"], rows, [note])


def groups(section: Section, labels: pa.Table | None) -> list[Table]:
    """MAE by age group, gender and, where labelled, ethnicity, with counts; nothing where images differ."""
    found = {v.name: v.errors() for v in section.variants}
    known = {name: pair for name, pair in found.items() if pair is not None}
    if not known:
        return []
    ages = next(iter(known.values()))[0]
    known = {name: pair for name, pair in known.items() if len(pair[0]) == len(ages)}
    by = {"age group": report_numbers.age_groups(ages)}
    if labels is not None and labels.num_rows == len(ages):
        for name in ("gender", "ethnicity"):
            by[name] = report_numbers.named_groups(labels[name].to_pylist())
    return [_by(what, masks, known) for what, masks in by.items() if masks]


def _by(
    what: str,
    masks: Mapping[str, NDArray[np.bool_]],
    known: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Table:
    rows = []
    for group, mask in masks.items():
        cells = [f"{np.abs(error[:, mask]).mean():.2f}" for _, error in known.values()]
        rows.append([group, f"{int(mask.sum()):,}", *cells])
    named = [mask for group, mask in masks.items() if group != report_numbers.UNLABELLED]
    macro = [
        f"{np.mean([np.abs(error[:, mask]).mean() for mask in named]):.2f}" for _, error in known.values()
    ]
    rows.append(["mean of groups", "", *macro])
    notes = ["Test MAE in years, mean over runs; the last row weighs every named group alike."]
    few = [group for group, mask in masks.items() if mask.sum() < 50]
    if few:
        notes.append(f"Fewer than 50 images, read with care: {', '.join(few)}.")
    return Table(f"MAE by {what}", [what, "images", *known], rows, notes)


def spread(rows: Sequence[Mapping[str, float]], name: str, digits: int) -> str:
    """`mean ± sd` of a metric over runs, the mean alone for one; `none` where no run has it."""
    found = mean_of(rows, name)
    if found is None:
        return "none"
    mean, sd, count = found
    return f"{mean:.{digits}f} ± {sd:.{digits}f}" if count > 1 else f"{mean:.{digits}f}"


def bounds(interval: Interval | None, sign: bool = False) -> str:
    """`low to high`, empty where there is none."""
    if interval is None:
        return ""
    if sign:
        return f"{signed(interval.low, 3)} to {signed(interval.high, 3)}"
    return f"{interval.low:.3f} to {interval.high:.3f}"


def signed(value: float, digits: int = 2) -> str:
    """With its sign, as print has it."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def probability(p: float | None) -> str:
    """Two digits that count; empty where there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"
