"""Variants against the base: differences, intervals, verdicts, and the words that follow from them. Pure.

The family is every variant against the base on test MAE. The verdict is Holm's adjusted paired t over seeds
(or over random splits); intervals are at the family's Bonferroni level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from orchestration import people, statistics
from orchestration.designs import Effect
from orchestration.statistics import Interval, Values


@dataclass(frozen=True)
class Measured:
    """Test MAE of a variant by unit, a seed or a split; absolute errors [n] where units share images."""

    mae: Mapping[int, float]
    errors: Mapping[int, Values] = field(default_factory=dict)


@dataclass(frozen=True)
class Setting:
    """What the comparisons of one data set have in common."""

    family: int  # comparisons in the whole study
    alpha: float
    identities: Sequence[str | None] = ()  # of the test images [n]
    overlap: float = 0.0  # n_test/n_train where units are random splits
    unit: str = "seed"

    @property
    def level(self) -> float:
        """Bonferroni level of one interval."""
        return 1 - self.alpha / self.family

    @property
    def people(self) -> int:
        """How many people the test images show; 0 where they are not known."""
        return len({name for name in self.identities if name is not None})


@dataclass(frozen=True)
class Comparison:
    """A variant minus the base, in years of test MAE; negative is better."""

    pairs: int
    difference: float
    sd: float | None  # of paired differences
    interval: Interval | None
    about: str  # what `interval` speaks of
    headline: Interval | None  # new seeds and new people
    headline_about: str
    p: float | None
    p_holm: float | None
    p_sign_flip: float | None
    detectable: float | None
    words: str = ""


def compare(base: Measured, variant: Measured, setting: Setting) -> Comparison:
    """The comparison over the units that both have, before its family is judged."""
    units = sorted(base.mae.keys() & variant.mae.keys())
    differences = np.array([variant.mae[u] - base.mae[u] for u in units])
    shared = [u for u in units if u in base.errors and u in variant.errors]
    errors = np.array([variant.errors[u] - base.errors[u] for u in shared])
    if len(units) < 2:
        return _of_one(differences, errors, setting)
    sd = float(differences.std(ddof=1))
    of_splits = setting.overlap > 0
    headline = None
    if not of_splits and len(shared) > 1:
        headline = people.crossed_interval(*people.per_person(errors, setting.identities), setting.level)
    return Comparison(
        pairs=len(units),
        difference=float(differences.mean()),
        sd=sd,
        interval=statistics.t_interval(differences, setting.level, setting.overlap),
        about="over overlapping splits" if of_splits else "new seeds, this test set",
        headline=headline,
        headline_about=_whom("new seeds and new people", setting) if headline is not None else "",
        p=float(statistics.paired_t(differences, setting.overlap)),
        p_holm=None,
        # Splits that overlap are not exchangeable under the null.
        p_sign_flip=None if of_splits else statistics.sign_flip(differences),
        detectable=statistics.detectable(sd, len(units), setting.alpha / setting.family, setting.overlap),
    )


def _of_one(differences: Values, errors: Values, setting: Setting) -> Comparison:
    """One pair: it says something of these checkpoints on new people, nothing of the method."""
    difference = float(differences.mean()) if len(differences) else float("nan")
    interval = p = None
    if len(errors):
        sums, counts = people.per_person(errors[0], setting.identities)
        interval = people.people_interval(sums, counts, setting.level)
        p = statistics.sign_flip(sums)
    about = _whom("these checkpoints, new people", setting)
    return Comparison(len(differences), difference, None, interval, about, None, "", p, None, p, None)


def _whom(words: str, setting: Setting) -> str:
    if setting.people == 0:
        return f"{words.replace('people', 'images')}; image-level; likely too narrow"
    if setting.people < people.FEW_PEOPLE:
        return f"{words}; only {setting.people} people"
    return words


def judged(comparisons: Mapping[str, Comparison], setting: Setting) -> dict[str, Comparison]:
    """The whole family with Holm's p values and words."""
    tested = {name: c.p for name, c in comparisons.items() if c.p is not None}
    adjusted = statistics.holm(list(tested.values())).tolist() if tested else []
    p_holm: dict[str, float] = dict(zip(tested, adjusted, strict=True))
    return {
        name: replace(c, p_holm=p_holm.get(name), words=_words(c, p_holm.get(name), setting.alpha))
        for name, c in comparisons.items()
    }


def _words(found: Comparison, p_holm: float | None, alpha: float) -> str:
    """What may be said; an interval for new people that holds 0 is said with it."""
    if p_holm is None:
        return "not tested"
    if found.pairs < 2:
        return "these two checkpoints differ" if p_holm < alpha else "these two checkpoints: no difference"
    if p_holm >= alpha:
        return f"no difference detected (could have seen ≥ {years(found.detectable or 0.0)})"
    side = "better" if found.difference < 0 else "worse"
    reserve = ""
    if found.headline is not None and not found.headline.excludes_zero:
        reserve = " on this test set; for new people not shown"
    return f"{side} by {years(abs(found.difference))}{reserve}"


def years(value: float) -> str:
    """Years with two digits that count: 0.31, 0.054, 0.0061."""
    return f"{value:.2f}" if value >= 1 or value == 0 else f"{value:#.2g}"


@dataclass(frozen=True)
class Estimated:
    """An effect of a factorial design, in years of test MAE."""

    name: str
    aliases: tuple[str, ...]
    estimate: float
    interval: Interval
    p_holm: float


def effects(
    wanted: Sequence[Effect], variants: Mapping[str, Measured], alpha: float, overlap: float = 0.0
) -> list[Estimated]:
    """Effects with intervals, a family of their own; empty with fewer than two units common to all."""
    units = sorted(set.intersection(*(set(m.mae) for m in variants.values()))) if variants else []
    if len(units) < 2 or not wanted or any(v not in variants for e in wanted for v in e.weights):
        return []
    values = np.array(
        [[sum(w * variants[v].mae[u] for v, w in e.weights.items()) for u in units] for e in wanted]
    )
    p = statistics.holm(statistics.paired_t(values, overlap))
    level = 1 - alpha / len(wanted)
    return [
        Estimated(
            e.name,
            e.aliases,
            float(row.mean()),
            statistics.t_interval(row, level, overlap),
            float(adjusted),
        )
        for e, row, adjusted in zip(wanted, values, p, strict=True)
    ]
