"""Joining or starting Ray, quietly, and what the joined cluster can give."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestration import kernels
from orchestration.errors import MachineError, UserError
from orchestration.study import Resources

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
    # A trial that failed reports its reason and no metric; that must not end the study.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # The default poll of 2 s would add about a second to every report of a Train worker.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}


@dataclass(frozen=True)
class Capacity:
    """What the cluster has in all."""

    cpus: float
    gpus: float


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
        resources = ray.cluster_resources()
        yield Capacity(resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        if started:
            ray.shutdown()


def start(address: str | None, dashboard: bool, verbose: bool) -> None:
    """Join the cluster at `address`, or start Ray on this machine.

    Raises UserError if nothing answers at the address, MachineError where Ray does not start.
    """
    import ray

    level = "INFO" if verbose else "ERROR"
    common = {"log_to_driver": verbose, "logging_level": level, "configure_logging": True}
    if address is not None:
        _require_answer(address)
        try:
            ray.init(address=address, **common)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"--address {address}: no Ray cluster answers there: {error}") from error
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


def _require_answer(address: str) -> None:
    """Raise UserError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, local or a name that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise UserError(f"--address {address}: nothing answers there: {error.strerror or error}") from None


@dataclass(frozen=True)
class Placement:
    """The resources one run takes, and how many runs go at once."""

    launcher: str
    workers: int
    cpus: int
    gpus: float
    concurrent: int
    kernels: kernels.Kernels

    @property
    def device(self) -> str:
        """What the workers train on."""
        return "cuda" if self.gpus > 0 else "cpu"


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
    workers = resources.workers
    if gpus * workers > capacity.gpus:
        raise UserError(
            f"resources: a run needs {gpus * workers:g} GPU ({workers} worker × {gpus:g}), the cluster has"
            f" {capacity.gpus:g}; set resources.device=cpu or resources.gpus_per_worker=0 to train on CPUs"
        )
    cpus = resources.cpus_per_worker
    if cpus * workers > capacity.cpus:
        raise UserError(
            f"resources: a run needs {cpus * workers} CPU ({workers} worker × {cpus}), the cluster has"
            f" {capacity.cpus:g}; lower resources.cpus_per_worker or resources.workers"
        )
    fit = int(capacity.cpus // (cpus * workers))
    if gpus > 0:
        fit = min(fit, int(capacity.gpus // (gpus * workers) + 1e-9))
    if resources.concurrent != "auto" and resources.concurrent > fit:
        raise UserError(
            f"resources.concurrent: received {resources.concurrent}, but only {fit} run(s) of"
            f" {cpus * workers} CPU and {gpus * workers:g} GPU fit the cluster"
        )
    concurrent = fit if resources.concurrent == "auto" else int(resources.concurrent)
    return Placement(launcher, workers, cpus, gpus, max(1, concurrent), kernels.chosen(resources))
