"""What is measured of one model on one part of a data set. Pure but for reading labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from data.faces import Faces
from data.verdicts import Verdict
from orchestration import coverage, evaluation_numbers, predictions, report_numbers
from orchestration.confidence import confidence
from orchestration.coverage import Coverage
from orchestration.evaluation_numbers import Challenge, Group, Mask, Names, Reliability
from orchestration.intervals import Intervals
from orchestration.predictions import Predictions
from orchestration.report_numbers import UNLABELLED
from orchestration.statistics import Interval, Values

EVERYBODY = "all"
WORST = 10


@dataclass(frozen=True)
class Shot:
    """The images of ages that training has many, some or few faces of, and their MAE; None without any."""

    name: str
    images: int
    mae: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Mistake:
    """One of the largest errors; `sample_id` is the row in the data set."""

    sample_id: int
    age: float
    predicted: float


@dataclass(frozen=True)
class Evaluation:
    """Everything that is said of one model on one part. Shares lie between 0 and 1, ages are in years."""

    model: str
    data: str
    part: str
    images: int
    people: int | None  # None where not everybody is named
    leaks: dict[str, Verdict]
    metrics: dict[str, float]  # as in `report_numbers.metrics`, with age_macro_mae and more
    mae_interval: Interval | None
    cumulative: dict[str, list[float]]  # CS@l in per cent for l = 0 … 15, of raw and rounded ages
    groups: dict[str, list[Group]]
    reliability: list[Reliability]
    challenges: list[Challenge]
    shots: list[Shot]
    confidence: list[dict[str, float]]
    coverage: list[Coverage]
    worst: list[Mistake]
    kept: Predictions = field(repr=False)
    fitted: Intervals | None = field(default=None, repr=False)

    def document(self) -> dict[str, Any]:
        """All numbers, for JSON; an infinite width is null."""
        values = asdict(self)
        del values["kept"], values["fitted"]
        for one in values["coverage"]:
            one["width"] = one["width"] if np.isfinite(one["width"]) else None
        return values


@dataclass(frozen=True)
class Asked:
    """What challenges are computed: a legal age, and ages below which somebody must show papers."""

    legal: float = 18
    challenges: tuple[float, ...] = (18, 21, 25, 30)


def measure(
    names: tuple[str, str],
    kept: Predictions,
    faces: Faces,
    leaks: dict[str, Verdict],
    counts: Mapping[int, int] | None,
    fitted: Intervals | None,
    asked: Asked,
) -> Evaluation:
    """All numbers of predictions on `faces`.

    `names` are the model's and the data set's in tables; `counts` training faces by age, None where they are
    not known.
    """
    table = predictions.join(kept, faces)
    identities: Names = table["identity"].to_pylist()
    age, predicted = kept.column("age"), kept.column("predicted_age")
    error = report_numbers.errors(kept)
    agreeing = report_numbers.agreement(kept)
    reliability = _reliability(kept, table)
    worst = evaluation_numbers.worst(error, WORST)
    return Evaluation(
        model=names[0],
        data=names[1],
        part=kept.origin.part,
        images=len(kept),
        people=None if None in identities else len(set(identities)),
        leaks=leaks,
        metrics=_metrics(kept, faces, reliability),
        mae_interval=evaluation_numbers.mean_interval(np.abs(error), identities),
        cumulative={
            "raw": report_numbers.cumulative_scores(error).tolist(),
            "rounded": report_numbers.cumulative_scores(np.floor(predicted + 0.5) - age).tolist(),
        },
        groups=_groups(age, error, table, identities),
        reliability=reliability,
        challenges=_challenges(age, predicted, table, identities, asked),
        shots=[] if counts is None else _shots(age, error, counts, identities),
        confidence=[] if agreeing is None else confidence(agreeing, len(kept)),
        coverage=[] if fitted is None else coverage.coverage(fitted, kept, identities),
        worst=[Mistake(int(kept.column("sample_id")[i]), float(age[i]), float(predicted[i])) for i in worst],
        kept=kept,
        fitted=fitted,
    )


def _metrics(kept: Predictions, faces: Faces, reliability: Sequence[Reliability]) -> dict[str, float]:
    error = report_numbers.errors(kept)
    found = report_numbers.metrics(kept)
    found["age_macro_mae"] = evaluation_numbers.macro_mae(kept.column("age"), error)
    if reliability:
        found["gender_calibration_error"] = evaluation_numbers.calibration_error(reliability)
    rows = pa.array(kept.column("sample_id"))
    mean, sd = (
        faces.column(name).take(rows).to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("apparent_age", "apparent_age_sd")
    )
    known = ~np.isnan(mean) & ~np.isnan(sd)
    if known.any():
        predicted = kept.column("predicted_age")[known]
        found["epsilon_error"] = evaluation_numbers.epsilon_error(predicted, mean[known], sd[known])
    return found


def _groups(age: Values, error: Values, table: pa.Table, identities: Names) -> dict[str, list[Group]]:
    by: dict[str, dict[str, Mask]] = {"age group": report_numbers.age_groups(age)}
    by |= {name: report_numbers.named_groups(table[name].to_pylist()) for name in ("gender", "ethnicity")}
    labelled = {name: masks for name, masks in by.items() if masks}
    wanted = [[name] for name in labelled]
    wanted += [list(labelled)[:2]] if len(labelled) > 1 else []
    wanted += [list(labelled)] if len(labelled) > 2 else []
    return {
        " × ".join(names): evaluation_numbers.groups([labelled[name] for name in names], error, identities)
        for names in wanted
    }


def _reliability(kept: Predictions, table: pa.Table) -> list[Reliability]:
    probability = kept.column("female_probability")
    gender = np.array(table["gender"].to_pylist(), object)
    known = ((gender == "F") | (gender == "M")) & ~np.isnan(probability)
    return evaluation_numbers.reliability(probability[known], gender[known] == "F")


def _challenges(
    age: Values, predicted: Values, table: pa.Table, identities: Names, asked: Asked
) -> list[Challenge]:
    genders = report_numbers.named_groups(table["gender"].to_pylist())
    everybody = {EVERYBODY: np.ones(len(age), bool)}
    return [
        evaluation_numbers.challenge(age, predicted, asked.legal, at, group, identities)
        for at in asked.challenges
        for group in {**everybody, **genders}.items()
        if group[0] != UNLABELLED
    ]


def _shots(age: Values, error: Values, counts: Mapping[int, int], identities: Names) -> list[Shot]:
    found = []
    for name, mask in evaluation_numbers.shots(age, counts).items():
        names = [identities[row] for row in np.flatnonzero(mask).tolist()]
        absolute = np.abs(error[mask])
        mae = float(absolute.mean()) if mask.any() else None
        interval = evaluation_numbers.mean_interval(absolute, names) if mask.any() else None
        found.append(Shot(name, int(mask.sum()), mae, interval))
    return found
