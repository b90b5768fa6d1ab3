"""What the report asks of the data set itself: labels of the test images, and, if wanted, faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data import feature_store
from data.errors import DataError
from data.faces import Faces
from data.feature_store import FeaturePass
from data.schema import age_labels
from orchestration import kept_files, predictions
from orchestration.report_numbers import errors
from orchestration.report_study import Reading, Reported, Variant
from orchestration.storage import Storage

SHOWN = 6  # best and worst faces
AGES = (5, 10, 20, 30, 40, 50, 60, 70, 80)  # whose references are shown


@dataclass(frozen=True)
class Face:
    """An image [H, W, 3] uint8 with its caption."""

    image: NDArray[np.uint8]
    caption: str


@dataclass(frozen=True)
class Sheet:
    """Rows of faces under a title."""

    title: str
    rows: list[tuple[str, list[Face]]]
    note: str = ""


def opened(run: Reported) -> Faces | None:
    """The data set of a run, where it still lies and still is what was predicted; else None."""
    if run.test is None:
        return None
    try:
        faces = Faces.open(str(run.config["data.root"]))
    except DataError:
        return None
    return faces if faces.fingerprint == run.test.origin.fingerprint else None


def labels(variants: Sequence[Variant]) -> pa.Table | None:
    """Test predictions of the first variant's first unit with gender, ethnicity and identity.

    None where the data set is gone, or nothing was kept.
    """
    tested = next((v for v in variants if v.tests), None)
    if tested is None:
        return None
    faces = opened(tested.first)
    return None if faces is None else predictions.join(next(iter(tested.tests.values())), faces)


def sheets(reading: Reading) -> list[Sheet]:
    """Best and worst predictions as in the paper's figure 4, and references over the epochs where kept."""
    run = next((v.first for s in reading.sections for v in s.variants if v.tests), None)
    faces = None if run is None else opened(run)
    if run is None or faces is None or run.test is None:
        return [Sheet("Faces", [], "The data set that was predicted is not where the study found it.")]
    made = [_predicted(run, faces)]
    made.append(
        _references(reading.root.child(run.member.name), faces, str(run.config.get("references.name")))
    )
    return made


def _predicted(run: Reported, faces: Faces) -> Sheet:
    assert run.test is not None
    error = errors(run.test)
    order = np.argsort(np.abs(error), kind="stable")
    columns = {name: run.test.column(name) for name in ("sample_id", "age", "predicted_age", "position_age")}

    def face(row: int) -> Face:
        age, predicted, position = (columns[k][row] for k in ("age", "predicted_age", "position_age"))
        place = "" if np.isnan(position) else f", position {position:.0f}"
        image = faces.gather(np.array([columns["sample_id"][row]]))[0]
        return Face(image, f"{age:g}: {predicted:.1f}{place}")

    rows = [
        ("best", [face(row) for row in order[:SHOWN]]),
        ("worst", [face(row) for row in order[::-1][:SHOWN]]),
    ]
    title = f"Best and worst predictions of {run.member.name}"
    return Sheet(title, rows, "True age: estimate, age of the predicted position.")


def _references(run: Storage, faces: Faces, strategy: str) -> Sheet:
    """Algorithm 1's choice in every kept pass: of each age the face with the least error."""
    title = f"Reference faces by epoch, {run.name}"
    with kept_files.passes(run, last=5) as (folder, epochs):
        rows = [
            (f"epoch {epoch}", _chosen(feature_store.open_pass(folder, epoch), faces)) for epoch in epochs
        ]
    if not rows:
        return Sheet(title, [], "No passes were kept; run with features.keep=every_n to see references.")
    note = "Of each age the training face with the least error in the pass (Algorithm 1)."
    return Sheet(
        title, rows, note if strategy == "min_error" else f"{note} The run itself chose by {strategy}."
    )


def _chosen(passed: FeaturePass, faces: Faces) -> list[Face]:
    ids, error = passed.column("sample_id"), np.abs(passed.column("predicted_age") - passed.ages())
    years = age_labels(passed.ages())
    chosen = []
    for age in AGES:
        candidates = np.flatnonzero(years == age)
        if len(candidates):
            best: Any = candidates[np.argmin(error[candidates])]
            image = faces.gather(np.array([ids[best]]))[0]
            chosen.append(Face(image, f"{age}: error {error[best]:.2f}"))
    return chosen
