"""The tables of an evaluation: models side by side on each data set, and data sets side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestration import coverage
from orchestration.audit_line import PARTS
from orchestration.evaluation import EVERYBODY, Evaluation, Shot
from orchestration.evaluation_numbers import FEW, MANY, Group
from orchestration.report_tables import Table, signed
from orchestration.statistics import Interval

TOLERANCES = (0, 1, 2, 3, 5, 10)  # t of eq. (12) that are shown, in years
SMALL = 50  # images of a group below which a note asks for care


def matrix(found: Sequence[Evaluation]) -> Table:
    """MAE of every model on every data set."""
    data = list(dict.fromkeys(one.data for one in found))
    by = {(one.model, one.data): one for one in found}
    rows = [
        [model, *(_with(by[model, name].metrics["age_mae"], by[model, name].mae_interval) for name in data)]
        for model in dict.fromkeys(one.model for one in found)
    ]
    first = [by[found[0].model, name] for name in data]
    what = "; ".join(f"{one.data}: {one.part}, {one.images:,} images" for one in first)
    notes = [f"MAE in years. {what}.", _of_whom(found)]
    return Table("MAE across data sets", ["model", *data], rows, notes)


def _of_whom(found: Sequence[Evaluation]) -> str:
    nameless = list(dict.fromkeys(one.data for one in found if one.people is None))
    text = "In brackets 95 % intervals for new people: whole people are resampled."
    if nameless:
        text += f" {', '.join(nameless)}: not everybody is named, so image-level; likely too narrow."
    return text


def leaks(found: Sequence[Evaluation]) -> Table:
    """What the scored images share with what a model was trained on."""
    rows = [
        [one.model, one.data, PARTS[kind], verdict.verdict, "; ".join(verdict.reasons)]
        for one in found
        for kind, verdict in one.leaks.items()
    ]
    return Table("Leaks", ["model", "data", "shared with", "verdict", "because"], rows, text=True)


def accuracy(found: Sequence[Evaluation]) -> Table:
    """The metrics of every model on one data set."""
    columns = ["model", "MAE", "macro-MAE", "RMSE", "bias", "CS5", "CS5 rounded", "gender", "gender ECE"]
    apparent = any("epsilon_error" in one.metrics for one in found)
    rows = []
    for one in found:
        m = one.metrics
        row = [one.model, _with(m["age_mae"], one.mae_interval)]
        row += [f"{m['age_macro_mae']:.2f}", f"{m['age_rmse']:.2f}", signed(m["age_bias"])]
        row += [f"{m['age_cs5']:.1f}", f"{m['age_cs5_rounded']:.1f}"]
        row += [_or_none(m.get("gender_accuracy"), 1), _or_none(m.get("gender_calibration_error"), 3)]
        rows.append([*row, _or_none(m.get("epsilon_error"), 3)] if apparent else row)
    notes = [
        "MAE, macro-MAE (each age weighs alike), RMSE and bias (predicted − true) in years; CS5 and gender"
        " accuracy in per cent; ECE: expected calibration error of P(female) over ten bins.",
        "CS5 on raw and on rounded predictions are different numbers: rounding alone lifts it.",
    ]
    if apparent:
        notes.append("ε-error against apparent age: 1 − mean exp(−(ŷ − μ)²/(2σ²)).")
    return Table("Accuracy", [*columns, "ε-error"] if apparent else columns, rows, notes)


def groups(found: Sequence[Evaluation]) -> list[Table]:
    """MAE by group, a table for each way to group."""
    return [_by(what, found) for what in found[0].groups]


def _by(what: str, found: Sequence[Evaluation]) -> Table:
    lists = [one.groups[what] for one in found]
    first = lists[0]
    rows = []
    for index, group in enumerate(first):
        shown = "" if group.people is None else f"{group.people:,}"
        row = [*group.names, f"{group.images:,}", shown]
        rows.append([*row, *(_mae(given[index]) for given in lists)])
    named = first[0].people is not None
    if not named:
        rows = [[*row[: len(first[0].names) + 1], *row[len(first[0].names) + 2 :]] for row in rows]
    columns = [*what.split(" × "), "images", *(["people"] if named else []), *(one.model for one in found)]
    notes = ["MAE in years, with its 95 % interval and the bias (predicted − true)."]
    if any(group.images < SMALL for group in first):
        notes.append(f"Groups of fewer than {SMALL} images say little.")
    return Table(f"MAE by {what}", columns, rows, notes)


def _mae(group: Group) -> str:
    return f"{_with(group.mae, group.interval)}, {signed(group.bias, 1)}"


def shots(found: Sequence[Evaluation]) -> list[Table]:
    """MAE on ages that training has many, some and few faces of; nothing where that is not known."""
    known = [one for one in found if one.shots]
    if not known:
        return []
    rows = [[one.model, *map(_shot, one.shots)] for one in known]
    note = (
        f"MAE in years and images, by the training faces of an image's age: many is more than {MANY}, few is"
        f" fewer than {FEW}, none included (Yang et al., 2021)."
    )
    return [Table("Many, medium and few shots", ["model", *(s.name for s in known[0].shots)], rows, [note])]


def _shot(shot: Shot) -> str:
    return "none" if shot.mae is None else f"{_with(shot.mae, shot.interval)} on {shot.images:,}"


def challenges(found: Sequence[Evaluation]) -> Table:
    """Who passes a check of age that asks those for papers who look younger than a challenge age."""
    rows = []
    for one in found:
        for c in one.challenges:
            passed = "none" if c.passed is None else _share(c.passed, c.interval)
            asked = "none" if c.asked is None else f"{100 * c.asked:.1f}"
            group = "all" if c.group == EVERYBODY else c.group
            rows.append([one.model, f"{c.challenge:g}", group, f"{c.under:,}", passed, f"{c.over:,}", asked])
    legal = f"{found[0].challenges[0].legal:g}"
    columns = ["model", "challenge age", "gender", f"under {legal}", "pass", f"{legal} or over", "are asked"]
    notes = [
        f"Pass: share, in per cent, of those under {legal} years who are estimated at the challenge age or"
        " older (false positives), with its 95 % interval; asked: share of the others who are estimated"
        " younger. An estimate is no proof of age."
    ]
    return Table(f"Checks of age, legal age {legal}", columns, rows, notes)


def confidence(found: Sequence[Evaluation]) -> list[Table]:
    """Eq. (12) at some tolerances; nothing without a trained position head."""
    known = [one for one in found if one.confidence]
    if not known:
        return []
    rows = []
    for one in known:
        shown = [one.confidence[t] for t in TOLERANCES]
        rows.append([one.model, *(f"{r['score']:.1f} ({r['low']:.1f} to {r['high']:.1f})" for r in shown)])
    columns = ["model", *(f"t = {t}" for t in TOLERANCES)]
    note = (
        "Share of images in per cent whose age and age of the predicted position are at most t years apart"
        " (eq. 12), with 95 % of resamples of images."
    )
    return [Table("Confidence score", columns, rows, [note])]


def intervals(found: Sequence[Evaluation]) -> list[Table]:
    """Coverage of the prediction intervals of calibrated models."""
    made = []
    for one in found:
        if one.fitted is not None:
            table = coverage.table(one.fitted, one.coverage)
            notes = list(table.notes)
            if one.kept.origin.fingerprint != one.fitted.fingerprint:
                notes.append("Calibrated on another data set: nothing is promised here.")
            made.append(Table(f"{table.title} of {one.model}", table.columns, table.rows, notes))
    return made


def worst(found: Sequence[Evaluation], names: Sequence[str] | None) -> list[Table]:
    """The largest errors of every model; `names` are the data set's files by row, if they are to be shown."""
    made = []
    for one in found:
        rows = []
        for m in one.worst:
            row = [str(m.sample_id), f"{m.age:g}", f"{m.predicted:.1f}", signed(m.predicted - m.age, 1)]
            rows.append(row if names is None else [*row, names[m.sample_id]])
        columns = ["sample_id", "age", "estimate", "error", *([] if names is None else ["file"])]
        made.append(Table(f"Largest errors of {one.model}", columns, rows, ["Years."]))
    return made


def _with(value: float | None, interval: Interval | None) -> str:
    if value is None or np.isnan(value):
        return "none"
    return f"{value:.2f}" if interval is None else f"{value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def _share(value: float, interval: Interval | None) -> str:
    ends = "" if interval is None else f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    return f"{100 * value:.1f}{ends}"


def _or_none(value: float | None, digits: int) -> str:
    return "none" if value is None else f"{value:.{digits}f}"
