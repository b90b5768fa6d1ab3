"""The `ablation:` section: what it makes of a file, and mistakes in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration import cells, study_file
from orchestration.ablation import Ablation
from orchestration.errors import ConfigError
from orchestration.study import Study

EXPLICIT: dict[str, Any] = {
    "base": "evr",
    "variants": {
        "fc": {"model": {"age_head": {"name": "fc"}}},
        "evr": None,
        "evr+gp": {"model.gender_head": False},
    },
    "seeds": 3,
}
COMPONENTS = {  # as YAML gives `off` and `on`
    "gender": {False: {"model.gender_head": False}, True: {"model.gender_head": True}},
    "position": {
        False: {"model.position_head.name": "none"},
        True: {"model.position_head.name": "rapl"},
    },
}


@pytest.fixture
def of(load: Callable[..., Study]) -> Callable[..., Study]:
    """The tiny study with an ablation and no space."""

    def make(section: dict[str, Any], *overrides: str, space: dict[str, Any] | None = None) -> Study:
        return load(*overrides, space=space or {}, ablation=section)

    return make


def _labels(study: Study, folds: int = 1) -> list[str]:
    return [arm.label for arm in cells.arms(study, lambda config: folds)]


def test_variants_lie_on_the_run_and_pairs_end_together(of: Callable[..., Study]) -> None:
    study = of(EXPLICIT)
    made = cells.cells(study, cells.arms(study, lambda config: 1))
    assert [m.name for m in made[:4]] == [
        "cells/fc-seed0", "cells/evr-seed0", "cells/evr+gp-seed0", "cells/fc-seed1"]  # fmt: skip
    assert len(made) == 9
    config = study.config(made[3].params, made[3].seed)
    assert (config.model.age_head.name, config.seed, config.train.epochs) == ("fc", 1, 2)
    assert made[2].cell == {"variant": "evr+gp", "dataset": "", "split": 0}


def test_yaml_reads_off_and_on_as_booleans_and_they_are_levels_all_the_same(of: Callable[..., Study]) -> None:
    study = of({"design": "factorial", "components": COMPONENTS, "seeds": 1})
    assert _labels(study) == ["none", "position-on", "gender-on", "gender-on+position-on"]
    both = study.config(cells.arms(study, lambda config: 1)[-1].values)
    assert both.model.gender_head and both.model.position_head.name == "rapl"


def test_splits_and_data_sets_are_factors(of: Callable[..., Study]) -> None:
    study = of({**EXPLICIT, "splits": 2, "datasets": {"a": {}, "b": {"data.root": "synthetic:200x24"}}})
    arms = cells.arms(study, lambda config: 1)
    assert _labels(study)[3:6] == ["fc-a-split1", "evr-a-split1", "evr+gp-a-split1"]
    assert [study.config(arm.values).data.split_seed for arm in arms[::3]] == [0, 1, 0, 1]
    assert study.config(arms[-1].values).data.root == "synthetic:200x24"


def test_folds_are_all_that_the_protocol_has(of: Callable[..., Study]) -> None:
    study = of({**EXPLICIT, "splits": "folds"}, "data.protocol=leave_one_identity_out")
    arms = cells.arms(study, lambda config: 82)
    assert len(arms) == 3 * 82
    assert study.config(arms[-1].values).data.fold == 81 and arms[-1].label == "evr+gp-fold81"


def test_seeds_of_searched_arms_are_fresh(of: Callable[..., Study]) -> None:
    space = {"loss.gender_weight": {"low": 0.1, "high": 10}}
    assert cells.seeds(of(EXPLICIT)) == [0, 1, 2]
    assert cells.seeds(of(EXPLICIT, space=space)) == [1, 2, 3]


def test_the_search_inside_an_arm_is_on_its_values(of: Callable[..., Study]) -> None:
    study = of(EXPLICIT, space={"loss.gender_weight": {"low": 0.1, "high": 10}})
    arm = cells.arms(study, lambda config: 1)[0]
    sub = cells.sub_study(study, arm, "/root/searches")
    assert sub.config().model.age_head.name == "fc" and sub.search == study.search
    assert (sub.study, sub.storage, sub.ablation) == ("fc", "/root/searches", None)
    tuned = cells.cells(study, [arm], {"fc": {"loss.gender_weight": 7.0}})
    config = study.config(tuned[0].params)
    assert (config.loss.gender_weight, config.model.age_head.name) == (7.0, "fc")


def test_paths_in_variants_do_not_depend_on_where_the_command_is_typed(of: Callable[..., Study]) -> None:
    study = of({**EXPLICIT, "datasets": {"a": {"data": {"root": "faces/a"}}}})
    arms = cells.arms(study, lambda config: 1)
    assert arms[0].values["data.root"] == str(Path("faces/a").absolute())


def test_seeds_may_be_raised_and_nothing_else(of: Callable[..., Study]) -> None:
    assert of(EXPLICIT, "ablation.seeds=7").ablation == Ablation.model_validate({**EXPLICIT, "seeds": 7})


@pytest.mark.parametrize("name", ["ablation_components.yaml", "ablation_backbone.yaml"])
def test_the_papers_tables_are_files(name: str) -> None:
    study = study_file.load(name)
    assert study.ablation is not None and study.ablation.seeds == 10
    assert all(study.config(arm.values) for arm in cells.arms(study, lambda config: 1))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({**EXPLICIT, "base": "evrr"}, "base 'evrr' is none of the variants.*Did you mean 'evr'"),
        ({"variants": {"a": {}}}, "at least two variants"),
        ({**EXPLICIT, "components": COMPONENTS}, "components belong to the other designs"),
        ({"design": "factorial"}, "design: factorial needs components"),
        ({"design": "add_one", "components": {"a": {"off": {}}}}, "component a needs at least two levels"),
        ({"design": "fractional", "components": COMPONENTS}, "2 components can be halved none times"),
        ({"variants": {"a/b": {}, "c": {}}}, "'a/b' names a folder"),
        ({**EXPLICIT, "splits": 0}, "1 to 1000 random splits"),
        ({**EXPLICIT, "seed": 3}, r"ablation.seed: unknown key. Did you mean 'ablation.seeds'"),
        (
            {"variants": {"a": {"model.gender_haed": True}, "b": {}}},
            r"ablation: a: model.gender_haed: unknown key. Did you mean 'model.gender_head'",
        ),
        ({"variants": {"a": {}, "b": {"loss.gender_weight": 1.0}}}, "ablation: b: is the same run as a"),
        ({**EXPLICIT, "splits": "folds"}, "folds needs data.protocol folds or leave_one_identity_out"),
        (
            {"variants": {"a": {}, "a-x": {"seed": 1}}, "datasets": {"x-y": {}, "y": {}}},
            "two arms would share the folder a-x-y",
        ),
    ],
)
def test_mistakes_are_said_before_anything_starts(
    of: Callable[..., Study], section: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        of(section)


def test_heads_cannot_matter_on_frozen_features_without_a_neck(of: Callable[..., Study]) -> None:
    with pytest.raises(ConfigError, match="evr\\+gp: cannot affect age with a frozen backbone and no neck"):
        of(EXPLICIT, "model.train_backbone=false", "model.backbone.weights=w.pt")
