"""Asking something of every node of the cluster at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 90.0  # a first worker on a loaded node takes its time, code to fetch included


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. Memory in bytes, 0 where it is not known."""

    cpus: float
    gpus: float
    memory: float = 0.0
    id: str = ""
    host: str = ""
    address: str = ""

    @property
    def name(self) -> str:
        """What a person calls it."""
        return f"{self.host} ({self.address})" if self.host != self.address else self.host

    @property
    def runs_trials(self) -> bool:
        """A node without CPUs (a head that only manages) is never given a trial."""
        return self.cpus > 0


def alive() -> list[Node]:
    """The nodes that are there now, by address."""
    import ray

    found = []
    for entry in ray.nodes():
        if entry["Alive"]:
            has = entry["Resources"]
            found.append(
                Node(
                    cpus=has.get("CPU", 0.0),
                    gpus=has.get("GPU", 0.0),
                    memory=has.get("memory", 0.0),
                    id=entry["NodeID"],
                    host=entry["NodeManagerHostname"],
                    address=entry["NodeManagerAddress"],
                )
            )
    return sorted(found, key=lambda node: node.address)


def ask_each(nodes: list[Node], task: Callable[..., Any], *arguments: Any) -> list[Any]:
    """`task(*arguments)` run on every node, in their order; an exception where one gave no answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, max_retries=0)(task)
    waiting = [
        remote.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            *arguments
        )
        for node in nodes
    ]
    ray.wait(waiting, num_returns=len(waiting), timeout=ANSWER_SECONDS)
    return [_answer(reference) for reference in waiting]


def _answer(reference: Any) -> Any:
    import ray

    try:
        return ray.get(reference, timeout=0.1)
    except ray.exceptions.GetTimeoutError:
        return TimeoutError(f"no answer in {ANSWER_SECONDS:.0f} s")
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, Exception) else error
    except Exception as error:
        return error
