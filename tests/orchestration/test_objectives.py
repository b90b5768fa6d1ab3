"""A trial's values, the constraints it breaks, and the Pareto front."""

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.constraint import Constraint
from orchestration.objectives import excesses, front, outcome, values
from orchestration.records import Member
from orchestration.study import Objective, Study

LINES = [
    {"val/age_mae": 7.0, "val/age_cs5": 50.0, "train/seconds": 2.0, "train/memory_gib": 1.0},
    {"val/age_mae": 5.0, "val/age_cs5": 60.0, "train/seconds": 3.0, "train/memory_gib": 1.5},
    {"val/age_mae": 6.0, "val/age_cs5": 70.0, "train/seconds": 2.5, "train/memory_gib": 1.25},
]


def test_a_metric_counts_at_the_best_epoch_and_a_cost_over_all() -> None:
    objective = Objective.model_validate(
        [
            {"metric": "val/age_mae"},
            {"metric": "val/age_cs5", "mode": "max"},
            {"metric": "train/seconds"},
            {"metric": "train/memory_gib"},
        ]
    )
    assert values(objective, LINES) == [5.0, 60.0, 7.5, 1.5]


def test_constraints_are_kept_or_broken_by_what_they_say(load: Callable[..., Study]) -> None:
    wanted = ["train/seconds <= 7", "val/age_cs5>=55", "train/gpu_memory_gib <= 10", "val/age_cs5 >= 61"]
    study = load(search={"constraints": wanted})
    assert excesses(study, LINES) == {
        "train/seconds <= 7": 0.5,
        "val/age_cs5 >= 55": -5.0,
        "train/gpu_memory_gib <= 10": -10.0,  # no GPU
        "val/age_cs5 >= 61": 1.0,
    }
    assert outcome(study, LINES)["broken"] == ["train/seconds <= 7", "val/age_cs5 >= 61"]
    assert outcome(study, []) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train/second <= 3", "Did you mean 'train/seconds'?"),
        ("train/seconds < 3", "expected a metric, <= or >="),
        ("train/seconds <= three", "'three' is no number"),
    ],
)
def test_a_constraint_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"no such metric|expected|no number") as caught:
        Constraint.of(text)
    assert words in str(caught.value)


POINTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


@given(POINTS)
def test_the_front_is_optunas(points: list[tuple[int, int]]) -> None:
    objective = Objective.model_validate(
        [{"metric": "val/age_cs5", "mode": "max"}, {"metric": "train/seconds"}]
    )
    members = [Member(f"trials/{i:04d}", values=[float(v) for v in p]) for i, p in enumerate(points)]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"])
    for point in points:
        study.add_trial(optuna.trial.create_trial(values=[float(v) for v in point]))
    assert [m.number for m in front(objective, members)] == [t.number for t in study.best_trials]


TWO = [{"metric": "val/age_mae"}, {"metric": "train/seconds"}]
FAST = ["train/seconds <= 3"]


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"objective": TWO, "search": {"scheduler": "asha"}},
            "search.scheduler: asha stops by one objective",
        ),
        ({"objective": [{"metric": "val/age_mae"}, {"metric": "val/age_mae"}]}, "names a metric twice"),
        ({"objective": [{"metric": "train/seconds"}, {"metric": "val/age_mae"}]}, "objective.metric"),
        ({"search": {"sampler": "cmaes", "constraints": FAST}}, "cmaes knows no constraints"),
        ({"search": {"sampler": "nsga2"}}, "nsga2 breeds from finished trials alone"),
        ({"search": {"constraints": "train/second <= 3"}}, "Did you mean 'train/seconds'?"),
        ({"search": {"start_from": "studdy:x"}}, "study:NAME"),
        ({"search": {"start_from": [{"loss.gender_wait": 1.0}]}}, "loss.gender_wait is not searched"),
        ({"search": {"start_from": [{"loss.gender_weight": 99.0}]}}, "99.0 lies outside"),
        ({"budget": {"epochs": 2}}, "budget.epochs: 2 leave nothing for the search"),
        ({"budget": {"hour": 2}}, "budget.hour"),
        ({"resources": {"stall_minutes": 0}}, "stall_minutes must be auto or above 0"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(
    load: Callable[..., Study], sections: dict[str, Any], words: str
) -> None:
    from orchestration.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        load(**sections)
    assert words in str(caught.value)


def test_several_objectives_have_no_scheduler_and_their_file_reads_back(load: Callable[..., Study]) -> None:
    study = load(objective=[{"metric": "val/age_mae"}, {"metric": "train/seconds"}], search={"trials": 3})
    assert study.search.scheduler == "none"
    assert Study.model_validate(study.model_dump(mode="json")) == study
