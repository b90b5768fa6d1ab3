"""Layers of dotted values: what a higher layer replaces, drops and keeps; overrides as typed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.errors import ConfigError, UserError
from orchestration.layers import flatten, layered, nest, parse_overrides
from orchestration.study import Study

KEYS = st.text("abcxyz_", min_size=1, max_size=4)
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=3), st.lists(st.integers()))
TREES = st.recursive(
    st.dictionaries(KEYS, VALUES, min_size=1, max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(VALUES, inner), min_size=1, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_nest_undoes_flatten(tree: dict[str, object]) -> None:
    assert nest(flatten(tree)) == tree


def test_a_dotted_key_and_a_nested_one_are_the_same() -> None:
    assert flatten({"a.b": 1, "a": {"c": {"d": 2}}}) == {"a.b": 1, "a.c.d": 2}


@pytest.mark.parametrize("flat", [{"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}])
def test_a_path_is_a_value_or_a_section_but_not_both(flat: dict[str, int]) -> None:
    with pytest.raises(UserError, match="a"):
        nest(flat)


def test_a_higher_layer_wins_and_leaves_the_rest() -> None:
    assert layered([{"a": 1, "b": 1}, {"b": 2, "c": 2}, {"c": 3}]) == {"a": 1, "b": 2, "c": 3}


def test_another_class_drops_what_lower_layers_said_of_the_old_one() -> None:
    below = {"x.name": "old", "x.k": 1, "x.deep.er": 2, "xy.k": 3}
    above = {"x.j": 5, "x.name": "new"}
    assert layered([below, above]) == {"x.name": "new", "x.j": 5, "xy.k": 3}


def test_the_same_class_named_again_drops_nothing() -> None:
    assert layered([{"x.name": "a", "x.k": 1}, {"x.name": "a"}]) == {"x.name": "a", "x.k": 1}


def test_a_class_changed_on_the_command_line_starts_from_that_classs_defaults(
    load: Callable[..., Study],
) -> None:
    run = {
        "data": {"root": "synthetic:300x24"},
        "model": {"neck": {"name": "mlp", "width": 8, "dropout": 0.5}},
    }
    study = load("model.neck.name=none", run=run, space={})
    assert study.config().model.neck.model_dump() == {"name": "none"}
    study = load("model.neck.width=9", run=run, space={})
    assert study.config().model.neck.model_dump() == {
        "name": "mlp", "width": 9, "depth": 1, "dropout": 0.5, "norm": "none",
    }  # fmt: skip


def test_a_key_of_another_class_in_the_same_layer_is_an_error(load: Callable[..., Study]) -> None:
    run = {"data": {"root": "synthetic:300x24"}, "model": {"neck": {"name": "none", "width": 8}}}
    with pytest.raises(ConfigError, match=r"model\.neck\.width"):
        load(run=run, space={})
    with pytest.raises(ConfigError, match=r"model\.neck\.width"):
        load("model.neck.name=none", "model.neck.width=8", space={})


def test_overrides_are_read_as_yaml() -> None:
    typed = ["a.b=0.5", "c=true", "d=[identity, hflip]", "e=", "f={g: 1}", "h=x=y"]
    assert parse_overrides(typed) == {
        "a.b": 0.5, "c": True, "d": ["identity", "hflip"], "e": None, "f.g": 1, "h": "x=y",
    }  # fmt: skip


@pytest.mark.parametrize("typed", ["lr", "=3", "a=[1"])
def test_what_is_no_override_is_refused_in_words(typed: str) -> None:
    with pytest.raises(UserError, match=r"override"):
        parse_overrides([typed])


def test_1e_4_without_a_dot_is_a_number_everywhere(load: Callable[..., Study]) -> None:
    study = load("optimizer.lr=1e-4", space={"optimizer.lr": {"low": "1e-5", "high": "1e-3"}})
    assert study.config().optimizer.lr == 0.0001
    assert study.space == {}  # a value given on the command line is not searched
    study = load(space={"optimizer.lr": {"low": "1e-5", "high": "1e-3", "log": True}})
    assert (study.space["optimizer.lr"].low, study.space["optimizer.lr"].high) == (1e-5, 1e-3)


def test_run_and_space_of_the_file_give_way_to_the_command_line(load: Callable[..., Study]) -> None:
    study = load("loss.position_weight=3", "search.trials=7", "train.epochs=5")
    assert study.config().loss.position_weight == 3
    assert list(study.space) == ["loss.gender_weight"]
    assert (study.search.trials, study.search.startup, study.config().train.epochs) == (7, 2, 5)
