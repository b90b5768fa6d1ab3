"""What an evaluation scores: its models, the parts of data sets, and what each model has seen of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import torch

from data.errors import DataError
from data.faces import Faces
from data.verdicts import Verdict
from orchestration import evaluation_pass, exposure
from orchestration.audit_line import PARTS
from orchestration.errors import UserError
from orchestration.evaluation_pass import Subject
from orchestration.exposure import Part, Seen
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
    flip: bool = False  # each face is seen mirrored too
    ensemble: bool = False  # the mean of all models is measured too

    def audit(self) -> list[str]:
        """What is known of leaks and of preparation, part by part."""
        lines = []
        for part, found in zip(self.parts, self.leaks, strict=True):
            lines.append(part.words)
            said: dict[str, list[str]] = {}  # what is said of several models is said once
            for model, verdicts in zip(self.models, found, strict=True):
                leaks = (f"{PARTS[k]}: {v.verdict} ({', '.join(v.reasons)})" for k, v in verdicts.items())
                said.setdefault(f"leaks from {'; '.join(leaks)}", []).append(model.name)
                differs = prepared(model, part)
                if differs:
                    said.setdefault(differs, []).append(model.name)
            lines += [f"  {', '.join(names)}: {words}" for words, names in said.items()]
        return lines

    def default_folder(self) -> Storage:
        """The model's own folder; of several models the deepest folder that holds their studies or runs."""
        folders = [model.folder for model in self.models]
        name = f"{NAME}_flip" if self.flip else NAME
        if len(folders) == 1:
            return folders[0].child(name)
        places = [folder.root.partition("?") for folder in folders]
        levels = zip(*(place[0].split("/") for place in places), strict=False)
        shared = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
        if not shared:
            raise UserError("the models lie in different storages: say with --out where the pages are to go")
        common = Storage("".join(["/".join(shared) or "/", *places[0][1:]]))
        return (common.parent() if common.name in ("single", "finals", "cells") else common).child(name)


def prepared(model: Subject, part: Part) -> str:
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


def plan(
    models: Sequence[str], data: Sequence[str], asked: str | None, flip: bool = False, ensemble: bool = False
) -> Plan:
    """Open models and data sets and settle what is scored. Raises UserError and DataError."""
    if ensemble and len(models) < 2:
        raise UserError("--ensemble: one model is no ensemble; name several, such as STUDY/finals/*")
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
    return Plan(subjects, known, parts, _names(faces), found, flip, ensemble)


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
