"""Which processes a run has, and how one that hangs is ended from the driver."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestration import nodes
from orchestration.storage import Storage

KILL_SECONDS = 15.0


def record(folder: str, rank: int) -> None:
    """Leave this process's id and node with the run."""
    node = ray.get_runtime_context().get_node_id()
    Storage(folder).put_json(f"processes/{rank}.json", {"pid": os.getpid(), "node": node})


def end(folder: str, actor: Any) -> None:
    """Kill every process of a run on its node, stopped ones too, and the actor that Tune drives it by."""
    storage = Storage(folder)
    waiting = []
    for name in storage.list("processes"):
        known = storage.get_json(f"processes/{name}") or {}
        where = NodeAffinitySchedulingStrategy(known["node"], soft=False)
        waiting.append(_kill.options(num_cpus=0, scheduling_strategy=where).remote(known["pid"]))
    with contextlib.suppress(Exception):  # a node that is gone took its processes along
        ray.get(waiting, timeout=KILL_SECONDS)
    if actor is not None:
        with contextlib.suppress(Exception):
            ray.kill(actor)


def nodes_of(folder: str) -> set[str]:
    """Ids of the nodes that a run's last processes were on."""
    storage = Storage(folder)
    known = [storage.get_json(f"processes/{name}") or {} for name in storage.list("processes")]
    return {one["node"] for one in known if "node" in one}


def on_lost_node(folder: str) -> bool:
    """Whether a node that a run has processes on is gone."""
    return not nodes_of(folder) <= {node.id for node in nodes.alive()}


@ray.remote  # type: ignore[untyped-decorator]
def _kill(pid: int) -> None:
    # A process of that number that is not Ray's is another one by now.
    with contextlib.suppress(OSError):
        if b"ray" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)
