"""References over all workers: summaries of their passes travel, every rank gets one R."""

from __future__ import annotations

import torch
from torch import Tensor

from model.passes import Pass
from model.reference_base import Selection, Tensors
from model.references import ReferencesConfig
from orchestration.seeds import seed_of
from orchestration.workers import Workers


class ReferenceExchange:
    """Selects the next references from passes with a strategy of model/references.py.

    `next` is what the coming epoch uses; None before the first pass is over.
    """

    def __init__(
        self, config: ReferencesConfig, labels: tuple[int, ...], workers: Workers, seed: int
    ) -> None:
        """`seed` is the run's."""
        self.next: Selection | None = None
        self.config = config
        self._strategy = config.build()
        self._excludes_self = bool(getattr(config, "exclude_self", False))
        self._labels = labels
        self._workers = workers
        self._seed = seed

    def due(self, epoch: int, improved: bool) -> bool:
        """Whether the pass of `epoch` (from 0) gives new references; the first one always does."""
        if self.next is None or self.config.refresh == "every_epoch":
            return True
        if self.config.refresh == "on_improvement":
            return improved
        return epoch % self.config.every == 0

    def select(self, pass_: Pass, epoch: int) -> None:
        """The strategy over the samples of every worker; what travels is label × channel."""
        seed = seed_of(self._seed, "references", epoch)
        labels = torch.tensor(self._labels, dtype=torch.float64, device=pass_.features.device)
        self.next = self._strategy.refresh(pass_, labels, self._exchanged, seed, self.next)
        self._workers.require_equal(self.next.features, "references")

    def _exchanged(self, mine: Tensors) -> list[Tensors]:
        columns = [self._workers.gather(column) for column in mine]
        return list(zip(*columns, strict=True))

    def own(self, sample_id: Tensor, position: Tensor) -> Tensor | None:
        """[b] the label whose reference each sample itself is, else −1; None where that does not matter."""
        if not self._excludes_self or self.next is None:
            return None
        mine = self.next.sample_id[position.clamp(min=0)] == sample_id
        return torch.where(mine & (position >= 0), position, -1)

    def state(self) -> list[Tensor] | None:
        """The next references as tensors, for a checkpoint."""
        return None if self.next is None else list(self.next)

    def load(self, state: list[Tensor] | None, device: torch.device) -> None:
        """Continue from `state()`."""
        self.next = None if state is None else Selection(*(column.to(device) for column in state))
