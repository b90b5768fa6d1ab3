"""Reference selection (Algorithm 1), in a form that workers can share.

Each worker reduces its own samples to one candidate per age, the candidates are merged, and the references
follow from the merged candidates: what travels is ages × channels, however many samples there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from model.settings import Settings

NO_SAMPLE = torch.iinfo(torch.int64).max


@dataclass
class Pass:
    """A worker's samples of one pass over the training data; of a sample seen twice the last counts.

    sample_id: [k] int64. position: [k] int64, −1 for an age outside the labels (ignored). error: [k] years,
    features: [k, c].
    """

    sample_id: Tensor
    position: Tensor
    error: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        self._storage = (self.sample_id, self.position, self.error, self.features)

    @classmethod
    def empty(cls, capacity: int, channels: int, dtype: torch.dtype, device: torch.device | str) -> Pass:
        """A pass without samples that has room for `capacity` of them."""
        collected = cls(
            sample_id=torch.empty(capacity, dtype=torch.int64, device=device),
            position=torch.empty(capacity, dtype=torch.int64, device=device),
            error=torch.empty(capacity, dtype=dtype, device=device),
            features=torch.empty(capacity, channels, dtype=dtype, device=device),
        )
        collected.reset()
        return collected

    def add(self, sample_id: Tensor, position: Tensor, error: Tensor, features: Tensor) -> None:
        """Append a batch, without its gradient, to the room reserved by `empty`.

        Raises:
            ValueError: if there is no room left.
        """
        start, stop, capacity = (
            len(self.sample_id),
            len(self.sample_id) + len(sample_id),
            len(self._storage[0]),
        )
        if stop > capacity:
            raise ValueError(f"a pass with room for {capacity} samples cannot hold {stop}")
        for stored, new in zip(self._storage, (sample_id, position, error, features), strict=True):
            stored[start:stop].copy_(new.detach())
        self._show(stop)

    def reset(self) -> None:
        """Forget all samples and keep the room."""
        self._show(0)

    def _show(self, count: int) -> None:
        """Let the fields be views of the first `count` stored samples."""
        self.sample_id, self.position, self.error, self.features = (
            stored[:count] for stored in self._storage
        )


class Summary(NamedTuple):
    """One candidate per age: error [n] (∞ where absent), sample_id [n] (NO_SAMPLE there), features [n, c]."""

    error: Tensor
    sample_id: Tensor
    features: Tensor


class MinError:
    """Per age, the features of the sample with the lowest error, of equals the lowest id (Algorithm 1).

    The published code draws among equals; the lowest id makes runs repeatable on any number of workers.
    """

    class Config(Settings):
        name: Literal["min_error"] = "min_error"
        missing: Literal["interpolate", "carry", "zeros"] = Field(
            default="interpolate",
            description="an age without samples: interpolate between the nearest ages; carry its previous "
            "reference (else interpolate); zeros",
        )

        def build(self) -> MinError:
            return MinError(self)

    def __init__(self, config: Config) -> None:
        self.missing = config.missing

    def local(self, pass_: Pass, n: int) -> Summary:
        """A worker's best candidate of each of n ages; a sample without a finite error is none."""
        usable = _last_occurrence(pass_.sample_id) & (pass_.position >= 0) & pass_.error.isfinite()
        row = usable.nonzero().squeeze(1)
        position, error, sample_id = pass_.position[row], pass_.error[row], pass_.sample_id[row]
        lowest = error.new_full((n,), torch.inf).scatter_reduce(0, position, error, "amin")
        rival_id = torch.where(error == lowest[position], sample_id, NO_SAMPLE)
        chosen_id = sample_id.new_full((n,), NO_SAMPLE).scatter_reduce(0, position, rival_id, "amin")
        chosen = sample_id == chosen_id[position]
        features = pass_.features.new_zeros(n, pass_.features.shape[1])
        features[position[chosen]] = pass_.features[row[chosen]]
        return Summary(lowest, chosen_id, features)

    @staticmethod
    def merge(summaries: Sequence[Summary]) -> Summary:
        """The best candidate per age over workers, in any order or grouping; a sample belongs to one worker.

        Raises:
            ValueError: if there is no summary.
        """
        if not summaries:
            raise ValueError("at least one worker's summary is needed to merge")
        error, sample_id, features = (torch.stack(parts) for parts in zip(*summaries, strict=True))
        lowest = error.amin(0)
        rival_id = torch.where(error == lowest, sample_id, NO_SAMPLE)
        winner = rival_id.argmin(0)
        age = torch.arange(len(lowest), device=lowest.device)
        return Summary(lowest, rival_id.amin(0), features[winner, age])

    def references(self, summary: Summary, labels: Tensor, previous: Tensor | None) -> Tensor:
        """R [n, c], one row per label.

        Args:
            summary: the merged candidates.
            labels: [n] years, ascending.
            previous: the R before this one [n, c], or none.

        Raises:
            ValueError: if no age has a candidate and one is needed to fill the others.
        """
        present = summary.error.isfinite()
        if self.missing == "zeros" or bool(present.all()):
            return summary.features.clone()
        if self.missing == "carry" and previous is not None:
            return torch.where(present.unsqueeze(1), summary.features, previous.to(summary.features))
        return _interpolate(summary.features, labels.to(summary.features.device), present)


def _last_occurrence(sample_id: Tensor) -> Tensor:
    """[k] bool: whether no later entry has the same id."""
    order = sample_id.argsort(stable=True)
    grouped = sample_id[order]
    ends_group = torch.ones_like(grouped, dtype=torch.bool)
    ends_group[:-1] = grouped[:-1] != grouped[1:]
    return torch.zeros_like(ends_group).scatter(0, order, ends_group)


def _interpolate(features: Tensor, labels: Tensor, present: Tensor) -> Tensor:
    """Rows linear in years between the nearest present ages; beyond the ends, the nearest present row."""
    known = present.nonzero().squeeze(1)
    if len(known) == 0:
        raise ValueError("no age has a usable sample: every error of the pass is missing or not finite")
    years = labels.double()
    right = torch.searchsorted(years[known], years).clamp(max=len(known) - 1)
    left = torch.where(years[known][right] > years, right - 1, right).clamp(min=0)
    low, high = years[known][left], years[known][right]
    span = torch.where(high > low, high - low, 1.0)
    share = ((years - low) / span).clamp(0, 1).to(features.dtype).unsqueeze(1)
    return torch.lerp(features[known[left]], features[known[right]], share)


# A discriminated union takes two members; until a second strategy joins, the one Config is the choice.
ReferencesConfig = MinError.Config
