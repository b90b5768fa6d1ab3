"""An evaluation of a plan: predicted, measured, and written to files."""

from __future__ import annotations

import json
from collections.abc import Sequence

from data.progress import Progress
from data.verdicts import Verdict
from orchestration import (
    evaluation_ensemble,
    evaluation_figures,
    evaluation_pass,
    evaluation_tables,
    intervals,
    ledger,
    predictions,
    report_files,
)
from orchestration.console import table
from orchestration.evaluation import Asked, Evaluation, measure
from orchestration.evaluation_plan import NAME, Plan, prepared
from orchestration.exposure import Part
from orchestration.predictions import Predictions
from orchestration.report_build import Part as Chapter
from orchestration.report_build import Report
from orchestration.storage import Storage


def run(plan: Plan, asked: Asked) -> list[Evaluation]:
    """Predict and measure, part by part, and enter each evaluation in its study's test ledger."""
    found = []
    progress = Progress(len(plan.models) * len(plan.parts), "measured, with intervals", "evaluations")
    for part, name, told in zip(plan.parts, plan.names, plan.leaks, strict=True):
        kept = evaluation_pass.predict(plan.models, plan.known, part, plan.flip)
        for model, seen, leaks, one in zip(plan.models, plan.known, told, kept, strict=True):
            own = seen is not None and seen.faces is part.faces
            if model.study is not None and model.member is not None:
                ledger.enter(model.study, model.member.name, model.identity, data=None if own else name)
            counts = None if seen is None else seen.counts()
            fitted = None if plan.flip else intervals.read(model.folder)  # they hold for faces seen once
            found.append(measure((model.name, name), one, part.faces, leaks, counts, fitted, asked))
            progress.advance()
        if plan.ensemble:
            found.append(_of_all(plan, part, name, told, kept, asked))
    progress.close()
    return found


def _of_all(
    plan: Plan,
    part: Part,
    name: str,
    told: Sequence[dict[str, Verdict]],
    kept: Sequence[Predictions],
    asked: Asked,
) -> Evaluation:
    counts = [None if seen is None else seen.counts() for seen in plan.known]
    shared = counts[0] if all(one == counts[0] for one in counts) else None
    title = evaluation_ensemble.name(len(kept))
    leaks = evaluation_ensemble.leaks(told)
    mean = evaluation_ensemble.predictions(kept)
    return measure((title, name), mean, part.faces, leaks, shared, None, asked)


def write(
    plan: Plan, found: Sequence[Evaluation], wanted: Sequence[str], out: Storage, with_files: bool
) -> list[str]:
    """Pages, figures, numbers and predictions; returns the names of all but the last. Raises MachineError."""
    pages = report_files.write(_report(plan, found, with_files), wanted, out, NAME)
    if "json" in wanted:
        document = {"flip": plan.flip, "evaluations": [one.document() for one in found]}
        out.put(f"{NAME}.json", (json.dumps({"format_version": 1, **document}, indent=1) + "\n").encode())
        pages.append(f"{NAME}.json")
    for one in found:
        predictions.write(out.child(f"{one.data}/{one.model.replace('/', '-')}"), one.kept)
    return pages


def _report(plan: Plan, found: Sequence[Evaluation], with_files: bool) -> Report:
    chapters = [Chapter("", [evaluation_tables.matrix(found), evaluation_tables.leaks(found)], [])]
    for number, (part, name) in enumerate(zip(plan.parts, plan.names, strict=True), 1):
        mine = [one for one in found if one.data == name]
        tables = [evaluation_tables.accuracy(mine), *evaluation_tables.groups(mine)]
        tables += [*evaluation_tables.shots(mine), evaluation_tables.challenges(mine)]
        tables += [*evaluation_tables.confidence(mine), *evaluation_tables.intervals(mine)]
        tables += evaluation_tables.worst(mine, part.faces.sources if with_files else None)
        chapters.append(Chapter(part.words, tables, evaluation_figures.draw(mine, f"{number}-")))
    said = [
        "Estimates of age and gender, not proof of either; not for sole decisions on access, asylum,"
        " employment or policing. Gender is the data set's binary annotation."
    ]
    if plan.flip:
        said.append("Every face is seen as it is and mirrored; what is measured is the mean of both.")
    for part in plan.parts:
        told = dict.fromkeys(prepared(model, part) for model in plan.models)
        said += [f"{part.faces.name}: {one}." for one in told if one]
    count = f"{len(plan.models)} models" if len(plan.models) > 1 else plan.models[0].name
    return Report(f"Evaluation of {count} on {', '.join(plan.names)}", said, chapters)


def summary(found: Sequence[Evaluation]) -> list[str]:
    """The matrix and the accuracy on each data set, for the terminal."""
    shown = evaluation_tables.matrix(found)
    lines = [shown.title, *table(shown.columns, shown.rows), *shown.notes]
    for name in dict.fromkeys(one.data for one in found):
        mine = evaluation_tables.accuracy([one for one in found if one.data == name])
        lines += [name, *table(mine.columns, mine.rows)]
    return lines
