"""An evaluation from models and data sets to files: what is scored, how, and where it is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch

from data.errors import DataError
from data.faces import Faces
from data.progress import Progress
from data.verdicts import Verdict
from orchestration import (
    evaluation_figures,
    evaluation_pass,
    evaluation_tables,
    exposure,
    intervals,
    ledger,
    predictions,
    report_files,
)
from orchestration.audit_line import PARTS
from orchestration.console import table
from orchestration.errors import UserError
from orchestration.evaluation import Asked, Evaluation, measure
from orchestration.evaluation_pass import Subject
from orchestration.exposure import Part, Seen
from orchestration.report_build import Part as Chapter
from orchestration.report_build import Report
from orchestration.storage import Storage

NAME = "evaluation"


@dataclass(frozen=True)
class Plan:
    """Which models are scored on which parts, and what each of them has seen."""

    models: list[Subject]
    known: list[Seen | None]
    parts: list[Part]
    names: list[str]  # of the parts' data sets, each its own
    leaks: list[list[dict[str, Verdict]]]  # of each part and model

    def audit(self) -> list[str]:
        """What is known of leaks and of preparation, part by part."""
        lines = []
        for part, found in zip(self.parts, self.leaks, strict=True):
            lines.append(part.words)
            said: dict[str, list[str]] = {}  # what is said of several models is said once
            for model, verdicts in zip(self.models, found, strict=True):
                leaks = (f"{PARTS[k]}: {v.verdict} ({', '.join(v.reasons)})" for k, v in verdicts.items())
                said.setdefault(f"leaks from {'; '.join(leaks)}", []).append(model.name)
                prepared = _prepared(model, part)
                if prepared:
                    said.setdefault(prepared, []).append(model.name)
            lines += [f"  {', '.join(names)}: {words}" for words, names in said.items()]
        return lines

    def default_folder(self) -> Storage:
        """The model's own folder; of several models the deepest folder that holds their studies or runs."""
        folders = [model.folder for model in self.models]
        if len(folders) == 1:
            return folders[0].child(NAME)
        places = [folder.root.partition("?") for folder in folders]
        levels = zip(*(place[0].split("/") for place in places), strict=False)
        shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
        if not shared:
            raise UserError("the models lie in different storages: say with --out where the pages are to go")
        common = Storage("".join(["/".join(shared) or "/", *places[0][1:]]))
        return (common.parent() if common.name in ("single", "finals", "cells") else common).child(NAME)


def _prepared(model: Subject, part: Part) -> str:
    """What may differ in how faces were brought to their place; empty where nothing does, or nobody knows."""
    if model.trained.preparation is None or exposure.trained_on(model.trained, part.faces):
        return ""
    mine, theirs = model.trained.preparation.align, part.faces.manifest.preparation.align
    if mine is None and theirs is None:
        return "neither these nor the training faces are aligned: errors may come of how faces are framed"
    if mine == theirs:
        return ""
    ways = ["not aligned" if one is None else f"aligned by {one.method}" for one in (mine, theirs)]
    settings = " with other settings" if ways[0] == ways[1] else ""
    return f"trained on faces {ways[0]}, these are {ways[1]}{settings}: errors may come of that"


def plan(models: Sequence[str], data: Sequence[str], asked: str | None) -> Plan:
    """Open models and data sets and settle what is scored. Raises UserError and DataError."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    subjects = evaluation_pass.subjects(models, device)
    faces = _opened(subjects, data)
    known = [exposure.seen(model.trained, faces) for model in subjects]
    trained = [model.trained for model in subjects]
    parts = [exposure.part(one, trained, known, asked) for one in faces]
    found = [
        [exposure.leaks(model, seen, part) for model, seen in zip(trained, known, strict=True)]
        for part in parts
    ]
    return Plan(subjects, known, parts, _names(faces), found)


def _opened(models: Sequence[Subject], data: Sequence[str]) -> list[Faces]:
    roots = list(data)
    for model in models if not roots else ():
        config = model.trained.config
        if config is None:
            raise UserError(
                f"{model.name}: does not say what it was trained on; name faces with --data FOLDER"
            )
        roots.append(config.data.root)
    opened: dict[str, Faces] = {}
    for root in dict.fromkeys(roots):
        try:
            faces = Faces.open(root)
        except DataError as error:
            if data:
                raise
            raise UserError(f"{error}\nthe models were trained on it; name it with --data FOLDER") from None
        opened.setdefault(faces.fingerprint, faces)
    return list(opened.values())


def _names(faces: Sequence[Faces]) -> list[str]:
    """The data sets' names; of several with one name the folders'."""
    often = Counter(one.name for one in faces)
    return [one.name if often[one.name] == 1 else f"{one.name} ({one.root.name})" for one in faces]


def run(plan: Plan, asked: Asked) -> list[Evaluation]:
    """Predict and measure, part by part, and enter each evaluation in its study's test ledger."""
    found = []
    progress = Progress(len(plan.models) * len(plan.parts), "measured, with intervals", "evaluations")
    for part, name, told in zip(plan.parts, plan.names, plan.leaks, strict=True):
        kept = evaluation_pass.predict(plan.models, plan.known, part)
        for model, seen, leaks, one in zip(plan.models, plan.known, told, kept, strict=True):
            own = seen is not None and seen.faces is part.faces
            if model.study is not None and model.member is not None:
                ledger.enter(model.study, model.member.name, model.identity, data=None if own else name)
            counts = None if seen is None else seen.counts()
            fitted = intervals.read(model.folder)
            found.append(measure((model.name, name), one, part.faces, leaks, counts, fitted, asked))
            progress.advance()
    progress.close()
    return found


def write(
    plan: Plan, found: Sequence[Evaluation], wanted: Sequence[str], out: Storage, with_files: bool
) -> list[str]:
    """Pages, figures, numbers and predictions; returns the names of all but the last. Raises MachineError."""
    pages = report_files.write(_report(plan, found, with_files), wanted, out, NAME)
    if "json" in wanted:
        document = {"evaluations": [one.document() for one in found]}
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
    for part in plan.parts:
        told = dict.fromkeys(_prepared(model, part) for model in plan.models)
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
