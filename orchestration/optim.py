"""Optimiser and learning-rate schedule of a run, from its config."""

from __future__ import annotations

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, StepLR

from model.network import Network
from model.parameters import groups
from orchestration.config import AdamW, OneCycle, RunConfig, Step


def optimizer(config: RunConfig, network: Network) -> Optimizer:
    """Adam with coupled L2, or AdamW, over the network's parameter groups."""
    chosen = config.optimizer
    base, scale = (chosen.head_lr, 1.0) if config.frozen else (chosen.lr, chosen.head_lr_scale)
    parameters = groups(network, base, scale, chosen.p_lr_scale, chosen.weight_decay, chosen.decay_all)
    kind = torch.optim.AdamW if isinstance(chosen, AdamW) else torch.optim.Adam
    # The fused kernel updates all parameters in one call, on CPUs too.
    return kind(parameters, fused=True)


class Schedule:
    """A torch schedule, advanced once a step or once an epoch as its kind wants."""

    def __init__(self, config: RunConfig, optimizer: Optimizer, steps_per_epoch: int) -> None:
        self._per_step = isinstance(config.schedule, OneCycle)
        self._inner = _torch_schedule(config, optimizer, steps_per_epoch)

    def after_step(self) -> None:
        """To be called after every optimiser step."""
        if self._per_step:
            self._inner.step()

    def after_epoch(self) -> None:
        """To be called after every epoch."""
        if not self._per_step:
            self._inner.step()

    def state(self) -> dict[str, object]:
        """Numbers only, for a checkpoint."""
        return {k: v for k, v in self._inner.state_dict().items() if k != "lr_lambdas"}

    def load(self, state: dict[str, object]) -> None:
        """Continue from `state()`."""
        if isinstance(self._inner, LambdaLR):
            state = {**state, "lr_lambdas": [None] * len(self._inner.lr_lambdas)}
        self._inner.load_state_dict(state)


def _torch_schedule(config: RunConfig, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    schedule = config.schedule
    if isinstance(schedule, OneCycle):
        rates = [group["lr"] for group in optimizer.param_groups]
        total = config.train.epochs * steps_per_epoch
        return OneCycleLR(optimizer, max_lr=rates, total_steps=total + 1, pct_start=schedule.warmup)
    if isinstance(schedule, Step):
        return StepLR(optimizer, schedule.every, schedule.gamma)
    return LambdaLR(optimizer, lambda _: 1.0)
