"""The average of a run's weights over its steps, which is validated and kept in place of the last weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from model.network import Network

_STATISTICS = ("running_mean", "running_var")  # of batch norm: averaged with the weights they belong to


class Averaged:
    """Exponential moving average of weights and of batch norm's statistics; other buffers are the network's.

    After step t the average moves by max(1 − decay, 10 / (10 + t)) of the way to the weights, so that early
    on it is not the initial weights (as in TensorFlow's and timm's averages). A share falls to 1/e in
    `epochs` · `steps` steps.
    """

    def __init__(self, network: Network, epochs: float, steps: int) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self._of = network
        self._move = 1 - math.exp(-1 / (epochs * steps))
        self._taken = 0

    @torch.no_grad()
    def after_step(self) -> None:
        """Move towards the network's weights."""
        self._taken += 1
        move = max(self._move, 10 / (10 + self._taken))
        mine, theirs = _averaged(self.network), _averaged(self._of)
        torch._foreach_lerp_(mine, theirs, move)

    @torch.no_grad()
    def after_epoch(self) -> None:
        """Take over what is not averaged, such as the references in use."""
        theirs = dict(self._of.named_buffers())
        for name, buffer in self.network.named_buffers():
            if not name.endswith(_STATISTICS):
                buffer.copy_(theirs[name])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds besides the average itself: the network's own state, and steps taken."""
        return {"network": self._of.state_dict(), "taken": self._taken}

    def load(self, average: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Continue from the average's weights and `state()`."""
        self.network.load_state_dict(average)
        self._of.load_state_dict(state["network"])
        self._taken = int(state["taken"])


def _averaged(network: nn.Module) -> list[Tensor]:
    statistics = (buffer for name, buffer in network.named_buffers() if name.endswith(_STATISTICS))
    return [*(parameter.data for parameter in network.parameters()), *statistics]
