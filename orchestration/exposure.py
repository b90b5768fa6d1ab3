"""What a trained model has seen: its training data where they still lie, and what others share with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data import splits, verdicts
from data.errors import DataError
from data.faces import Faces
from data.protocols import FOLDS, Spec
from data.schema import age_labels
from data.splits import Split
from data.verdicts import Verdict
from orchestration import verdict
from orchestration.errors import UserError
from orchestration.trained import Trained


@dataclass(frozen=True)
class Seen:
    """A model's training data set and how it was split."""

    faces: Faces
    split: Split

    def counts(self) -> dict[int, int]:
        """Training faces of every age, rounded half up."""
        return dict(Counter(age_labels(self.faces.ages[self.split.train]).tolist()))


def seen(model: Trained, nearby: Sequence[Faces]) -> Seen | None:
    """What the model was trained on: one of the data sets `nearby`, or where its run found it.

    None where it lies there no more, or is not split as it was.
    """
    if model.config is None:
        return None
    candidates = [one for one in nearby if trained_on(model, one)]
    try:
        faces = candidates[0] if candidates else Faces.open(model.config.data.root)
        if not trained_on(model, faces):
            return None
        split = splits.load(faces, model.config.data.spec())
    except DataError:
        return None
    told = json.loads(str(model.origin.get("split", "{}")))
    return Seen(faces, split) if told.get("hash") == split.hash else None


def trained_on(model: Trained, faces: Faces) -> bool:
    """Whether these faces are the model's training data set, by their fingerprint."""
    return model.origin.get("fingerprint") == faces.fingerprint


@dataclass(frozen=True)
class Part:
    """The rows [n] of a data set that are scored, and how they were chosen."""

    faces: Faces
    name: str  # test, or all
    rows: NDArray[np.int64]
    split: Split | None

    @property
    def words(self) -> str:
        """Such as `test part of utkface (image_random), 4,622 images`."""
        what = "all" if self.split is None else f"test part ({self.split.spec.protocol})"
        return f"{self.faces.name}: {what}, {len(self.rows):,} images"


def part(faces: Faces, models: Sequence[Trained], known: Sequence[Seen | None], asked: str | None) -> Part:
    """The part of a data set that all models are scored on: nothing that one of them was trained on.

    That is the test part of the models that were trained on this data set; of another, all faces or, if
    `asked` is "test", the test part that our protocols make. Raises UserError where no part is unseen by all.
    """
    own = [model for model in models if trained_on(model, faces)]
    if not own:
        if asked != "test":
            return Part(faces, "all", np.arange(len(faces), dtype=np.int64), None)
        named = None not in faces.identities and len(set(faces.identities)) >= FOLDS
        split = splits.load(faces, Spec("subject_exclusive" if named else "image_random"))
        return Part(faces, "test", split.test, split)
    if asked == "all":
        raise UserError(
            f"--part all: {own[0].name} was trained on faces of {faces.name}, and errors on those say"
            " nothing. Leave --part out: its test part is scored"
        )
    found = [one.split for one in known if one is not None and one.faces is faces]
    if len(found) < len(own):
        raise UserError(
            f"{faces.root}: {own[0].name} was trained on it by a split that is made otherwise now, so which"
            " of its faces are unseen is not known"
        )
    if any(not np.array_equal(one.test, found[0].test) for one in found):
        raise UserError(
            f"{faces.root}: the models were trained on different splits of it ("
            f"{', '.join(model.name for model in own)}); evaluate them one by one"
        )
    return Part(faces, "test", found[0].test, found[0])


def leaks(model: Trained, known: Seen | None, scored: Part) -> dict[str, Verdict]:
    """Whether images or people of the scored data set were in fine-tuning and in pretraining."""
    random = model.origin.get("started_from") == verdict.RANDOM
    return {"fine_tuning": _fine_tuning(model, known, scored), "pretraining": verdict.pretraining(random)}


def _fine_tuning(model: Trained, known: Seen | None, scored: Part) -> Verdict:
    if known is None:
        name = model.origin.get("data", "data that it does not name")
        return Verdict(verdicts.UNKNOWN, (f"trained on {name}, which is not where the run found it",))
    if known.faces is scored.faces:
        return verdicts.of_split(scored.faces, known.split)
    found = verdicts.of_other(scored.faces, known.faces)
    return Verdict(found.verdict, (f"trained on {known.faces.name}", *found.reasons), found.counts)
