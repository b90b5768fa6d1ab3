"""Passes kept with a run: which epochs, and that they hold what references are chosen from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data.faces import Faces
from data.feature_store import epochs, open_pass
from orchestration import kept_files
from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import Run
from orchestration.study import Study


def run_of(config: RunConfig, inputs: Inputs, storage: str) -> Run:
    """A run of `config` in a study of `storage`."""
    study = StudyFolder(Study(study="kept", run=config.model_dump(mode="json"), storage=storage))
    member = study.start(Member("single/one"), config, inputs)
    return Run(study.task(member, config, inputs, test=False), torch.device("cpu"))


@pytest.mark.parametrize("head", ["rapl", "none"])
def test_every_nth_pass_holds_each_training_face_once_with_its_age(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], tmp_path: Path, head: str
) -> None:
    values = {"features.keep": "every_n", "features.keep_every": 2, "train.epochs": 4}
    chosen = config({**values, "model.position_head.name": head})
    run = run_of(chosen, prepared(chosen), str(tmp_path))
    lines = [run.step() for _ in range(4)]
    folder = Path(run.task.folder) / "features"
    assert epochs(folder) == [2, 4]
    assert ["features/kept_mib" in line for line in lines] == [False, True, False, True]
    kept = open_pass(folder, 4)
    ids = kept.column("sample_id")
    assert sorted(ids.tolist()) == run.training.batches.split.train.tolist()
    np.testing.assert_array_equal(kept.ages(), Faces.open(run.task.inputs.data).ages[ids])


@pytest.mark.parametrize("behind_an_address", [False, True])
def test_best_keeps_the_pass_of_the_best_epoch_alone(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], tmp_path: Path, behind_an_address: bool
) -> None:
    chosen = config({"features.keep": "best", "train.epochs": 4})
    storage = (tmp_path / "studies").as_uri() if behind_an_address else str(tmp_path / "studies")
    run = run_of(chosen, prepared(chosen), storage)
    values = [run.step()["val/age_mae"] for _ in range(4)]
    best = [int(np.argmin(values)) + 1]
    with kept_files.passes(run.storage, last=5) as (folder, found):
        assert found == epochs(folder) == best
        ids = open_pass(folder, best[0]).column("sample_id")
    assert sorted(ids.tolist()) == run.training.batches.split.train.tolist()
    run.kept.drop_after(best[0] - 1)
    assert kept_files.whole_epochs(run.storage.child(kept_files.FOLDER)) == []
