"""A worker's samples of one pass over the training data, and what can be said of them per age."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

NO_SAMPLE = torch.iinfo(torch.int64).max


@dataclass
class Pass:
    """Samples in the order they were seen; of a sample seen twice the last counts.

    sample_id: [k] int64. position: [k] int64, −1 for an age outside the labels (ignored). gender: [k] int64,
    0 male, 1 female, −1 unknown. age, predicted: [k] years. features: [k, c].
    """

    sample_id: Tensor
    position: Tensor
    gender: Tensor
    age: Tensor
    predicted: Tensor
    features: Tensor

    def __post_init__(self) -> None:
        self._storage = (self.sample_id, self.position, self.gender, self.age, self.predicted, self.features)

    @classmethod
    def empty(cls, capacity: int, channels: int, dtype: torch.dtype, device: torch.device | str) -> Pass:
        """A pass without samples that has room for `capacity` of them."""
        collected = cls(
            sample_id=torch.empty(capacity, dtype=torch.int64, device=device),
            position=torch.empty(capacity, dtype=torch.int64, device=device),
            gender=torch.empty(capacity, dtype=torch.int64, device=device),
            age=torch.empty(capacity, dtype=dtype, device=device),
            predicted=torch.empty(capacity, dtype=dtype, device=device),
            features=torch.empty(capacity, channels, dtype=dtype, device=device),
        )
        collected.reset()
        return collected

    def add(self, *columns: Tensor) -> None:
        """Append a batch's columns, in the order of the fields and without gradient, to the room of `empty`.

        Raises:
            ValueError: if there is no room left.
        """
        start, stop = len(self.sample_id), len(self.sample_id) + len(columns[0])
        capacity = len(self._storage[0])
        if stop > capacity:
            raise ValueError(f"a pass with room for {capacity} samples cannot hold {stop}")
        for stored, new in zip(self._storage, columns, strict=True):
            stored[start:stop].copy_(new.detach())
        self._show(stop)

    def reset(self) -> None:
        """Forget all samples and keep the room."""
        self._show(0)

    def _show(self, count: int) -> None:
        """Let the fields be views of the first `count` stored samples."""
        self.sample_id, self.position, self.gender, self.age, self.predicted, self.features = (
            stored[:count] for stored in self._storage
        )

    @property
    def error(self) -> Tensor:
        """[k] absolute error of the estimated age, in years."""
        return (self.predicted - self.age).abs()

    def usable(self) -> Tensor:
        """Rows [m] int64 that count: a sample's last, of an age among the labels, with a finite error."""
        keep = (self.position >= 0) & self.error.isfinite()
        if not _all_different(self.sample_id):
            keep &= _last_occurrence(self.sample_id)
        return keep.nonzero().squeeze(1)


def _all_different(sample_id: Tensor) -> bool:
    """Whether no id occurs twice; without a sort where ids are row numbers, as here."""
    if len(sample_id) == 0:
        return True
    low, high = int(sample_id.min()), int(sample_id.max())
    if low < 0 or high > 16 * len(sample_id):
        return False  # not worth a table: the sort finds out
    seen = torch.zeros(high + 1, dtype=torch.bool, device=sample_id.device)
    seen[sample_id] = True
    return int(seen.sum()) == len(sample_id)


def _last_occurrence(sample_id: Tensor) -> Tensor:
    """[k] bool: whether no later entry has the same id."""
    order = sample_id.argsort(stable=True)
    grouped = sample_id[order]
    ends_group = torch.ones_like(grouped, dtype=torch.bool)
    ends_group[:-1] = grouped[:-1] != grouped[1:]
    return torch.zeros_like(ends_group).scatter(0, order, ends_group)


class Candidates(NamedTuple):
    """The k lowest scores per age: score [n, k] (∞ where absent), sample_id [n, k], features [n, k, c]."""

    score: Tensor
    sample_id: Tensor
    features: Tensor


def lowest(pass_: Pass, rows: Tensor, score: Tensor, n: int, k: int) -> Candidates:
    """Per age the k of `rows` with the lowest score [m], of equals the lowest id.

    k rounds of a minimum per age: no sort of all samples, and no copy of their features.
    """
    position, sample_id = pass_.position[rows], pass_.sample_id[rows]
    width = pass_.features.shape[1]
    best = score.new_full((n, k), torch.inf)
    ids = sample_id.new_full((n, k), NO_SAMPLE)
    features = pass_.features.new_zeros(n, k, width)
    left = score.clone()
    for rank in range(k):
        low = left.new_full((n,), torch.inf).scatter_reduce(0, position, left, "amin")
        rival = torch.where((left == low[position]) & left.isfinite(), sample_id, NO_SAMPLE)
        winner = ids.new_full((n,), NO_SAMPLE).scatter_reduce(0, position, rival, "amin")
        chosen = ((sample_id == winner[position]) & left.isfinite()).nonzero().squeeze(1)
        place = position[chosen]
        best[:, rank], ids[:, rank] = low, winner
        features[place, rank] = pass_.features[rows[chosen]]
        left[chosen] = torch.inf
    return Candidates(best, ids, features)


def merged(parts: list[Candidates]) -> Candidates:
    """The k lowest over workers, by (score, id), in any order of the workers."""
    if len(parts) == 1:
        return parts[0]
    k = parts[0].score.shape[1]
    score, ids, features = (torch.cat(columns, dim=1) for columns in zip(*parts, strict=True))
    by_id = ids.argsort(dim=1, stable=True)
    by_both = by_id.gather(1, score.gather(1, by_id).argsort(dim=1, stable=True))[:, :k]
    index = by_both.unsqueeze(2).expand(-1, -1, features.shape[2])
    return Candidates(score.gather(1, by_both), ids.gather(1, by_both), features.gather(1, index))


def sums(pass_: Pass, rows: Tensor, weight: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Per age the sum of weights [n] and of weighted features [n, c] over `rows`, in float64."""
    position = pass_.position[rows]
    weight = weight.double()
    total = weight.new_zeros(n).index_add(0, position, weight)
    features = weight.new_zeros(n, pass_.features.shape[1])
    # In blocks, so that no float64 copy of all features exists.
    blocks = (torch.split(column, 8192) for column in (rows, position, weight))
    for block, place, share in zip(*blocks, strict=True):
        features.index_add_(0, place, pass_.features[block].double() * share.unsqueeze(1))
    return total, features
