"""Ablation designs: which variants there are, and which contrasts of them are effects. Pure.

A component has levels in the order of the file: the first is without it (`off`), the last with it (`on`).
A variant takes one level of each. Fractions of a factorial are in fractional.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Levels = Mapping[str, Sequence[str]]  # component → its levels
Choice = dict[str, str]  # component → the level a variant takes


@dataclass(frozen=True)
class Effect:
    """A main effect or two-way interaction: a contrast whose weights over the variants sum to 0."""

    name: str
    weights: dict[str, float]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Design:
    """Variants by name, the one the others are compared with, and what can be estimated from them."""

    variants: dict[str, Choice]
    base: str
    effects: tuple[Effect, ...] = ()
    resolution: int | None = None  # of a fraction
    generators: tuple[str, ...] = ()

    @property
    def compared(self) -> list[str]:
        """The variants that are compared with the base."""
        return [name for name in self.variants if name != self.base]


def leave_one_out(levels: Levels) -> Design:
    """All components on, then each of them at every other level."""
    return _one_at_a_time(levels, "all", {name: given[-1] for name, given in levels.items()})


def add_one(levels: Levels) -> Design:
    """No component, then each of them at every other level."""
    return _one_at_a_time(levels, "none", {name: given[0] for name, given in levels.items()})


def _one_at_a_time(levels: Levels, base: str, chosen: Choice) -> Design:
    variants = {base: chosen}
    for component, given in levels.items():
        for level in given:
            if level != chosen[component]:
                variants[f"{component}-{level}"] = {**chosen, component: level}
    return Design(variants, base)


def factorial(levels: Levels) -> Design:
    """Every combination of levels; the base has each component at its first."""
    combinations = itertools.product(*levels.values())
    choices = [dict(zip(levels, combination, strict=True)) for combination in combinations]
    variants = {name_of(choice, levels): choice for choice in choices}
    return Design(variants, next(iter(variants)), tuple(_effects(levels, variants)))


def name_of(choice: Choice, levels: Levels) -> str:
    """`a-on+c-on`: the components that are not at their first level; `none` where all are."""
    changed = [f"{c}-{level}" for c, level in choice.items() if level != levels[c][0]]
    return "+".join(changed) or "none"


def _effects(levels: Levels, variants: Mapping[str, Choice]) -> list[Effect]:
    """Main effects, then two-way interactions: each level against the component's first.

    A main effect is the mean difference over all levels of the others. An interaction is half of what the
    effect of one component gains from the other: ½[(a₁b₁ − a₀b₁) − (a₁b₀ − a₀b₀)], as in two-level designs.
    """
    mains = {f: given[1:] for f, given in levels.items()}
    found = []
    for component, others in mains.items():
        for level in others:
            weights = {v: _sign(c, component, level, levels) for v, c in variants.items()}
            found.append(Effect(_term(component, level, levels), contrast(weights)))
    for (a, levels_a), (b, levels_b) in itertools.combinations(mains.items(), 2):
        for la, lb in itertools.product(levels_a, levels_b):
            weights = {v: _sign(c, a, la, levels) * _sign(c, b, lb, levels) for v, c in variants.items()}
            name = f"{_term(a, la, levels)} × {_term(b, lb, levels)}"
            found.append(Effect(name, contrast(weights)))
    return found


def _term(component: str, level: str, levels: Levels) -> str:
    """The component alone where it has two levels, else with the level that is set against its first."""
    return component if len(levels[component]) == 2 else f"{component}-{level}"


def _sign(choice: Choice, component: str, level: str, levels: Levels) -> float:
    """+1 where the component has the level, −1 where it has its first, 0 elsewhere."""
    return 1.0 if choice[component] == level else -1.0 if choice[component] == levels[component][0] else 0.0


def contrast(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights scaled such that the positive ones sum to 1: a mean minus a mean."""
    positive = sum(w for w in weights.values() if w > 0)
    return {v: w / positive for v, w in weights.items() if w}
