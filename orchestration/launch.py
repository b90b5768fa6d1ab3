"""Drives the stepper inside Ray: in a reused Tune actor (`inline`), or in Ray Train workers (`train`)."""

from __future__ import annotations

import re
from typing import Any

import ray.train
import torch
from ray import tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from orchestration import interface, processes
from orchestration.errors import MachineError
from orchestration.failures import failure
from orchestration.placement import Placement
from orchestration.run import Run, Superseded, Task
from orchestration.training import Diverged

# The trial's driver asks for almost nothing: its workers hold the resources. 0 is refused by Ray.
DRIVER_CPU = 0.01


class TrialActor(tune.Trainable):
    """One step is one epoch. The process is reused from trial to trial, imports and all."""

    def setup(self, config: dict[str, Any]) -> None:
        """Take a task; what goes wrong becomes the trial's reason, not the actor's end."""
        torch.set_num_threads(config["placement"].cpus)
        self.failure: dict[str, Any] | None = None
        self.run: Run | None = None
        try:
            processes.record(config["task"].folder, 0)
            placement: Placement = config["placement"]
            self.run = Run(config["task"], torch.device(placement.device), placement.kernels)
        except Exception as error:
            self.failure = failure(error)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make room for the next trial and set it up."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Let go of the model, so that the next trial finds the memory free."""
        self.run = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def step(self) -> dict[str, Any]:
        """Train one epoch and return its line; after the last, the test metrics are written too."""
        if self.failure is not None:
            return self.failure
        assert self.run is not None
        try:
            line = self.run.lines[-1] if self.run.finished else self.run.step()
            if self.run.finished:
                self.run.conclude()
            return {**line, "done": self.run.finished}
        except Exception as error:
            return failure(error)


def worker(config: dict[str, Any]) -> None:
    """What every Ray Train worker runs: the same steps, reported by each, recorded by rank 0."""
    placement: Placement = config["placement"]
    torch.set_num_threads(placement.cpus)
    device = ray.train.torch.get_device()
    group = ray.util.get_current_placement_group()
    extra = {"placement_group": group.id.hex()} if group is not None else {}
    processes.record(config["task"].folder, ray.train.get_context().get_world_rank())
    try:
        run = Run(config["task"], device, placement.kernels)
        while not run.finished:
            line = run.step()
            if not run.finished:
                ray.train.report({**line, **extra})
        run.conclude()
        ray.train.report({**run.lines[-1], **extra, "done": True})
    except Diverged as error:
        # Every worker sees the same summed loss, so all of them come here together.
        ray.train.report({**failure(error), **extra})


def trainer(task: Task, placement: Placement, scratch: str, callbacks: list[Any]) -> TorchTrainer:
    """A Ray Train run of a task. A worker's death restarts the group once, from our checkpoint."""
    # A worker asks for a little less than its CPUs, which leaves room for the trial's driver.
    asked = {"CPU": max(0.1, placement.cpus - 0.1)}
    if placement.gpus:
        asked["GPU"] = placement.gpus
    if placement.memory:
        asked["memory"] = placement.memory
    return TorchTrainer(
        worker,
        train_loop_config={"task": task, "placement": placement},
        torch_config=interface.Config(backend="nccl" if placement.gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=placement.workers,
            use_gpu=placement.gpus > 0,
            resources_per_worker=asked,
        ),
        run_config=ray.train.RunConfig(
            name=re.sub(r"[^A-Za-z0-9._+-]+", "-", task.folder)[-80:] + f"-{task.attempt}",
            storage_path=scratch,
            callbacks=callbacks,
            failure_config=ray.train.FailureConfig(max_failures=1),
        ),
    )


def drive(config: dict[str, Any]) -> None:
    """A Tune trial that is a Ray Train run: forwards rank 0's reports."""
    fitted = trainer(config["task"], config["placement"], config["scratch"], [TuneReportCallback()])
    try:
        fitted.fit()
    except ray.train.TrainingFailedError as error:
        if processes.on_lost_node(config["task"].folder):
            raise  # not the run's fault: Tune starts it again, on the nodes there are
        tune.report(failure(cause_of(error)))


def cause_of(error: Exception) -> Exception:
    """The worker's own error. When one rank fails the others fail on it, so ours come first."""
    failures = getattr(error, "worker_failures", {}).values()
    causes: list[Exception] = [getattr(cause, "_base_exc", cause) for cause in failures]
    ours = [cause for cause in causes if isinstance(cause, (MachineError, Superseded))]
    return [*ours, *causes, error][0]


def trainable(placement: Placement) -> Any:
    """What Tune runs for a placement, with its resources."""
    if placement.launcher == "inline":
        asked = {"cpu": placement.cpus, "gpu": placement.gpus, "memory": placement.memory}
        return tune.with_resources(TrialActor, {name: count for name, count in asked.items() if count})
    return tune.with_resources(drive, {"cpu": DRIVER_CPU})
