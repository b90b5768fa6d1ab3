"""search_spaces/paper/: each row is the paper's, whatever this project's defaults become."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration import published, study_file
from orchestration.config import RunConfig
from orchestration.layers import flatten

LIBRARY = Path(__file__).parents[2] / "search_spaces"
FILES = sorted(LIBRARY.rglob("*.yaml"))
# What base.yaml need not state: other protocols' settings, frozen mode, and who is asked for.
ELSEWHERE = {
    *("seed", "data.folds", "data.fold", "data.listing", "data.train_on", "data.ages"),
    *("optimizer.head_lr", "references.every"),
}


def row(name: str) -> RunConfig:
    return study_file.load(f"paper/{name}.yaml").config()


def values(config: RunConfig) -> dict[str, Any]:
    return flatten(config.model_dump(mode="json"))


def changes(name: str, other: str) -> dict[str, Any]:
    """The values of `name` that `other` does not have."""
    before = values(row(other))
    return {k: v for k, v in values(row(name)).items() if k not in before or before[k] != v}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_study_file_opens_with_the_command_that_runs_it(path: Path) -> None:
    command, _, name = path.read_text().splitlines()[0].removeprefix("# python -m ").partition(" --space ")
    keys = yaml.safe_load(path.read_text()).keys()
    wanted = "ablate" if "ablation" in keys else "tune" if "space" in keys else "train"
    assert command == f"orchestration.{wanted}"
    assert name.split()[0] == path.relative_to(LIBRARY).as_posix()


def test_base_states_every_value_so_that_no_default_of_ours_reaches_a_row() -> None:
    stated = flatten(yaml.safe_load((LIBRARY / "paper/base.yaml").read_text())["run"])
    resolved = {path for path in values(row("base")) if not path.startswith("features.")}
    assert resolved - stated.keys() == ELSEWHERE
    assert stated.keys() <= resolved


def test_the_recipe_is_the_papers() -> None:
    """Section IV-A, and what the released code adds to it."""
    whole = values(row("agedb_rapl_gp"))
    expected = {
        "model.backbone.name": "ir50",
        "model.age_head.name": "evr",
        "model.position_head.name": "rapl",
        "model.gender_head": True,
        "loss.gender_weight": 1.0,
        "loss.position_weight": 1.0,
        "optimizer.name": "adam_l2",
        "optimizer.lr": 1e-5,
        "optimizer.weight_decay": 1e-2,
        "optimizer.decay_all": True,
        "optimizer.head_lr_scale": 1.0,
        "schedule.gamma": 0.1,
        "schedule.every": 10,
        "train.epochs": 30,
        "train.batch_size": 64,
        "references.name": "min_error",
        "references.refresh": "every_epoch",
    }
    assert {path: whole[path] for path in expected} == expected


def test_the_rows_of_table_3_differ_in_their_heads_alone() -> None:
    off, no_rapl = {"model.gender_head": False}, {"model.position_head.name": "none"}
    assert changes("agedb_rapl", "agedb_rapl_gp") == off
    assert changes("agedb_gp", "agedb_rapl_gp") == no_rapl
    assert changes("agedb_evr", "agedb_rapl_gp") == off | no_rapl
    assert changes("agedb_fc", "agedb_evr") == {"model.age_head.name": "fc"}


@pytest.mark.parametrize("method", ["rapl_gp", "rapl", "gp", "evr", "fc"])
def test_afad_has_agedbs_rows(method: str) -> None:
    assert changes(f"afad_{method}", f"agedb_{method}").keys() == {"data.root"}


def test_cacd_has_no_gender_people_apart_and_a_tenth_of_the_rate() -> None:
    changed = changes("cacd_rapl", "agedb_rapl")
    assert changed.pop("data.root").endswith("faces/cacd")
    assert changed == {"data.protocol": "official", "optimizer.lr": 1e-6}
    assert not any(row(f"cacd_{method}").model.gender_head for method in ("rapl", "evr", "fc", "dex"))


def test_corals_recipe_is_its_released_codes_and_ir50_keeps_the_papers_rate() -> None:
    coral = values(row("afad_coral_resnet34"))
    expected = {
        "data.ages": [15, 40],
        "augment.name": "random_crop",
        "augment.size": 120,
        "train.epochs": 200,
        "train.batch_size": 256,
        "optimizer.lr": 5e-4,
        "optimizer.weight_decay": 0.0,
        "schedule.name": "constant",
        "model.backbone.weights": None,
        "model.backbone.mean": [0.0, 0.0, 0.0],
        "model.backbone.std": [1.0, 1.0, 1.0],
    }
    assert {path: coral[path] for path in expected} == expected
    changed = changes("afad_coral_ir50", "afad_coral_resnet34")
    assert changed["optimizer.lr"] == 1e-5
    assert {path.rpartition(".")[0] for path in changed} == {"optimizer", "model.backbone"}


def test_every_row_that_is_compared_with_a_published_number_is_there() -> None:
    names = {p.ours for p in published.load() if p.ours is not None}
    assert names <= {path.relative_to(LIBRARY).as_posix() for path in FILES}
    assert len(names) == 14
