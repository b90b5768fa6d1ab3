"""A study opened for work: checked, locked, with its inputs prepared. Shared by train and tune."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from orchestration import frozen
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs, Prepared
from orchestration.study import Study


@dataclass(frozen=True)
class Opened:
    """A study whose files are there and fit; nothing has been started yet."""

    study: Study
    folder: StudyFolder
    prepared: Prepared
    configs: list[RunConfig]

    def compute_features(self) -> None:
        """Make the feature files of frozen backbones, once, before any run starts."""
        self.prepared.compute(self.configs)


def open_study(study: Study, configs: Sequence[RunConfig], address: str | None) -> Opened:
    """Check everything that can be known before Ray starts. Raises UserError or DataError."""
    require_device(study, address)
    folder = StudyFolder(study)
    features = Path(folder.storage.root).parent / "features"

    def feature_file(config: RunConfig, inputs: Inputs) -> Path:
        return frozen.ensure(config, inputs, features)

    return Opened(study, folder, Prepared(configs, feature_file), list(configs))


def require_device(study: Study, address: str | None) -> None:
    """Raise UserError for a GPU asked of a machine that has none; a cluster is asked when joined."""
    wanted = study.resources
    asks = wanted.device == "cuda" or wanted.gpus_per_worker not in ("auto", 0)
    if asks and address is None and not torch.cuda.is_available():
        raise UserError(
            f"resources: a GPU is asked for (device: {wanted.device}, gpus_per_worker:"
            f" {wanted.gpus_per_worker}) but torch sees none here; set resources.device=cpu and"
            " resources.gpus_per_worker=0, or join a cluster with --address"
        )


def address_of(given: str | None) -> str | None:
    """--address, else RAY_ADDRESS, else None: this machine."""
    return given or os.environ.get("RAY_ADDRESS") or None


def code_tags() -> dict[str, str]:
    """The commit this code is at, where it is a git checkout."""
    home = Path(__file__).resolve().parent.parent
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = subprocess.run(
            ["git", "-C", str(home), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        return {"git_commit": commit}
    return {}


@contextlib.contextmanager
def one_thread_pool(threads: int) -> Iterator[None]:
    """torch's threads for the block: what resources.cpus_per_worker says."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
