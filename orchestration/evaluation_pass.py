"""Predictions of several models on one part of a data set, in one pass over its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.faces import Faces
from data.features import open_features
from data.progress import Progress
from orchestration import feature_files, ledger, predictions
from orchestration.batches import EVALUATION_BATCH
from orchestration.errors import UserError
from orchestration.estimator import BATCH, averaged, of_each, sides
from orchestration.exposure import Part, Seen
from orchestration.find_model import find
from orchestration.frozen import CPU_BATCH
from orchestration.inputs import Inputs
from orchestration.predictions import Origin, Predictions
from orchestration.records import Member, Records
from orchestration.storage import Storage
from orchestration.trained import Backbones, Trained, restore

Columns = dict[str, Tensor]
PLAIN, MIRRORED = "identity", "hflip"  # views, as feature files name them


@dataclass(frozen=True)
class Subject:
    """A model to evaluate: its network, the folder it lies in, and its run there where it lies in a study."""

    name: str
    trained: Trained
    folder: Storage
    study: Storage | None = None
    member: Member | None = field(default=None)

    @property
    def identity(self) -> str:
        """Its run's identity; empty for a model outside of a study."""
        return "" if self.member is None else self.member.identity


def subjects(models: Sequence[str], device: torch.device) -> list[Subject]:
    """The models that these names mean; those on one frozen backbone share it. Raises UserError."""
    backbones = Backbones()
    found = [find(model) for model in models]
    names = _short([one.folder for one in found], [one.name for one in found])
    made = []
    for name, one in zip(names, found, strict=True):
        place = ledger.study_of(one.folder)
        member = None if place is None else Records(place[0]).member(place[1])
        trained = restore(one.checkpoint, one.name, device, backbones, None)
        made.append(Subject(name, trained, one.folder, place[0] if place else None, member))
    return made


def _short(folders: Sequence[Storage], given: Sequence[str]) -> list[str]:
    """Names for tables: the run's in its study, as long as they tell the models apart."""
    short = [f"{folder.parent().name}/{folder.name}" for folder in folders]
    return short if len(set(short)) == len(short) else list(given)


def predict(
    models: Sequence[Subject], known: Sequence[Seen | None], part: Part, flip: bool
) -> list[Predictions]:
    """What every model says of the part, in the order of the models; with `flip` of each face and its mirror
    image, averaged.

    A run's own test part was predicted when it ended: those predictions are taken where they are this
    checkpoint's. Raises UserError where faces are not of the size that a model takes.
    """
    found = [None if flip else _kept(model, seen, part) for model, seen in zip(models, known, strict=True)]
    asked = [model for model, kept in zip(models, found, strict=True) if kept is None]
    for model in asked:
        if model.trained.size != part.faces.image_size:
            raise UserError(
                f"{model.name} takes faces of {model.trained.size} pixels a side; those of {part.faces.root}"
                f" have {part.faces.image_size}. Prepare it again with --size {model.trained.size}"
            )
    made = iter(_pass(asked, part, flip) if asked else [])
    return [next(made) if kept is None else kept for kept in found]


def _kept(model: Subject, seen: Seen | None, part: Part) -> Predictions | None:
    if seen is None or seen.faces is not part.faces:
        return None
    kept = predictions.read(model.folder, "test")
    if kept is None:
        return None
    same = (kept.origin.fingerprint, kept.origin.split_hash, kept.origin.epoch, kept.origin.identity)
    mine = (part.faces.fingerprint, seen.split.hash, model.trained.origin.get("epochs"), model.identity)
    return kept if same == mine else None


def _pass(models: Sequence[Subject], part: Part, flip: bool) -> list[Predictions]:
    """Predictions from features where a run left those of all these faces, else from images."""
    features = [_features(model, part.faces, flip) for model in models]
    seeing = any(known is None for known in features)
    step = CPU_BATCH if models[0].trained.device.type == "cpu" else BATCH
    step = step if seeing else EVALUATION_BATCH
    progress = Progress(len(part.rows), part.faces.name, "faces")
    collected: list[list[Columns]] = [[] for _ in models]
    for start in range(0, len(part.rows), step):
        rows = part.rows[start : start + step]
        images = torch.from_numpy(part.faces.gather(rows)) if seeing else torch.empty(0)
        views = [_look(models, features, images, rows, mirrored) for mirrored in sides(flip)]
        for kept, seen in zip(collected, zip(*views, strict=True), strict=True):
            kept.append(averaged(seen, list(seen[0])))
        progress.advance(len(rows))
    progress.close()
    return [_predictions(model, part, kept) for model, kept in zip(models, collected, strict=True)]


@dataclass(frozen=True)
class Known:
    """Features of a whole data set that a run computed: a map [n, view, channel] of a file, and its views."""

    array: NDArray[np.float32]
    views: tuple[str, ...]

    def of(self, rows: NDArray[np.int64], mirrored: bool) -> Tensor:
        """[b, channel]."""
        view = self.views.index(MIRRORED if mirrored else PLAIN)
        return torch.from_numpy(np.ascontiguousarray(self.array[rows, view]))


def _look(
    models: Sequence[Subject],
    features: Sequence[Known | None],
    images: Tensor,
    rows: NDArray[np.int64],
    mirrored: bool,
) -> list[Columns]:
    """The columns [b] of every model for faces that are seen once."""
    seeing = [model.trained for model, known in zip(models, features, strict=True) if known is None]
    looked = iter(of_each(seeing, images, mirrored))
    return [
        next(looked) if known is None else model.trained.columns(images, mirrored, known.of(rows, mirrored))
        for model, known in zip(models, features, strict=True)
    ]


def _features(model: Subject, faces: Faces, flip: bool) -> Known | None:
    """Features by a frozen run's backbone, where a run beside its study left every view that is needed."""
    config = model.trained.config
    wanted = {PLAIN, MIRRORED} if flip else {PLAIN}
    if model.study is None or config is None or not config.frozen:
        return None
    if not wanted <= set(config.features.views):
        return None
    weights = str(model.trained.origin.get("started_from"))
    inputs = Inputs(str(faces.root), faces.fingerprint, "", (), weights_sha256=weights)
    path = feature_files.find(config, inputs, model.study.parent())
    if path is None:
        return None
    return Known(open_features(path).array, config.features.views)


def _predictions(model: Subject, part: Part, collected: Sequence[Columns]) -> Predictions:
    faces, rows = part.faces, part.rows
    columns = {name: torch.cat([one[name] for one in collected]).numpy() for name in collected[0]}
    columns |= {
        "sample_id": rows,
        "age": faces.ages[rows].astype(np.float64),
        "gender": faces.genders[rows].astype(np.int64),
    }
    return predictions.from_columns(_origin(model, part), columns)


def _origin(model: Subject, part: Part) -> Origin:
    trained = model.trained
    return Origin(
        part=part.name,
        data=part.faces.name,
        fingerprint=part.faces.fingerprint,
        protocol={} if part.split is None else part.split.spec.used(),
        split_hash="" if part.split is None else part.split.hash,
        age_head=trained.network.config.age_head.model_dump(mode="json"),
        identity=model.identity,
        seed=0 if trained.config is None else trained.config.seed,
        epoch=int(trained.origin.get("epochs", 0)),
    )
