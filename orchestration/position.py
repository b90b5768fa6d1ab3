"""The position task's own part of an epoch: passes recorded, references chosen and handed to the head."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from model.network import Network, Outputs
from model.passes import Pass
from model.rapl import Rapl
from orchestration.batches import DTYPES, Batch, Batches
from orchestration.config import RunConfig
from orchestration.exchange import ReferenceExchange
from orchestration.workers import Workers


class PositionTask:
    """References of one run. `active` says whether the epoch has a position loss.

    With `model.position_head: rapl` the first epoch has none, since there are no references yet (as
    published). Without RAPL this only tells whether there is a position head.
    """

    def __init__(self, config: RunConfig, network: Network, batches: Batches, workers: Workers) -> None:
        self.active = False
        self.exchange: ReferenceExchange | None = None
        self._config = config
        self._network = network
        self._best_mae = math.inf
        self.source: Literal["train_pass", "clean_pass"] = "train_pass"  # what `recorded` holds
        self.recorded: Pass | None = None  # this worker's samples of the last pass
        head = network.position_head
        if isinstance(head, Rapl):
            labels = batches.labels
            self.exchange = ReferenceExchange(config.references, labels, workers, config.seed)
        if self.exchange is not None or config.features.keep != "none":
            capacity = batches.capacity()
            dtype = DTYPES[config.train.precision]
            self.recorded = Pass.empty(capacity, network.neck.out_features, dtype, batches.device)

    def begin(self) -> None:
        """Before an epoch: the head takes the chosen references, a new pass begins."""
        head = self._network.position_head
        self.active = head is not None
        self.source = "train_pass"
        if self.recorded is not None:
            self.recorded.reset()
        if isinstance(head, Rapl) and self.exchange is not None:
            chosen = self.exchange.next
            self.active = chosen is not None
            if chosen is not None:
                head.set_references(chosen.features, chosen.runner_up)

    def own(self, batch: Batch) -> Tensor | None:
        """For each sample the label whose reference it is itself, under `references.exclude_self`."""
        if self.exchange is None or not self.active:
            return None
        return self.exchange.own(batch.sample_id, batch.position)

    def drop_gradients(self) -> None:
        """In an epoch without position loss: even a zero gradient would let coupled L2 decay the head."""
        if not self.active and self._network.position_head is not None:
            for parameter in self._network.position_head.parameters():
                parameter.grad = None

    @torch.no_grad()
    def record(self, batch: Batch, outputs: Outputs) -> None:
        """Keep what the choice of references needs of a batch; of a sample that comes again, the last."""
        if self.recorded is None:
            return
        predicted = self._network.predict_age(outputs)
        columns = (batch.sample_id, batch.position, batch.gender, batch.age, predicted, outputs.features)
        # Told from the epoch's order: of a sample that two workers draw, each would see its own last.
        self.recorded.add(*(columns if batch.last is None else (column[batch.last] for column in columns)))

    def refresh(self, epoch: int, mae: float, clean: Iterable[tuple[Batch, Outputs]]) -> None:
        """After an epoch (from 0) with its validation MAE: choose the next references, if they are due.

        `clean` gives the train part in evaluation mode; it is only drawn from if the strategy wants it.
        """
        improved = mae < self._best_mae
        self._best_mae = min(mae, self._best_mae)
        if self.exchange is None or self.recorded is None or not self.exchange.due(epoch, improved):
            return
        if self._config.references.source == "clean_pass":
            self.recorded.reset()
            for batch, outputs in clean:
                self.record(batch, outputs)
            self.source = "clean_pass"
        self.exchange.select(self.recorded, epoch)

    def state(self) -> dict[str, Any]:
        """Tensors and numbers for a checkpoint."""
        chosen = None if self.exchange is None else self.exchange.state()
        return {"references_next": chosen, "best_mae": self._best_mae}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from `state()`."""
        self._best_mae = float(state["best_mae"])
        if self.exchange is not None:
            self.exchange.load(state["references_next"], device)
