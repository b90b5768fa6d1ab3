"""The `ablation:` section of a study file: variants, what they are repeated over, and what is compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from orchestration import designs
from orchestration.config import Section
from orchestration.designs import Design
from orchestration.errors import nearest
from orchestration.fractional import fractional
from orchestration.layers import Flat, flatten

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


class Ablation(Section):
    """Variants × data sets × splits × seeds. Their values lie on top of `run:`."""

    design: Literal["explicit", "leave_one_out", "add_one", "factorial", "fractional"] = "explicit"
    base: str | None = Field(None, description="explicit: the variant the others are compared with")
    variants: dict[str, dict[str, Any]] = Field(default_factory=dict, description="explicit: their values")
    components: dict[str, dict[str, dict[str, Any]]] = Field(
        default_factory=dict, description="other designs: component → level → values; off first, on last"
    )
    halvings: int = Field(1, ge=1, description="fractional: p of 2^(k−p)")
    seeds: int = Field(10, ge=1, le=1000)
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="name → values")
    splits: int | Literal["folds"] = Field(
        1, description="random splits, a factor of its own; folds: every fold of the protocol, pooled"
    )
    alpha: float = Field(0.05, gt=0, lt=0.5, description="familywise level of the comparisons")
    expected_sd: float | None = Field(
        None, gt=0, description="years; sd of paired differences, for the plan before anything ran"
    )

    @field_validator("variants", "datasets", mode="before")
    @classmethod
    def _flat(cls, given: Any) -> Any:
        return {str(k): _values(v) for k, v in given.items()} if isinstance(given, Mapping) else given

    @field_validator("components", mode="before")
    @classmethod
    def _flat_levels(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            str(name): {_level(k): _values(v) for k, v in levels.items()}
            if isinstance(levels, Mapping)
            else levels
            for name, levels in given.items()
        }

    @field_validator("splits")
    @classmethod
    def _at_least_one(cls, splits: int | str) -> int | str:
        if isinstance(splits, int) and not 1 <= splits <= 1000:
            raise ValueError("give 1 to 1000 random splits, or folds")
        return splits

    @model_validator(mode="after")
    def _fits(self) -> Ablation:
        named = [*self.variants, *self.datasets, *self.components]
        named += [level for levels in self.components.values() for level in levels]
        for name in named:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} names a folder: use letters, digits and + . _ -")
        if self.design == "explicit":
            self._fits_explicit()
        elif self.variants or self.base:
            raise ValueError(f"variants and base belong to design: explicit; {self.design} makes its own")
        elif not self.components:
            raise ValueError(f"design: {self.design} needs components")
        for name, levels in self.components.items():
            if len(levels) < 2:
                raise ValueError(f"component {name} needs at least two levels, as in {{off: …, on: …}}")
        self.made()  # a fraction that does not exist is an error here
        return self

    def _fits_explicit(self) -> None:
        if self.components:
            raise ValueError("components belong to the other designs; design: explicit takes variants")
        if len(self.variants) < 2:
            raise ValueError("design: explicit needs at least two variants, each with its values")
        if self.base is not None and self.base not in self.variants:
            hint = nearest(self.base, list(self.variants))
            raise ValueError(f"base {self.base!r} is none of the variants {', '.join(self.variants)}.{hint}")

    def made(self) -> Design:
        """The design with its variants. Raises ValueError for a fraction that does not exist."""
        if self.design == "explicit":
            names = list(self.variants)
            return Design({name: {} for name in names}, self.base or names[0])
        levels = {name: list(given) for name, given in self.components.items()}
        if self.design == "fractional":
            return fractional(levels, self.halvings)
        return getattr(designs, self.design)(levels)  # type: ignore[no-any-return]

    def values(self) -> dict[str, Flat]:
        """Every variant's values on top of `run:`, in the order of the design."""
        if self.design == "explicit":
            return dict(self.variants)
        made = self.made().variants
        return {
            variant: {k: v for c, level in choice.items() for k, v in self.components[c][level].items()}
            for variant, choice in made.items()
        }


def _level(name: Any) -> str:
    """YAML 1.1 reads `off:` and `on:` as booleans."""
    return {False: "off", True: "on"}[name] if isinstance(name, bool) else str(name)


def _values(given: Any) -> Any:
    if given is None:
        return {}
    return flatten(given) if isinstance(given, Mapping) else given
