"""Trained models in use: faces in, ages, genders and spreads out; several models are an ensemble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.schema import Preparation
from orchestration.errors import UserError, first_line
from orchestration.find_model import find
from orchestration.frozen import CPU_BATCH
from orchestration.storage import Storage
from orchestration.trained import Backbones, Trained, restore

BATCH = 256  # images a step on a GPU; a CPU's caches hold the activations of CPU_BATCH
REQUIRED = ("predicted_age", "position_age", "female_probability")


class Estimator:
    """Estimates age and gender of prepared faces by one network, or by the mean of several.

    With `flip` every face is seen twice, as it is and mirrored, and the mean of both is given.
    """

    def __init__(self, members: Sequence[Trained], folders: Sequence[Storage], flip: bool = False) -> None:
        """Raises UserError if the members want differently prepared faces."""
        self.members = list(members)
        self.folders = list(folders)  # of the members, where their runs keep what belongs to them
        self.flip = flip
        first = self.members[0]
        for other in self.members[1:]:
            if (other.size, other.alignment) != (first.size, first.alignment):
                raise UserError(
                    f"{first.name} takes faces of {first.size} pixels, {first.alignment or 'not aligned'};"
                    f" {other.name} of {other.size} pixels, {other.alignment or 'not aligned'}:"
                    " an ensemble needs faces that were prepared in one way"
                )

    @property
    def labels(self) -> tuple[int, ...]:
        """Age labels of the first member, in years."""
        return self.members[0].labels

    @property
    def size(self) -> int:
        """Pixels a side of the faces it takes."""
        return self.members[0].size

    @property
    def preparation(self) -> Preparation | None:
        """How the training faces were prepared, None where the checkpoint does not tell."""
        return self.members[0].preparation

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what `predict` returns: the spreads are those that all members have."""
        spreads = [member.network.age_head.spread_names for member in self.members]
        return (*REQUIRED, *(name for name in spreads[0] if all(name in other for other in spreads)))

    def predict(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float64]]:
        """images: [n, size, size, 3] uint8 RGB → columns [n] float64 as in predictions.py: predicted_age and
        position_age in years, female_probability, and the age head's spread. NaN is "not available".

        Raises ValueError for images of another shape or type.
        """
        if images.dtype != np.uint8 or images.shape[1:] != (self.size, self.size, 3):
            raise ValueError(
                f"images must be [n, {self.size}, {self.size}, 3] uint8."
                f" Received: {list(images.shape)} {images.dtype}"
            )
        step = CPU_BATCH if self.members[0].device.type == "cpu" else BATCH
        pixels = torch.from_numpy(np.ascontiguousarray(images))
        found = [self._step(pixels[start : start + step]) for start in range(0, max(len(pixels), 1), step)]
        return {name: torch.cat([part[name] for part in found]).numpy() for name in self.columns}

    def _step(self, images: Tensor) -> dict[str, Tensor]:
        seen = [of_each(self.members, images, mirrored) for mirrored in sides(self.flip)]
        return averaged([view for views in seen for view in views], self.columns)


def sides(flip: bool) -> tuple[bool, ...]:
    """Whether a face is seen mirrored, for each time that it is seen."""
    return (False, True) if flip else (False,)


def of_each(members: Sequence[Trained], images: Tensor, mirrored: bool = False) -> list[dict[str, Tensor]]:
    """The columns [b] of every member for images [b, size, size, 3] uint8, seen once."""
    features: dict[int, Tensor | None] = {}  # of every backbone, computed once for all its members
    views = []
    for member in members:
        key = id(member.backbone)
        if key not in features:
            features[key] = member.features(images, mirrored)
        views.append(member.columns(images, mirrored, features[key]))
    return views


def averaged(views: Sequence[dict[str, Tensor]], names: Sequence[str]) -> dict[str, Tensor]:
    """The columns `names` [b] of an ensemble's members, or of one that saw each face several times."""
    return {name: _mean(name, views) for name in names}


def _mean(name: str, views: Sequence[dict[str, Tensor]]) -> Tensor:
    """[b]: the mean over members and views; of `sd` that of the mixture of their distributions."""
    values = torch.stack([view[name] for view in views])
    if name != "sd" or len(views) == 1:
        return values.mean(0)
    ages = torch.stack([view["predicted_age"] for view in views])
    return (values.square().mean(0) + ages.var(0, correction=0)).sqrt()


def load(
    *models: str, flip: bool = False, device: str | None = None, weights: str | None = None
) -> Estimator:
    """The estimator of one MODEL, or the ensemble of several.

    Args:
        models: run folders, checkpoint files or models of MLflow's registry (find_model.py).
        flip: average over each face and its mirror image.
        device: as torch names it; by default a GPU where there is one.
        weights: file of a frozen run's backbone, where it moved since.

    Raises:
        UserError: saying what is wrong with which model.
    """
    chosen = _device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    backbones = Backbones()
    found = [find(model) for model in models]
    members = [restore(one.checkpoint, one.name, chosen, backbones, weights) for one in found]
    return Estimator(members, [one.folder for one in found], flip)


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # each backend has its own
        raise UserError(f"--device {name}: {first_line(error)}") from None
