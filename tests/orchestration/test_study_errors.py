"""Every mistake in a study file is one message that names path, value and what is allowed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model.network import Network
from orchestration import study_file
from orchestration.errors import ConfigError, UserError
from orchestration.study import Study

ROOT = Path(__file__).parents[2]
LOG = {"low": 0.1, "high": 10, "log": True}


def problems(load: Callable[..., Study], *overrides: str, **sections: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, **sections)
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        # Unknown keys, at every level, with the nearest right one.
        ("modle.neck.name=mlp", ["modle: unknown key", "Did you mean 'model'?"]),
        ("model.age_heed.name=fc", ["model.age_heed: unknown key", "Did you mean 'model.age_head'?"]),
        (
            "model.backbone.widht=8",
            ["model.backbone.widht: unknown key", "Did you mean 'model.backbone.width'?"],
        ),
        ("search.trails=8", ["search.trails: unknown key", "Did you mean 'search.trials'?"]),
        ("resources.worker=2", ["resources.worker: unknown key", "Did you mean 'resources.workers'?"]),
        ("optimizer.zzz=1", ["optimizer.zzz: unknown key", "Allowed here", "lr", "weight_decay"]),
        # Wrong types.
        ("train.epochs=many", ["train.epochs", "integer", "'many'"]),
        ("train.epochs=2.5", ["train.epochs", "integer", "2.5"]),
        ("loss.gender_weight=[1]", ["loss.gender_weight", "number", "[1]"]),
        ("model.gender_head=perhaps", ["model.gender_head", "boolean", "'perhaps'"]),
        ("search.trials=some", ["search.trials", "integer", "'some'"]),
        # Out of bounds.
        ("train.batch_size=1", ["train.batch_size", "greater than or equal to 2", "received 1"]),
        ("optimizer.lr=0", ["optimizer.lr", "greater than 0", "received 0"]),
        ("optimizer.lr=.nan", ["optimizer.lr", "nan"]),
        ("loss.gender_weight=.nan", ["loss.gender_weight", "finite", "nan"]),
        ("search.reduction=1", ["search.reduction", "greater than 1"]),
        # A choice that there is not.
        (
            "model.age_head.name=evrr",
            ["model.age_head.name", "'evrr'", "fc, fc_norm, evr", "Did you mean 'evr'?"],
        ),
        (
            "data.protocol=subject_exclusiv",
            ["data.protocol", "image_random", "'subject_exclusiv'", "Did you mean 'subject_exclusive'?"],
        ),
        ("search.sampler=tp", ["search.sampler", "'random' or 'grid'", "Did you mean 'tpe'?"]),
        ("data.root=", ["data.root", "None"]),
        # Judged by the test part.
        ("objective.metric=test/age_mae", ["objective.metric", "test/age_mae"]),
        ("objective.metric=val/nope", ["objective.metric", "val/age_mae", "'val/nope'"]),
        ("objective.metric=val/age_cs5", ["objective", "val/age_cs5", "set objective.mode: max"]),
        ("study=a/b", ["study", "'a/b'"]),
        ("study=features", ["study", "features lies beside the studies"]),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(
    load: Callable[..., Study], override: str, words: list[str]
) -> None:
    text = problems(load, override, space={})
    assert all(word in text for word in words), text
    assert len(text.splitlines()) == 1


def test_a_grid_of_ranges_is_refused(load: Callable[..., Study]) -> None:
    text = problems(load, "search.sampler=grid")
    assert "space.loss.gender_weight: a grid needs choices" in text
    assert "space.loss.position_weight: a grid needs choices" in text


def test_a_value_in_a_sections_place_is_refused(load: Callable[..., Study]) -> None:
    with pytest.raises(UserError, match=r"model\.neck: is a section, received the value 'mlp'"):
        load("model.neck=mlp")


def test_an_empty_section_is_refused(load: Callable[..., Study]) -> None:
    with pytest.raises(UserError, match=r"override optimizer\.name: received an empty section"):
        load("optimizer.name={}")


def test_a_section_of_a_plain_value_is_refused(load: Callable[..., Study]) -> None:
    assert "search.trials" in problems(load, "search.trials.x=3")


def test_an_unknown_section_is_answered_with_the_nearest(load: Callable[..., Study]) -> None:
    assert "serach: unknown key. Did you mean 'search'?" in problems(load, serach={"trials": 3})


def test_a_missing_data_set_is_asked_for(load: Callable[..., Study]) -> None:
    assert "data.root: missing" in problems(load, run={"data": {"protocol": "image_random"}}, space={})


def test_workers_and_launcher_must_agree(load: Callable[..., Study]) -> None:
    text = problems(load, "resources.workers=2")
    assert "workers above 1 need launcher train" in text


@pytest.mark.parametrize(
    "space", [{}, {"train.batch_size": {"low": 5, "high": 64}}, {"train.batch_size": {"choices": [64, 5]}}]
)
def test_a_batch_must_give_every_worker_a_share_of_two(
    load: Callable[..., Study], space: dict[str, Any]
) -> None:
    size = "train.batch_size=5" if not space else "train.epochs=2"
    workers = ("resources.workers=3", "resources.launcher=train")
    text = problems(load, size, *workers, space=space)
    assert all(word in text for word in ("train.batch_size", "5", "3 workers", "at least 6")), text
    load("train.batch_size=6", *workers, space={})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"loss.gender_wieght": LOG}, ["space.loss.gender_wieght", "Did you mean 'loss.gender_weight'?"]),
        ({"seed": {"low": 0, "high": 9}}, ["space.seed", "final.seeds"]),
        ({"loss.gender_weight": {"lo": 0.1, "high": 1}}, ["space.loss.gender_weight.lo: unknown key"]),
        ({"loss.gender_weight": {"low": 1, "high": 0.1}}, ["low 1 must be below high 0.1"]),
        ({"loss.gender_weight": {"low": 0, "high": 1, "log": True}}, ["log needs low above 0"]),
        ({"loss.gender_weight": {"low": 1}}, ["either low and high, or choices"]),
        ({"loss.gender_weight": {"low": 1, "high": 2, "choices": [1]}}, ["either low and high, or choices"]),
        # Bounds and choices that a run refuses.
        (
            {"optimizer.lr": {"low": 1e-5, "high": 2}},
            ["space.optimizer.lr", "less than or equal to 1", "received 2"],
        ),
        (
            {"model.age_head.name": {"choices": ["evr", "evrr"]}},
            ["space.model.age_head.name", "'evrr'", "fc_norm"],
        ),
        (
            {"features.views": {"choices": [["identity"], ["flip"]]}},
            ["space.features.views", "'flip'", "hflip"],
        ),
        ({"train.batch_size": {"low": 16.5, "high": 64}}, ["space.train.batch_size", "whole numbers"]),
        # Parameters that exist only with another class, or never.
        (
            {"model.neck.dropout": {"low": 0, "high": 0.5}},
            ["space.model.neck.dropout", "model.neck.name: mlp", "`when`"],
        ),
        ({"schedule.gamma": LOG}, ["space.schedule.gamma", "schedule.name: step", "`when`"]),
        (
            {"loss.gender_weight": {**LOG, "when": {"model.gender_haed": True}}},
            ["space.loss.gender_weight.when.model.gender_haed", "Did you mean 'model.gender_head'?"],
        ),
        (
            {
                "loss.gender_weight": {**LOG, "when": {"loss.position_weight": 1}},
                "loss.position_weight": {**LOG, "when": {"loss.gender_weight": 1}},
            },
            ["space.loss.gender_weight.when", "circle"],
        ),
        # The first trial is the file's own values.
        (
            {"loss.gender_weight": {"low": 2, "high": 3}},
            ["space.loss.gender_weight", "1.0", "outside", "start_from: none"],
        ),
        (
            {"model.age_head.name": {"choices": ["fc", "fc_norm"]}},
            ["space.model.age_head.name", "'evr'", "outside"],
        ),
        ({"train.epochs": {"low": 1, "high": 9}}, ["space.train.epochs", "search.scheduler: none"]),
    ],
)
def test_a_wrong_space_is_refused_before_anything_starts(
    load: Callable[..., Study], space: dict[str, Any], words: list[str]
) -> None:
    text = problems(load, space=space)
    assert all(word in text for word in words), text


def test_a_range_needs_a_number(load: Callable[..., Study]) -> None:
    text = problems(load, space={"model.gender_head": {"low": 0, "high": 1}})
    assert "space.model.gender_head" in text and "choices" in text


@pytest.mark.parametrize("path", ["data.split_seed", "model.backbone.width"])
def test_what_decides_a_runs_inputs_is_searched_by_choices(load: Callable[..., Study], path: str) -> None:
    """They are enumerated before trials start, which a range does not allow."""
    text = problems(load, space={path: {"low": 4, "high": 9}}, search={"start_from": "none"})
    assert f"space.{path}" in text and "choices" in text


def test_the_weight_of_position_is_not_searched_where_it_cannot_reach_age(
    load: Callable[..., Study],
) -> None:
    frozen = "model.train_backbone=false"
    space = {"loss.position_weight": LOG}
    text = problems(load, frozen, space=space)
    assert "space.loss.position_weight" in text and "model.neck.name: mlp" in text
    assert load(frozen, "model.neck.name=mlp", space=space).config().frozen


def test_all_mistakes_are_listed_at_once(load: Callable[..., Study]) -> None:
    text = problems(
        load,
        "train.batch_size=1",
        "model.age_head.name=xyz",
        "search.trials=0",
        serach={},
        space={"loss.gender_weight": {"low": 3, "high": 2}},
    )
    for words in ("batch_size", "age_head.name", "search.trials", "serach", "space.loss.gender_weight"):
        assert words in text
    assert len(text.splitlines()) == 5


def test_several_wrong_parameters_of_a_space_are_listed_at_once(load: Callable[..., Study]) -> None:
    space = {"optimizer.lr": {"low": 1e-5, "high": 2}, "loss.x": LOG, "schedule.gamma": LOG}
    assert len(problems(load, space=space).splitlines()) == 3


@pytest.mark.parametrize("section", ["run", "space", "search", "resources"])
@pytest.mark.parametrize("content", [5, ["a"], "text"])
def test_a_section_that_is_no_mapping_is_refused_in_words(
    load: Callable[..., Study], section: str, content: Any
) -> None:
    assert section in problems(load, **{section: content})


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words", "a: [1", "\x00"])
def test_a_file_that_is_no_study_is_refused_in_words(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.yaml"):
        study_file.load(str(path))


def test_a_misspelt_name_is_answered_with_the_nearest_of_the_library() -> None:
    with pytest.raises(UserError, match=r"Did you mean 'demo\.yaml'\?"):
        study_file.load("dmeo.yaml")


@pytest.mark.parametrize("path", sorted((ROOT / "search_spaces").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_study_file_of_the_library_is_right_and_its_network_builds(path: Path) -> None:
    loaded = study_file.load(str(path))
    model = loaded.config().model
    with torch.device("meta"):
        network = Network(model, range(1, 101), 40.0, 15.0, 128 if not model.train_backbone else None)
    assert sum(parameter.numel() for parameter in network.parameters()) > 1000
