"""Runs members of a study through Ray Tune: a search's trials, final seeds, or one run in workers."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from orchestration.cluster import Placement
from orchestration.config import RunConfig
from orchestration.errors import MachineError, UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Prepared
from orchestration.kernels import compiler_problem
from orchestration.launch import trainable
from orchestration.members import Source, Watcher
from orchestration.records import Member
from orchestration.search import replay
from orchestration.tracking import Tracker

# A stopped Train run's controller lives a few seconds more; a group removed under it is made again.
GROUP_REMOVAL_SECONDS = 4.0


@dataclass
class Engine:
    """What every phase of a study shares."""

    folder: StudyFolder
    prepared: Prepared
    placement: Placement
    console: Watcher
    tracker: Tracker

    def run(self, source: Source, scheduler: Any = None, test: bool = False) -> None:
        """Run all of a source's members; returns when each has ended and its end is on disk."""
        total = len(source)
        if total == 0:
            return
        self._warn_of_local_batch_norm()
        self._require_compiler()
        scheduler = scheduler or tune.schedulers.FIFOScheduler()
        scratch = Path(self.folder.storage.root) / ".scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        members = _Members(self, source, scheduler, test, str(scratch))
        tuner = tune.Tuner(
            trainable(self.placement),
            tune_config=tune.TuneConfig(
                search_alg=members,
                scheduler=scheduler,
                num_samples=total,
                max_concurrent_trials=self.placement.concurrent,
                reuse_actors=self.placement.launcher == "inline",
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(scratch),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        try:
            tuner.fit()
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
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


class _Members(Searcher):
    """Tune's view of a source: a suggestion is a member's task."""

    def __init__(self, engine: Engine, source: Source, scheduler: Any, test: bool, scratch: str) -> None:
        super().__init__(metric="best", mode=engine.folder.study.objective.mode)
        self.engine = engine
        self.source = source
        self.scheduler = scheduler
        self.test = test
        self.scratch = scratch
        self.live: dict[str, tuple[Member, RunConfig]] = {}
        self.groups: dict[str, str] = {}
        self.broken: MachineError | None = None

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        # Tune pickles its searcher to restore it one day; this one is rebuilt from the study folder.
        return Searcher, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Members:
        return self

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """The objective is the study's; Tune has nothing to add."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next member's task, or the word that there are no more."""
        if self.broken is None:
            with self._no_more_after_failure():
                return self._next_task(trial_id)
        return Searcher.FINISHED

    @contextlib.contextmanager
    def _no_more_after_failure(self) -> Iterator[None]:
        """A failure of the machine (a full disk) is no trial's fault: what runs stays unended, and no
        more is given out. Raised in here it would reach Tune, which logs it and goes on.
        """
        try:
            yield
        except MachineError as error:
            self.broken = error

    def _next_task(self, trial_id: str) -> Any:
        engine = self.engine
        member = self.source.next()
        if member is None:
            return Searcher.FINISHED
        folder = engine.folder
        config = folder.study.config(member.params, member.seed)
        inputs = engine.prepared.inputs(config)
        member = folder.start(member, config, inputs)
        earlier = folder.lines(member)
        if earlier:
            replay(self.scheduler, trial_id, earlier)
        for line in earlier:
            self.source.report(member, int(line["epoch"]), float(line["best"]))
        self.live[trial_id] = (member, config)
        engine.console.started(member)
        engine.tracker.wake()
        task = folder.task(member, config, inputs, self.test)
        return {"task": task, "placement": engine.placement, "scratch": self.scratch}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a member."""
        if "placement_group" in result:
            self.groups[trial_id] = result["placement_group"]
        if "failed" in result or trial_id not in self.live:
            return
        member, _ = self.live[trial_id]
        self.source.report(member, int(result["epoch"]), float(result["best"]))
        self.engine.console.epoch(member, result)
        self.engine.tracker.wake()

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A member's end: complete if it reached its last epoch, pruned if Tune stopped it before."""
        if result is not None:
            self.on_trial_result(trial_id, result)
        with self._no_more_after_failure():
            self._end(trial_id, result, error)

    def _end(self, trial_id: str, result: dict[str, Any] | None, error: bool) -> None:
        member, config = self.live.pop(trial_id)
        if result is not None and "machine" in result:
            raise MachineError(result["machine"])
        folder = self.engine.folder
        lines = folder.lines(member)
        value = float(lines[-1]["best"]) if lines else None
        if error or result is None:
            ended = folder.end(member, "failed", value=value, reason="its process died twice")
        elif "failed" in result:
            ended = folder.end(member, "failed", value=value, reason=result["failed"])
        elif int(result["epoch"]) < config.train.epochs:
            ended = folder.end(member, "pruned", value=value)
        else:
            ended = folder.end(member, "complete", value=value, test=folder.test_scores(member))
        self.source.tell(ended)
        self.engine.console.ended(ended)
        self.engine.tracker.wake()
        if trial_id in self.groups:
            _remove_later(self.groups.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study folder is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: every start reads the study folder."""


def _remove_later(group_id: str) -> None:
    """Remove a Train run's placement group that outlived it; else later runs wait for ever."""

    def remove() -> None:
        time.sleep(GROUP_REMOVAL_SECONDS)
        with contextlib.suppress(Exception):  # already gone, or Ray is shutting down
            group = ray.util.placement_group.PlacementGroup(ray.PlacementGroupID(bytes.fromhex(group_id)))
            ray.util.remove_placement_group(group)

    threading.Thread(target=remove, daemon=True).start()
