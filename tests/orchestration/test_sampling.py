"""Points of the space: what is drawn when, as which type, and that Optuna can take them back."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from orchestration.config import RunConfig
from orchestration.frozen_trials import distribution
from orchestration.space import encoded, grid, input_variants, own_values, sample, varying_keys
from orchestration.study import Study

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE: dict[str, Any] = {
    # Conditions name what is written below them: order in the file does not matter.
    "model.neck.width": {"low": 8, "high": 64, "log": True, "when": {"model.neck.name": "mlp"}},
    "model.neck.name": {"choices": ["none", "mlp"]},
    "model.neck.norm": {"choices": ["none", "layer"], "when": {"model.neck.name": ["mlp"]}},
    "model.neck.dropout": {
        "low": 0, "high": 0.5, "when": {"model.neck.name": "mlp", "model.neck.norm": "layer"},
    },
    "references.missing": {
        "choices": ["interpolate", "zeros"], "when": {"model.position_head.name": "rapl"},
    },
    "model.position_head.name": {"choices": ["rapl", "aux_ce", "none"]},
    "features.views": {"choices": [["identity"], ["identity", "hflip"]]},
    "optimizer.lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "train.batch_size": {"low": 16, "high": 64},
}  # fmt: skip


@pytest.fixture
def wide(load: Callable[..., Study]) -> Study:
    return load(space=SPACE)


def points(study: Study, count: int = 200) -> list[dict[str, Any]]:
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [sample(study, asked.ask()) for _ in range(count)]


def test_a_parameter_is_drawn_exactly_where_its_condition_holds(wide: Study) -> None:
    for point in points(wide):
        mlp = point["model.neck.name"] == "mlp"
        assert ("model.neck.width" in point) is mlp
        assert ("model.neck.norm" in point) is mlp
        assert ("model.neck.dropout" in point) is (mlp and point["model.neck.norm"] == "layer")
        assert ("references.missing" in point) is (point["model.position_head.name"] == "rapl")


def test_a_condition_on_a_default_value_holds(load: Callable[..., Study]) -> None:
    space = {"loss.gender_weight": {"low": 0.1, "high": 1, "when": {"model.gender_head": True}}}
    assert all("loss.gender_weight" in point for point in points(load(space=space), 3))


def test_features_are_made_for_a_choice_that_depends_on_another_searched_value(
    load: Callable[..., Study],
) -> None:
    space = {
        "model.neck.name": {"choices": ["none", "mlp"]},
        "features.views": {
            "choices": [["identity"], ["identity", "hflip"]],
            "when": {"model.neck.name": "mlp"},
        },
    }
    views = {config.features.views for config in input_variants(load(space=space))}
    assert views == {("identity",), ("identity", "hflip")}


def test_values_have_their_types_and_stay_in_their_bounds(wide: Study) -> None:
    drawn = points(wide)
    widths = [point["model.neck.width"] for point in drawn if "model.neck.width" in point]
    assert {type(width) for width in widths} == {int} and 8 <= min(widths) <= max(widths) <= 64
    assert {type(point["train.batch_size"]) for point in drawn} == {int}
    assert all(1e-5 <= point["optimizer.lr"] <= 1e-3 for point in drawn)
    # Logarithmic: half of the draws lie below the geometric mean, 1e-4 (200 draws; sd 7).
    assert 70 <= sum(point["optimizer.lr"] < 1e-4 for point in drawn) <= 130
    views = Counter(json.dumps(point["features.views"]) for point in drawn)
    assert set(views) == {'["identity"]', '["identity", "hflip"]'}


def test_every_point_is_a_run(wide: Study) -> None:
    for point in points(wide, 50):
        run = wide.config(point)
        assert run.optimizer.lr == point["optimizer.lr"]
        assert run.features.views == tuple(point["features.views"])
        assert run.model.neck.name == point["model.neck.name"]


def test_a_drawn_point_can_be_given_back_to_optuna(wide: Study) -> None:
    """`distribution` is what `sample` draws from: Optuna refuses a parameter whose two disagree."""
    drawn = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    again = optuna.create_study()
    for _ in range(50):
        trial = drawn.ask()
        point = sample(wide, trial)
        ours = {path: distribution(path, wide.space[path]) for path in point}
        assert ours == trial.distributions
        assert encoded(wide, point) == trial.params
        again.add_trial(
            create_trial(
                state=TrialState.COMPLETE, value=1.0, params=encoded(wide, point), distributions=ours
            )
        )
    assert len(again.trials) == 50


def test_the_files_own_point_follows_the_conditions(wide: Study) -> None:
    assert own_values(wide) == {
        "model.neck.name": "none",
        "model.position_head.name": "rapl",
        "references.missing": "interpolate",
        "features.views": ["identity"],
        "optimizer.lr": 1e-4,
        "train.batch_size": 64,
    }


@pytest.mark.parametrize(
    ("path", "choices"),
    [
        ("loss.gender_weight", [1, 10]),  # YAML's 1 for the run's 1.0
        ("optimizer.lr", ["1e-4", "1e-3"]),  # strings in YAML 1.1
        ("train.batch_size", [16, 64]),
        ("features.views", [["identity"], ["hflip", "identity"]]),
        ("model.backbone.weights", [None, "a.pth"]),
        ("model.gender_head", [True, False]),
    ],
)
def test_the_files_own_value_is_found_among_choices_however_they_are_written(
    load: Callable[..., Study], path: str, choices: list[Any]
) -> None:
    study = load(space={path: {"choices": choices}})
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    asked.enqueue_trial(encoded(study, own_values(study)))
    assert study.config(sample(study, asked.ask())) == study.config()


def test_inputs_of_all_trials_are_known_beforehand(load: Callable[..., Study]) -> None:
    space = {
        "features.views": {"choices": [["identity"], ["identity", "hflip"]]},
        "data.split_seed": {"choices": [0, 1, 2]},
        "loss.gender_weight": {"low": 0.1, "high": 10},
    }
    study = load("model.neck.name=mlp", "model.train_backbone=false", space=space)

    def reads(run: RunConfig) -> tuple[object, ...]:
        return run.features.views, run.data.split_seed

    variants = {reads(run) for run in input_variants(study)}
    assert len(variants) == 6
    assert {reads(study.config(point)) for point in points(study, 100)} == variants


def test_the_union_of_keys_covers_every_trial(wide: Study) -> None:
    keys = set(varying_keys(wide))
    from orchestration.layers import flatten

    for point in points(wide, 50):
        assert set(flatten(wide.config(point).model_dump(mode="json"))) <= keys


def test_a_grid_is_every_combination_once_and_what_does_not_apply_is_left_out(
    load: Callable[..., Study],
) -> None:
    names, norms = ["none", "mlp"], ["none", "layer"]
    space = {
        "model.neck.norm": {"choices": norms, "when": {"model.neck.name": "mlp"}},
        "model.neck.name": {"choices": names},
        "model.position_head.name": {"choices": ["rapl", "none"]},
    }
    heads = [{"model.position_head.name": "rapl"}, {"model.position_head.name": "none"}]
    necks = [{"model.neck.name": "none"}] + [
        {"model.neck.name": "mlp", "model.neck.norm": norm} for norm in norms
    ]
    points = grid(load("search.sampler=grid", space=space))
    assert len(points) == 6
    assert all({**neck, **head} in points for neck in necks for head in heads)
