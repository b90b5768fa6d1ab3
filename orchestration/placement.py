"""Where runs are placed: what one takes of the cluster, and how many go at once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestration import cluster, kernels
from orchestration.cluster import Capacity
from orchestration.errors import UserError
from orchestration.memory import gpu_memory
from orchestration.nodes import Node
from orchestration.study import Resources

if TYPE_CHECKING:
    from orchestration.session import Opened


@dataclass(frozen=True)
class Placement:
    """The resources one run takes, and how many runs go at once."""

    launcher: str
    workers: int
    cpus: int
    gpus: float
    concurrent: int
    kernels: kernels.Kernels
    follows: bool = False  # `concurrent` goes up and down with the cluster's nodes
    memory: int = 0  # bytes of a worker, asked of Ray; 0: not asked
    gpu_gib: float = 0.0  # memory of the smallest GPU; 0: not known

    @property
    def device(self) -> str:
        """What the workers train on."""
        return "cuda" if self.gpus > 0 else "cpu"

    def __str__(self) -> str:
        return f"{self.workers} worker(s) on {self.cpus} CPU and {self.gpus:g} GPU"


def launcher_of(resources: Resources, frozen: bool) -> str:
    """`inline` or `train`. auto: inline for a frozen backbone or without a GPU, else train."""
    if resources.launcher != "auto":
        return resources.launcher
    if resources.workers > 1:
        return "train"
    wants_gpu = resources.device == "cuda" or resources.gpus_per_worker not in ("auto", 0)
    return "train" if wants_gpu and not frozen else "inline"


def placement(resources: Resources, frozen: bool, capacity: Capacity) -> Placement:
    """Fit the request to the cluster. Raises UserError for what it can never give."""
    gpus = resources.gpus_per_worker
    if gpus == "auto":
        gpus = 1.0 if capacity.gpus > 0 and resources.device != "cpu" and not frozen else 0.0
    if resources.device == "cuda" and gpus == 0:
        gpus = 1.0
    launcher = launcher_of(resources, frozen)
    if launcher == "inline" and gpus > 0 and not frozen and resources.launcher == "auto":
        launcher = "train"
    wanted = Placement(
        launcher, resources.workers, resources.cpus_per_worker, gpus, 1, kernels.chosen(resources)
    )
    most = fit(wanted, capacity)
    if most == 0:
        raise UserError(_never(wanted, capacity))
    if resources.concurrent == "auto":
        return replace(wanted, concurrent=most, follows=True)
    if resources.concurrent > most:
        raise UserError(
            f"resources.concurrent: received {resources.concurrent}, but only {most} run(s) of {wanted} each"
            " fit the cluster"
        )
    return replace(wanted, concurrent=resources.concurrent)


def fit(wanted: Placement, capacity: Capacity) -> int:
    """How many runs the nodes hold at once. A worker lies on one node; a run's workers may lie on several."""
    return sum(_workers_on(node, wanted) for node in capacity.nodes) // wanted.workers


def _workers_on(node: Node, wanted: Placement) -> int:
    counts = [int(node.cpus // wanted.cpus)]
    if wanted.gpus:  # a rounding error must not cost the fourth quarter of a GPU
        counts.append(int(node.gpus / wanted.gpus + 1e-9))
    if wanted.memory and node.memory:
        counts.append(int(node.memory // wanted.memory))
    return min(counts)


def _never(wanted: Placement, capacity: Capacity) -> str:
    has = f"the cluster has {capacity.cpus:g} CPU and {capacity.gpus:g} GPU on {len(capacity.nodes)} node(s)"
    if wanted.gpus * wanted.workers > capacity.gpus:
        remedy = "set resources.device=cpu or resources.gpus_per_worker=0 to train on CPUs"
    else:
        remedy = "lower resources.cpus_per_worker or resources.workers"
    return f"resources: a run needs {wanted} each, {has}; {remedy}"


@contextlib.contextmanager
def placed(opened: Opened, address: str | None, verbose: bool) -> Iterator[Placement]:
    """Ray for the block, and where the study's runs go. Every node of a joined cluster is looked at first."""
    resources, frozen = opened.study.resources, opened.configs[0].frozen
    in_groups = launcher_of(resources, frozen) == "train"
    with cluster.session(address, dashboard=in_groups, verbose=verbose) as capacity:
        found = placement(resources, frozen, capacity)
        if address is None:
            sizes = list(gpu_memory())
        else:
            from orchestration import preflight

            sizes = preflight.check(opened)
        yield replace(found, gpu_gib=min(sizes, default=0.0))


def announce(placement: Placement) -> None:
    """Say how many runs go at once, and on what."""
    print(f"{placement.concurrent} at once, each {placement}, launcher {placement.launcher}", file=sys.stderr)
