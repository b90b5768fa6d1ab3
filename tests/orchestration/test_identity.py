"""Identity: two runs share it exactly if they are the same experiment but for the seed."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data import cache as data_cache
from model.ir import SmallIR
from orchestration.config import RunConfig, identity
from orchestration.inputs import resolve
from orchestration.study import Study


def of(config: RunConfig) -> str:
    return identity(config, resolve(config).for_identity())


def test_paths_seed_and_storage_take_no_part(
    load: Callable[..., Study], weights: Path, tmp_path: Path
) -> None:
    original = load(f"model.backbone.weights={weights}", space={})
    faces, copy = tmp_path / "elsewhere", tmp_path / "renamed.pt"
    shutil.copytree(data_cache.local("synthetic:300x24"), faces)
    shutil.copyfile(weights, copy)
    moved = load(
        f"model.backbone.weights={copy}",
        f"data.root={faces}",
        "seed=7",
        "resources.cpus_per_worker=2",
        "resources.channels_last=false",
        "resources.compile=true",
        "storage=/elsewhere",
        "study=other",
        space={},
    )
    assert of(moved.config()) == of(original.config())
    assert of(moved.config(seed=3)) == of(original.config())


@pytest.mark.parametrize(
    "change",
    [
        "optimizer.lr=0.00011",
        "train.batch_size=65",
        "train.precision=float64",
        "average.name=ema",
        "data.split_seed=1",
        "data.near_duplicates=ignore",
        "data.calibration=true",
        "data.ages=[10, 60]",
        "data.sampling=lds",
        "data.root=synthetic:301x24",
        "model.gender_head=false",
        "model.backbone.weights=null",
    ],
)
def test_what_changes_the_experiment_changes_the_identity(
    load: Callable[..., Study], weights: Path, change: str
) -> None:
    original = load(f"model.backbone.weights={weights}", space={}).config()
    changed = load(f"model.backbone.weights={weights}", change, space={}).config()
    assert of(changed) != of(original)


@pytest.mark.parametrize("setting", ["data.fold=3", "data.folds=benchmark", "data.near_duplicates=together"])
def test_a_setting_that_the_split_does_not_depend_on_takes_no_part(
    load: Callable[..., Study], setting: str
) -> None:
    assert of(load(setting, space={}).config()) == of(load(space={}).config())


def test_other_values_in_the_weights_file_are_another_experiment(
    load: Callable[..., Study], weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / weights.name
    torch.manual_seed(1)
    torch.save(SmallIR.Config(width=8).build().state_dict(), other)
    first, second = (load(f"model.backbone.weights={path}", space={}).config() for path in (weights, other))
    assert of(first) != of(second)


def test_one_experiment_written_in_three_ways_has_one_identity(load: Callable[..., Study]) -> None:
    root = {"root": "synthetic:300x24"}
    nested = load(
        run={"data": root, "optimizer": {"name": "adamw", "lr": 1.0e-3}, "loss": {"gender_weight": 2}}
    )
    dotted = load(
        run={"data": root, "loss.gender_weight": 2.0, "optimizer.lr": "1e-3", "optimizer.name": "adamw"}
    )
    typed = load("optimizer.name=adamw", "optimizer.lr=0.001", "loss.gender_weight=2", run={"data": root})
    explicit = load(run=nested.config().model_dump(mode="json"))
    assert len({of(s.config()) for s in (nested, dotted, typed, explicit)}) == 1
