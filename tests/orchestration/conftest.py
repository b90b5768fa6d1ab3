"""What the tests of the training loop share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import Task
from orchestration.study import Study
from orchestration.training import Training

FROZEN = {"model.train_backbone": False, "model.neck.name": "mlp", "model.neck.width": 16}


@pytest.fixture
def make(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path
) -> Callable[[dict[str, Any]], Training]:
    """A Training of the tiny study with changed values."""

    def build(values: dict[str, Any]) -> Training:
        run = config({"model.backbone.weights": str(weights), **values})
        return Training(run, prepared(run), torch.device("cpu"))

    return build


@pytest.fixture
def task(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path, tmp_path: Path
) -> Callable[..., Task]:
    """A single run of the tiny study on fixed features, in the study folder `name`."""

    def make(name: str, values: dict[str, Any]) -> Task:
        frozen = {"model.backbone.weights": str(weights), **FROZEN}
        chosen = config({**frozen, "train.epochs": 3, **values})
        folder = StudyFolder(Study(study=name, run=chosen.model_dump(mode="json"), storage=str(tmp_path)))
        inputs = prepared(chosen)
        member = folder.start(Member("single/a"), chosen, inputs)
        return folder.task(member, chosen, inputs, test=True)

    return make
