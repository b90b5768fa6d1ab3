"""References over all workers: each records its pass, per-age winners travel, every rank gets one R."""

from __future__ import annotations

import torch
from torch import Tensor

from model.references import Pass, ReferencesConfig, Summary
from orchestration.workers import Workers


class ReferenceExchange:
    """Collects a pass and selects the next references with a strategy of model/references.py.

    `next` is what the coming epoch uses, R [label, channel]; None before the first pass is over.
    """

    def __init__(
        self, config: ReferencesConfig, labels: tuple[int, ...], workers: Workers, capacity: int
    ) -> None:
        """`capacity` is the most samples this worker sees in a pass."""
        self.next: Tensor | None = None
        self._strategy = config.build()
        self._labels = labels
        self._workers = workers
        self._capacity = capacity
        self._pass: Pass | None = None

    def record(self, sample_id: Tensor, position: Tensor, error: Tensor, features: Tensor) -> None:
        """Keep a batch of this worker: sample_id, position and error (years) [b], features [b, channel]."""
        if self._pass is None:
            self._pass = Pass.empty(self._capacity, features.shape[1], features.dtype, features.device)
        self._pass.add(sample_id, position, error, features)

    def select(self) -> None:
        """Algorithm 1 over the samples of every worker; exchanges label × channel numbers."""
        assert self._pass is not None, "select() follows a pass"
        mine = self._strategy.local(self._pass, len(self._labels))
        columns = [self._workers.gather(column) for column in mine]
        merged = self._strategy.merge([Summary(*parts) for parts in zip(*columns, strict=True)])
        labels = torch.tensor(self._labels, dtype=mine.error.dtype, device=mine.error.device)
        self.next = self._strategy.references(merged, labels, self.next)
        self._workers.require_equal(self.next, "references")
        self._pass.reset()
