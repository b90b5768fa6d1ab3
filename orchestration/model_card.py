"""The model card of an export: what it estimates, of which faces, how well, and what it is not for."""

from __future__ import annotations

import json
from statistics import mean, stdev
from typing import Any

import numpy as np

from data.errors import DataError
from data.faces import Faces
from data.schema import Preparation
from orchestration import predictions
from orchestration.audit_line import audit_line
from orchestration.evaluation_numbers import groups
from orchestration.ledger import study_of
from orchestration.records import Member, Records
from orchestration.storage import Storage
from orchestration.trained import Trained

AGES = (0, 18, 30, 50, 70)  # where the groups of the table begin, in years
METRICS = {
    "age_mae": "MAE, years",
    "age_rmse": "RMSE, years",
    "age_bias": "bias (estimated − true), years",
    "age_cs5": "within 5 years, %",
    "age_cs5_rounded": "within 5 years where ages are rounded, %",
    "gender_accuracy": "gender, % as annotated",
}
PEOPLE = """\
- Estimates, not proof of age.
- Not for sole decisions on access, asylum, employment or policing.
- Gender is the training data's binary annotation, not anybody's identity.
- Errors differ between ages, genders and ethnicities: see the table above, with its counts, before use.
- The training data include minors and people who did not consent.
- MS-Celeb-1M, on which public face weights were often trained, was withdrawn by its publisher.
- Research-only licences of data and weights bind what is derived from them, this file too.
- Faces are personal data and face features are biometric templates; biometric law is the user's duty.
"""


def card(trained: Trained, folder: Storage, files: dict[str, str]) -> str:
    """The card as Markdown. `folder` is the run's; `files` says of each exported file what it is."""
    origin = trained.origin
    member = _member(folder)
    lines = [f"# Age estimator trained on {origin.get('data')}", ""]
    lines += [f"- `{name}`: {what}" for name, what in files.items()]
    labels = trained.labels
    lines += ["", "## Input and output", "", *preparation_lines(trained.size, trained.preparation), ""]
    lines.append(
        f"Age in years; the age head `{trained.network.config.age_head.name}` was trained with"
        f" {len(labels)} labels from {labels[0]} to {labels[-1]}."
    )
    if trained.network.gender_head is not None:
        lines.append("`female_probability` is that of the annotation female.")
    lines += ["", "## Training", "", *_training(trained, member), "", "## Errors", ""]
    lines += [*_errors(folder, member), *_group_lines(trained, folder), "", "## People", "", PEOPLE]
    return "\n".join(lines)


def preparation_lines(size: int, preparation: Preparation | None) -> list[str]:
    """How a picture becomes an input, in words."""
    taken = f"{size} × {size} pixels, RGB, 8 bits, [batch, {size}, {size}, 3]; normalisation is inside."
    if preparation is None:
        return [f"Faces of {taken} How the training faces were cut is not known."]
    if preparation.align is None:
        how = "the whole picture as the data set has it, turned upright, resized (bilinear, aspect not kept)"
    else:
        how = (
            f"five landmarks ({preparation.align.detector or 'of the data set'}) brought to the template"
            f" `{preparation.align.margin}` by a similarity (bilinear)"
        )
    return [f"Faces of {taken}", f"Training faces were prepared so: {how}."]


def _member(folder: Storage) -> Member | None:
    """The run as its study has it, None where the folder is no run's."""
    place = study_of(folder)
    if place is None:
        return None
    return Records(place[0]).member(place[1])


def _training(trained: Trained, member: Member | None) -> list[str]:
    origin = trained.origin
    split = json.loads(str(origin.get("split", "{}")))
    told = {
        "data set": f"{origin.get('data')}, fingerprint {origin.get('fingerprint')}",
        "reader": origin.get("reader"),
        "split": ", ".join(f"{name} {value}" for name, value in split.items()),
        "epochs": origin.get("epochs"),
        "started from weights with SHA-256": origin.get("started_from"),
        "backbone": f"{trained.network.config.backbone.name}, "
        + ("fine-tuned" if trained.network.config.train_backbone else "frozen"),
        "identity of the run": member.identity if member else None,
        "seed": member.seed if member else None,
        "leaks into the test part": audit_line(member.audit) if member else None,
        "reasons": member.audit.get("reasons") if member else None,
    }
    return [f"- {name}: {value}" for name, value in told.items() if value not in (None, "")]


def _errors(folder: Storage, member: Member | None) -> list[str]:
    """Test metrics of the run, and the mean over the seeds of its trial."""
    if member is None or member.test is None:
        return ["No test metrics lie with this checkpoint."]
    test = member.test
    lines = [f"Test part ({test['count']:.0f} faces), best validation epoch, seed {member.seed}:", ""]
    lines += [f"- {words}: {test[name]:.2f}" for name, words in METRICS.items() if name in test]
    maes = [other.test["age_mae"] for other in _seeds(folder, member) if other.test]
    if len(maes) > 1:
        lines += ["", f"Over {len(maes)} seeds: test MAE {mean(maes):.3f} ± {stdev(maes):.3f} years (sd)."]
    else:
        lines += ["", "One seed: differences between runs of one method are not known from it."]
    return lines


def _seeds(folder: Storage, member: Member) -> list[Member]:
    if folder.parent().name != "finals":
        return [member]
    finals = Records(folder.parent().parent()).members("finals")
    return [other for other in finals if other.number == member.number]


def _group_lines(trained: Trained, folder: Storage) -> list[str]:
    """MAE by age group × gender, and × ethnicity where the data set is there and says it, as a table."""
    kept = predictions.read(folder, "test")
    if kept is None:
        return []
    age = kept.column("age")
    tops = (*(f"{top - 1}" for top in AGES[1:]), "")
    inside = np.searchsorted(AGES, age, side="right") - 1
    by = [
        {
            f"{low}–{top}" if top else f"{low}+": inside == i
            for i, (low, top) in enumerate(zip(AGES, tops, strict=True))
        }
    ]
    by += [_masks(kept.table["gender"].to_pylist())]
    error = kept.column("predicted_age") - age
    head = "| age | gender | faces | MAE | bias |\n|---|---|---|---|---|"
    tables = ["", head, *_rows(by, error)]
    ethnicity = _ethnicity(trained, kept)
    if ethnicity is not None:
        head = "| age | gender | ethnicity | faces | MAE | bias |\n|---|---|---|---|---|---|"
        tables += ["", head, *_rows([*by, _masks(ethnicity)], error)]
    return tables


def _rows(by: Any, error: Any) -> list[str]:
    return [
        f"| {' | '.join(group.names)} | {group.images:,} | {group.mae:.2f} | {group.bias:+.2f} |"
        for group in groups(by, error, [None] * len(error))
    ]


def _masks(names: list[str | None]) -> dict[str, Any]:
    values = np.array([name or "" for name in names])
    return {str(name): values == name for name in np.unique(values) if name}


def _ethnicity(trained: Trained, kept: predictions.Predictions) -> list[str | None] | None:
    """The faces' labels, None where the data set is not at hand or does not say."""
    if trained.config is None:
        return None
    try:
        joined = predictions.join(kept, Faces.open(trained.config.data.root))
    except DataError:
        return None
    names: list[str | None] = joined["ethnicity"].to_pylist()
    return names if any(names) else None
