"""Runs members of a study through Ray Tune: a search's trials, final seeds, or one run in workers."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune

from data.errors import DataError
from orchestration.budget import Spending
from orchestration.errors import MachineError, UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Prepared
from orchestration.kernels import compiler_problem
from orchestration.launch import trainable
from orchestration.members import Source, Watcher
from orchestration.placement import Placement
from orchestration.suggested import Members
from orchestration.tracking import Tracker

SCRATCH = ".scratch"  # of Tune and Train, in the study's folder while they run


@dataclass
class Engine:
    """What every phase of a study shares."""

    folder: StudyFolder
    prepared: Prepared
    placement: Placement
    console: Watcher
    tracker: Tracker
    spending: Spending | None = None
    measuring: bool = False  # end once a run's peak of memory is known; the run goes on with the next start

    def run(self, source: Source, rule: Any = None, test: bool = False) -> None:
        """Run all of a source's members; returns when each has ended and its end is on disk.

        A source without `test` is a search: it ends early, with what it has, once `spending` is used up. What
        then runs stays as it is, to go on when the budget is raised.
        """
        if not len(source):
            return
        self._warn_of_local_batch_norm()
        self._require_compiler()
        storage = self.folder.storage
        scratch = storage.address(SCRATCH)  # Ray wants it where every node reaches it
        storage.clear(SCRATCH)
        members = Members(self, source, rule or tune.schedulers.FIFOScheduler(), test, scratch)
        tuner = tune.Tuner(
            trainable(self.placement),
            tune_config=tune.TuneConfig(
                search_alg=members,
                scheduler=members.scheduler,
                num_samples=-1,  # the source says when there are no more
                reuse_actors=self.placement.launcher == "inline",
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=scratch,
                verbose=0,
                callbacks=[Watch(members)],
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        finally:
            with contextlib.suppress(DataError, MachineError):  # that is said already
                storage.clear(SCRATCH)
            if self.spending is not None:
                with contextlib.suppress(MachineError):  # the disk is full: that is said already
                    self.spending.save()
        if members.broken is not None:
            raise members.broken

    def _warn_of_local_batch_norm(self) -> None:
        """SyncBatchNorm does not run on CPUs: workers there keep statistics of their own shares."""
        on_cpus = self.placement.workers > 1 and self.placement.device == "cpu"
        if on_cpus and self.folder.study.config().model.batch_norm == "sync":
            print(
                "warning: batch norm is per worker on CPUs (model.batch_norm: sync needs GPUs)",
                file=sys.stderr,
            )
            self.tracker.tags["batch_norm"] = "local (CPU workers)"

    def _require_compiler(self) -> None:
        """Ask a worker of the cluster whether it can compile. Raises UserError before any run starts."""
        wanted = self.placement
        if not wanted.kernels.compile or not self.folder.study.config().model.train_backbone:
            return
        ask = ray.remote(num_cpus=wanted.cpus, num_gpus=wanted.gpus)(compiler_problem)
        problem = ray.get(ask.remote(wanted.device))
        if problem is not None:
            raise UserError(problem)


class Watch(tune.Callback):
    """Called at every turn of Tune's loop, some ten times a second: time spent, and runs that hang.

    Tune keeps every trial to the end of a search; what a trial leaves behind here is made small.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Count the time, end what hangs."""
        self._members.watch()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process is gone, and Tune starts it again."""
        self._members.recovered(trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended; its end is in the study folder by now."""
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed for good."""
        _forget(trial)


def _forget(trial: Any) -> None:
    """Let go of an ended trial's task and of the last values of each metric: 28 kB for three metrics."""
    trial.config.clear()
    trial.evaluated_params.clear()
    trial.invalidate_json_state()
    known = trial.run_metadata
    known.metric_analysis.clear()
    known.metric_n_steps.clear()
    known.last_result = {}
    known.invalidate_cache()
