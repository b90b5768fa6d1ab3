"""Ablation designs: their variants, and effects that give back a known truth."""

import itertools

import numpy as np
import pytest

from orchestration import designs
from orchestration.designs import Choice, Design, Effect
from orchestration.fractional import fractional

THREE = {"gender": ["off", "on"], "position": ["off", "on"], "references": ["random", "min_error"]}


def _estimate(effect: Effect, responses: dict[str, float]) -> float:
    return sum(weight * responses[variant] for variant, weight in effect.weights.items())


def _responses(
    design: Design, mains: dict[str, float], pairs: dict[tuple[str, str], float]
) -> dict[str, float]:
    """y = Σ ½·effect·(±1) + Σ ½·interaction·(±1)(±1): the usual model of a two-level design."""

    def sign(choice: Choice, component: str) -> float:
        return -1.0 if choice[component] in ("off", "random") else 1.0

    return {
        name: 5.0
        + sum(0.5 * e * sign(choice, c) for c, e in mains.items())
        + sum(0.5 * e * sign(choice, a) * sign(choice, b) for (a, b), e in pairs.items())
        for name, choice in design.variants.items()
    }


def test_leave_one_out_takes_each_component_from_the_whole() -> None:
    design = designs.leave_one_out(THREE)
    assert design.base == "all"
    assert design.variants["all"] == {"gender": "on", "position": "on", "references": "min_error"}
    assert design.compared == ["gender-off", "position-off", "references-random"]
    assert design.variants["position-off"] == {**design.variants["all"], "position": "off"}


def test_add_one_gives_every_other_level_to_the_bare_model() -> None:
    design = designs.add_one({"gender": ["off", "on"], "head": ["fc", "evr", "coral"]})
    assert design.variants["none"] == {"gender": "off", "head": "fc"}
    assert design.compared == ["gender-on", "head-evr", "head-coral"]


def test_a_factorial_has_every_combination_once() -> None:
    design = designs.factorial(THREE)
    combinations = {tuple(choice.values()) for choice in design.variants.values()}
    assert combinations == set(itertools.product(*THREE.values())) and len(design.variants) == 8
    assert design.base == "none" and design.variants["none"]["references"] == "random"
    assert "gender-on+references-min_error" in design.variants


def test_effects_of_a_factorial_are_those_that_made_the_responses() -> None:
    design = designs.factorial(THREE)
    mains = {"gender": -0.04, "position": -0.02, "references": 0.01}
    pairs = {("gender", "position"): 0.03}
    responses = _responses(design, mains, pairs)
    found = {effect.name: _estimate(effect, responses) for effect in design.effects}
    assert found == pytest.approx(
        {**mains, "gender × position": 0.03, "gender × references": 0, "position × references": 0}
    )


def test_effects_of_several_levels_are_against_the_first_by_hand() -> None:
    design = designs.factorial({"gender": ["off", "on"], "head": ["fc", "evr", "coral"]})
    responses = {"none": 6.0, "head-evr": 5.0, "head-coral": 5.5,
                 "gender-on": 6.2, "gender-on+head-evr": 4.8, "gender-on+head-coral": 5.5}  # fmt: skip
    found = {effect.name: _estimate(effect, responses) for effect in design.effects}
    assert found["gender"] == pytest.approx((0.2 - 0.2 + 0.0) / 3)
    assert found["head-evr"] == pytest.approx(((5.0 - 6.0) + (4.8 - 6.2)) / 2)
    assert found["gender × head-evr"] == pytest.approx(((4.8 - 5.0) - (6.2 - 6.0)) / 2)


@pytest.mark.parametrize(
    ("k", "p", "resolution"),
    # Box, Hunter & Hunter's table of the best fractions.
    [(3, 1, 3), (4, 1, 4), (5, 1, 5), (5, 2, 3), (6, 1, 6), (6, 2, 4), (6, 3, 3), (7, 1, 7), (7, 2, 4),
     (7, 3, 4), (7, 4, 3), (8, 2, 5), (8, 3, 4), (8, 4, 4), (9, 5, 3)],
)  # fmt: skip
def test_a_fraction_has_the_resolution_of_the_tables(k: int, p: int, resolution: int) -> None:
    design = fractional({f"c{i}": ["off", "on"] for i in range(k)}, p)
    assert design.resolution == resolution
    assert len(design.variants) == 2 ** (k - p) and "none" in design.variants


@pytest.mark.parametrize(("k", "p"), [(3, 1), (4, 1), (5, 2), (6, 2), (7, 4)])
def test_a_fraction_is_balanced_and_states_every_alias(k: int, p: int) -> None:
    """Columns of two terms are the same exactly if told to be aliases, with the sign that is told."""
    names = [f"c{i}" for i in range(k)]
    design = fractional({name: ["off", "on"] for name in names}, p)
    signs = {n: np.array([1 if c[n] == "on" else -1 for c in design.variants.values()]) for n in names}
    columns = dict(signs) | {f"{a} × {b}": signs[a] * signs[b] for a, b in itertools.combinations(names, 2)}
    assert all(column.sum() == 0 for column in columns.values())
    told = {
        (effect.name, alias.removeprefix("−"), -1 if alias.startswith("−") else 1)
        for effect in design.effects
        for alias in effect.aliases
    }
    first = {effect.name for effect in design.effects}
    expected = {
        (a, b, sign)
        for a in first
        for b in columns
        for sign in (1, -1)
        if a != b and np.array_equal(columns[a], sign * columns[b])
    }
    assert told == expected


def test_in_a_fraction_an_estimate_is_the_effect_plus_its_aliases() -> None:
    design = fractional({c: ["off", "on"] for c in "abc"}, 1)
    assert design.generators == ("c = −a × b",)
    effect = next(effect for effect in design.effects if effect.name == "a")
    assert effect.aliases == ("−b × c",)
    responses = _responses(design, {"a": 0.3}, {("b", "c"): 0.1})
    assert _estimate(effect, responses) == pytest.approx(0.3 - 0.1)


@pytest.mark.parametrize(
    ("levels", "p", "words"),
    [
        ({"a": ["off", "on"], "b": ["x", "y", "z"], "c": ["off", "on"]}, 1, "b has 3"),
        ({c: ["off", "on"] for c in "abcd"}, 2, "4 components can be halved 1 to 1 times; received 2"),
        ({c: ["off", "on"] for c in "ab"}, 1, "none"),
    ],
)
def test_what_no_fraction_is_for_is_refused(levels: dict[str, list[str]], p: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fractional(levels, p)
