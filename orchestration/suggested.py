"""Tune's view of a source of members: a suggestion is a member's task, an end is written to the folder."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ray
from ray.tune.search import Searcher

from data.errors import DataError
from orchestration import causes, cluster, endings, nodes, processes
from orchestration.config import RunConfig
from orchestration.endings import Failure
from orchestration.errors import MachineError
from orchestration.members import Source
from orchestration.packing import Peak, advice, peak_of
from orchestration.records import Member
from orchestration.room import Room
from orchestration.schedulers import ByMember, replay
from orchestration.stalls import Stalls

if TYPE_CHECKING:
    from orchestration.engine import Engine

# A stopped Train run's controller lives a few seconds more; a group removed under it is made again.
GROUP_REMOVAL_SECONDS = 4.0
NODES_SECONDS = 2.0  # between looks at which nodes are gone, while that matters


class Members(Searcher):
    """Gives Tune the members of a source, and tells the study folder how they go."""

    def __init__(self, engine: Engine, source: Source, rule: Any, test: bool, scratch: str) -> None:
        super().__init__(metric="best", mode=engine.folder.study.objective.mode)
        self.engine = engine
        self.source = source
        self.test = test
        self.scratch = scratch
        self.scheduler = ByMember(rule, self._over)
        self.stalls = Stalls(engine.folder.study.resources.stall_minutes)
        self.live: dict[str, tuple[Member, RunConfig]] = {}
        self.again: list[Member] = []  # those that start over with halves of batches
        self.hung: dict[str, str] = {}
        self.groups: dict[str, str] = {}
        self.broken: DataError | MachineError | None = None
        self.room = Room(engine.placement)
        self.lost: dict[str, set[str]] = {}  # runs that started again, and the nodes they had
        self._looked = 0.0
        self.peak: Peak | None = None

    def __reduce__(self) -> tuple[type[Searcher], tuple[()]]:
        # Tune pickles its searcher to restore it one day; this one is rebuilt from the study folder.
        return Searcher, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Members:
        return self

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """The objective is the study's; Tune has nothing to add."""
        return True

    def _over(self) -> bool:
        """Whether all is to stop where it is: the machine failed, or a search has spent its budget."""
        spending = None if self.test else self.engine.spending
        measured = self.engine.measuring and self.peak is not None
        return (
            self.broken is not None or measured or (spending is not None and spending.reached() is not None)
        )

    def suggest(self, trial_id: str) -> Any:
        """The next member's task, None for "not now", or the word that there are no more."""
        if not self._over():
            if len(self.live) >= self.room.limit():
                return None
            with self._no_more_after_failure():
                member = self.again.pop(0) if self.again else self.source.next()
                if member is not None:
                    return self._task(trial_id, member)
        # One that runs may yet have to start over.
        return None if self.live and not self._over() else Searcher.FINISHED

    @contextlib.contextmanager
    def _no_more_after_failure(self) -> Iterator[None]:
        """A failure of machine or storage (a full disk) is no trial's fault: what runs stays unended, and no
        more is given out. Raised in here it would reach Tune, which logs it and goes on.
        """
        try:
            yield
        except (DataError, MachineError) as error:
            self.broken = self.broken or error

    def _task(self, trial_id: str, member: Member) -> Any:
        engine = self.engine
        folder = engine.folder
        config = folder.config_of(member)
        inputs = engine.prepared.inputs(config)
        member = folder.start(member, config, inputs)
        earlier = folder.lines(member)
        replay(self.scheduler.rule, member.name, earlier)
        self.scheduler.names[trial_id] = member.name
        for line in earlier:
            self.source.report(member, int(line["epoch"]), float(line["best"]))
        self.live[trial_id] = (member, config)
        engine.console.started(member)
        engine.tracker.wake()
        task = folder.task(member, config, inputs, self.test)
        return {"task": task, "placement": engine.placement, "scratch": self.scratch}

    def watch(self) -> None:
        """Count the time that went by, and end the runs that have not reported for too long."""
        with self._no_more_after_failure():
            if self.engine.spending is not None:
                self.engine.spending.tick(len(self.live))
            self._forgive()
            under_way = [t for i, t in self.scheduler.trials.items() if i in self.live]
            pending = [self.live[t.trial_id][0].name for t in under_way if t.status == "PENDING"]
            if line := self.room.waiting(pending):
                self.engine.console.say(line)
            running = [t for t in under_way if t.status == "RUNNING"]
            for trial, reason in self.stalls.among(running):
                member, _ = self.live[trial.trial_id]
                self.hung[trial.trial_id] = reason
                trial.max_failures = 0  # it is not to be tried again
                processes.end(
                    self.engine.folder.storage.address(member.name), trial.temporary_state.ray_actor
                )

    def recovered(self, trial: Any) -> None:
        """A run starts again. Whether its node was lost, not its process, Ray may say only later."""
        member, _ = self.live[trial.trial_id]
        self.lost[trial.trial_id] = processes.nodes_of(self.engine.folder.storage.address(member.name))

    def _forgive(self) -> None:
        """The loss of a node is not counted against the runs it had: nodes come and go."""
        if not self.lost or time.monotonic() - self._looked < NODES_SECONDS:
            return
        self._looked = time.monotonic()
        there = {node.id for node in nodes.alive()}
        for trial_id, had in list(self.lost.items()):
            if trial_id not in self.live:
                del self.lost[trial_id]
            elif not had <= there:
                del self.lost[trial_id]
                self.scheduler.trials[trial_id].max_failures += 1
                name = self.live[trial_id][0].name
                self.engine.console.say(f"{name}: its node is gone; it goes on from its checkpoint")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An epoch of a member."""
        if "placement_group" in result:
            self.groups[trial_id] = result["placement_group"]
        if "failed" in result or trial_id not in self.live:
            return
        member, _ = self.live[trial_id]
        self.stalls.heard(trial_id)
        if self.engine.spending is not None:
            self.engine.spending.epoch(trial_id)
        with self._no_more_after_failure():
            self.source.report(member, int(result["epoch"]), float(result["best"]))
        self.engine.console.epoch(member, result)
        self._measure(result)
        self.engine.tracker.wake()

    def _measure(self, line: dict[str, Any]) -> None:
        """Say once, after a search's first epoch, what memory a run takes and how many fit."""
        if self.peak is None and not self.test:
            self.peak = peak_of([line])
            if self.peak is not None and not self.engine.measuring:
                place = self.engine.placement
                self.engine.console.say(advice(place, self.peak, place.gpu_gib, cluster.capacity()))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A member's end: complete if it reached its last epoch, pruned if the rule stopped it before."""
        if result is not None:
            self.on_trial_result(trial_id, result)
        member, config = self.live.pop(trial_id)
        self.scheduler.forget(trial_id)
        with self._no_more_after_failure():
            if result is not None and "machine" in result:
                raise MachineError(result["machine"])
            failed = error or result is None or "failed" in result
            reason = self._failure(trial_id, result) if failed else None
            stopped = member.name in self.scheduler.stopped
            ended = endings.record(self.engine.folder, member, config, result, reason, stopped)
            if ended.status == "running":
                self.again += [ended] if failed else []
            else:
                self.source.tell(ended)
                self.engine.console.ended(ended)
        self.engine.tracker.wake()
        if trial_id in self.groups:
            _remove_later(self.groups.pop(trial_id))

    def _failure(self, trial_id: str, result: dict[str, Any] | None) -> Failure:
        if trial_id in self.hung:
            return self.hung.pop(trial_id), causes.HANG, None
        if result is not None and "failed" in result:
            return result["failed"], result["cause"], result["trace"]
        return endings.of_process(self.scheduler.errors.pop(trial_id, None))

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
