"""A study opened for work: checked, locked, with its inputs prepared. Shared by train and tune."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from orchestration import feature_files
from orchestration.config import RunConfig
from orchestration.errors import ConfigError, UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs, Prepared
from orchestration.study import Study

JOB_COPY = "/runtime_resources/working_dir_files/"  # in every path that Ray unpacks a job's folder to


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
    folder = StudyFolder(study)
    if JOB_COPY in folder.storage.root:
        raise UserError(
            f"storage: {folder.storage.root} lies in the copy of the code that `ray job submit` unpacked and"
            " that goes with the job; give a folder that all nodes share, or s3://…: storage=/shared/runs"
        )
    storage = folder.storage.parent()
    storage.require()
    found = device_problems(study, address)

    def feature_file(config: RunConfig, inputs: Inputs) -> str:
        return feature_files.ensure(config, inputs, storage)

    try:
        prepared = Prepared(configs, feature_file)
    except ConfigError as error:
        found += error.problems
    if found:
        raise ConfigError(found, f"study {study.study}")
    return Opened(study, folder, prepared, list(configs))


def device_problems(study: Study, address: str | None) -> list[str]:
    """A line if a GPU is asked of a machine that has none; a cluster is asked when it is joined."""
    wanted = study.resources
    asks = wanted.device == "cuda" or wanted.gpus_per_worker not in ("auto", 0)
    if not asks or address is not None or torch.cuda.is_available():
        return []
    return [
        f"resources: a GPU is asked for (device: {wanted.device}, gpus_per_worker: {wanted.gpus_per_worker})"
        " but torch sees none here; set resources.device=cpu resources.gpus_per_worker=0, or join a cluster"
        " with --address"
    ]


@contextlib.contextmanager
def one_thread_pool(threads: int) -> Iterator[None]:
    """torch's threads for the block: what resources.cpus_per_worker says."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
