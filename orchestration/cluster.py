"""Joining or starting Ray, quietly, and what the joined cluster can give."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration import nodes
from orchestration.errors import MachineError
from orchestration.nodes import Node

# Ray reads these when it is imported or when it starts its processes.
ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C is ours: it stops the driver, and the study folder says how to go on.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_RESULT_BUFFER_LENGTH": "0",
    # How many run at once is room.py's to say; Tune alone would start them one after the other.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    # A trial that failed reports its reason and no metric; that must not end the study.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The default poll of 2 s would add about a second to every report of a Train worker.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


@dataclass(frozen=True)
class Capacity:
    """What the cluster can give: its nodes, and those that an autoscaler may still start, as one."""

    nodes: tuple[Node, ...]

    @property
    def cpus(self) -> float:
        """CPUs of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        """GPUs of all nodes."""
        return sum(node.gpus for node in self.nodes)


def capacity() -> Capacity:
    """What the joined cluster has now, or may grow to."""
    from ray._private import state

    there = Capacity(tuple(nodes.alive()))
    # KubeRay and `ray up` tell Ray how far they scale; Ray has no public way to ask.
    most = state.state.get_max_resources_from_cluster_config() or {}
    more = Node(
        cpus=max(0.0, most.get("CPU", 0.0) - there.cpus), gpus=max(0.0, most.get("GPU", 0.0) - there.gpus)
    )
    return Capacity((*there.nodes, more)) if more.cpus or more.gpus else there


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def session(address: str | None, dashboard: bool, verbose: bool = False) -> Iterator[Capacity]:
    """Ray for the block: the cluster at `address`, else processes on this machine, ended with it.

    The dashboard is what frees the placement groups of stopped Ray Train trials, so it is on for
    them. A Ray that is running in this process already is used and left running.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning, module="ray.*")
    import ray

    started = not ray.is_initialized()
    if started:
        start(address, dashboard, verbose)
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.ERROR)
    try:
        yield capacity()
    finally:
        if started:
            # A reference to one of Ray's objects that another thread (MLflow's) collects later would end the
            # process: Ray aborts where it is asked for what is shut down.
            gc.collect()
            ray.shutdown()


def start(address: str | None, dashboard: bool, verbose: bool) -> None:
    """Join the cluster at `address`, or start Ray on this machine.

    Raises as `joining.join` does, and MachineError where Ray does not start.
    """
    import ray

    level = "INFO" if verbose else "ERROR"
    common = {"log_to_driver": verbose, "logging_level": level, "configure_logging": True}
    if address is not None:
        from orchestration import joining

        joining.join(address, common)
        return
    extra: dict[str, object] = {"include_dashboard": False}
    if dashboard:
        port = free_port()
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        extra = {"include_dashboard": True, "dashboard_port": port, "dashboard_host": "127.0.0.1"}
    # Ray's sockets need a short path.
    folder = Path(tempfile.gettempdir()) / "ray"
    try:
        ray.init(address="local", _temp_dir=str(folder), **common, **extra)
    except Exception as error:  # Ray has no class of its own for a start that fails or times out
        raise MachineError(f"Ray does not start on this machine: {error}") from error
