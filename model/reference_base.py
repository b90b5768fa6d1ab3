"""What all reference strategies share: options, what they return, ages without samples, smoothing in time.

A strategy sees one worker's pass and an exchange that hands it every worker's tensors, so that only
per-age extremes or sums travel: ages × channels, however many samples there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from model.passes import NO_SAMPLE, Pass
from model.settings import Settings

Tensors = tuple[Tensor, ...]
# Given this worker's tensors, the list of every worker's, by rank. All workers call it the same times.
Exchange = Callable[[Tensors], Sequence[Tensors]]


class Selection(NamedTuple):
    """One reference per age.

    features: [n, c]; present: [n] bool, False where the age has no sample; sample_id: [n] int64, whose
    feature it is, NO_SAMPLE where it is nobody's (a mean, an interpolation); runner_up: [n, c], what that
    sample itself meets instead under `exclude_self`, equal to features otherwise.
    """

    features: Tensor
    present: Tensor
    sample_id: Tensor
    runner_up: Tensor


def nobodys(features: Tensor, present: Tensor) -> Selection:
    """A selection whose rows are no single sample's."""
    return Selection(features, present, torch.full_like(present, NO_SAMPLE, dtype=torch.int64), features)


class ReferenceOptions(Settings):
    """Options of every strategy."""

    missing: Literal["interpolate", "carry", "zeros"] = Field(
        default="interpolate",
        description="an age without samples: interpolate between the nearest ages; carry its previous "
        "reference (else interpolate); zeros",
    )
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="weight of the previous references; 0 forgets them every refresh"
    )
    refresh: Literal["every_epoch", "on_improvement", "every_n"] = Field(
        default="every_epoch",
        description="when references are chosen anew: every_epoch (the paper's text), on_improvement of the "
        "validation MAE (the published code), every_n epochs",
    )
    every: int = Field(default=2, ge=1, description="epochs between refreshes under every_n")
    source: Literal["train_pass", "clean_pass"] = Field(
        default="train_pass",
        description="whose features and errors count: the training pass's own (as published: augmented, with "
        "weights still moving), or a pass in evaluation mode without augmentation at the epoch's end",
    )


class Strategy(ABC):
    """Chooses references from passes. Pure: the same passes give the same references."""

    def __init__(self, options: ReferenceOptions) -> None:
        self.options = options

    @abstractmethod
    def select(self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int) -> Selection:
        """One reference per label over all workers' samples.

        Args:
            pass_: this worker's samples.
            labels: [n] years, ascending.
            exchange: gives every worker's tensors.
            seed: of this refresh, equal on all workers; only strategies that draw use it.
        """

    def refresh(
        self, pass_: Pass, labels: Tensor, exchange: Exchange, seed: int, previous: Selection | None
    ) -> Selection:
        """The references of the next epoch: selected, missing ages filled, averaged with `previous`.

        Raises:
            ValueError: if no age has a usable sample.
        """
        chosen = self._filled(self.select(pass_, labels, exchange, seed), labels, previous)
        if previous is None or self.options.ema == 0:
            return chosen
        mixed = torch.lerp(chosen.features, previous.features.to(chosen.features), self.options.ema)
        return nobodys(mixed, torch.ones_like(chosen.present))

    def _filled(self, chosen: Selection, labels: Tensor, previous: Selection | None) -> Selection:
        if bool(chosen.present.all()):
            return chosen
        if self.options.missing == "zeros":
            filler = torch.zeros_like(chosen.features)
        elif self.options.missing == "carry" and previous is not None:
            filler = previous.features.to(chosen.features)
        else:
            filler = interpolated(chosen.features, labels, chosen.present)
        known = chosen.present.unsqueeze(1)
        return chosen._replace(
            features=torch.where(known, chosen.features, filler),
            runner_up=torch.where(known, chosen.runner_up, filler),
        )


def interpolated(features: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Rows linear in years between the nearest present ages; beyond the ends, the nearest present row.

    Raises:
        ValueError: if no age is present.
    """
    known = present.nonzero().squeeze(1)
    if len(known) == 0:
        raise ValueError("no age has a usable sample: every error of the pass is missing or not finite")
    years = labels.to(features.device).double()
    right = torch.searchsorted(years[known], years).clamp(max=len(known) - 1)
    left = torch.where(years[known][right] > years, right - 1, right).clamp(min=0)
    low, high = years[known][left], years[known][right]
    span = torch.where(high > low, high - low, 1.0)
    share = ((years - low) / span).clamp(0, 1).to(features.dtype).unsqueeze(1)
    return torch.lerp(features[known[left]], features[known[right]], share)
