"""Reference strategies as loops over samples in Python's float64, and random passes to try them on."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.passes import Pass

LABELS = [1, 3, 4, 7, 20]
N, C = len(LABELS), 3
MISSING = 2  # the position of which no random pass has a sample
Row = list[float]


class Sample(NamedTuple):
    id: int
    position: int
    gender: int
    age: float
    predicted: float
    features: Row

    @property
    def error(self) -> float:
        return abs(self.predicted - self.age)


@dataclass
class Chosen:
    """Per age a reference, whose it is and its runner-up; None where there is none."""

    features: list[Row | None]
    ids: list[int | None]
    runner_up: list[Row | None]


def random_samples(seed: int, count: int) -> list[Sample]:
    """Ties, repeated samples, unknown ages and genders, estimates that are not finite; one usable at least.

    Features are multiples of 1/64: the two samples of an age are equally far from their mean exactly.
    """
    draw = random.Random(seed)
    samples = [Sample(10_000, 1, 0, 3.0, 3.5, [0.25, -1.0, 2.0])]
    for _ in range(count):
        position = draw.choice([p for p in range(-1, N) if p != MISSING])
        age = 200.0 if position < 0 else float(LABELS[position])
        error = draw.choice([0.0, 0.5, 0.5, 2.0, draw.random(), math.nan, math.inf])
        features = [draw.randrange(-256, 256) / 64 for _ in range(C)]
        gender = draw.choice([-1, 0, 1])
        samples.append(Sample(draw.randrange(count), position, gender, age, age + error, features))
    draw.shuffle(samples)
    return samples


def make_pass(samples: list[Sample], dtype: torch.dtype = torch.float64) -> Pass:
    return Pass(
        torch.tensor([s.id for s in samples], dtype=torch.int64),
        torch.tensor([s.position for s in samples], dtype=torch.int64),
        torch.tensor([s.gender for s in samples], dtype=torch.int64),
        torch.tensor([s.age for s in samples], dtype=dtype),
        torch.tensor([s.predicted for s in samples], dtype=dtype),
        torch.tensor([s.features for s in samples], dtype=dtype).view(-1, C),
    )


def by_age(samples: list[Sample]) -> list[list[Sample]]:
    """Usable samples of every age: of a sample the last entry, if its error is finite."""
    last = {sample.id: sample for sample in samples}
    usable = [s for s in last.values() if s.position >= 0 and math.isfinite(s.error)]
    return [[s for s in usable if s.position == age] for age in range(N)]


def average(rows: list[Row], weights: list[float] | None = None) -> Row:
    weights = weights or [1.0] * len(rows)
    return [sum(w * row[c] for w, row in zip(weights, rows, strict=True)) / sum(weights) for c in range(C)]


def ranked(ages: list[list[Sample]], scores: dict[int, float]) -> Chosen:
    """The sample with the lowest score, of equals the lowest id; the next one is the runner-up."""
    chosen = Chosen([], [], [])
    for samples in ages:
        order = sorted(samples, key=lambda s: (scores[s.id], s.id))
        chosen.features.append(order[0].features if order else None)
        chosen.ids.append(order[0].id if order else None)
        chosen.runner_up.append(order[min(1, len(order) - 1)].features if order else None)
    return chosen


def averaged(rows: list[Row | None]) -> Chosen:
    return Chosen(rows, [None] * len(rows), rows)


def min_error(samples: list[Sample], seed: int) -> Chosen:
    ages = by_age(samples)
    return ranked(ages, {s.id: s.error for age in ages for s in age})


def medoid(samples: list[Sample], seed: int) -> Chosen:
    ages = by_age(samples)
    scores = {}
    for age in ages:
        for sample in age:
            centre = average([s.features for s in age])
            scores[sample.id] = sum((x - m) ** 2 for x, m in zip(sample.features, centre, strict=True))
    return ranked(ages, scores)


def random_one(samples: list[Sample], seed: int) -> Chosen:
    ages = by_age(samples)
    return ranked(ages, {s.id: uniform(s.id, seed) for age in ages for s in age})


def uniform(number: int, seed: int) -> float:
    """Splitmix64's output for the state `number` after seed + 1 steps, in Python's big integers."""
    word = 2**64
    x = (number + (seed + 1) * 0x9E3779B97F4A7C15) % word
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % word
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % word
    return ((x ^ (x >> 31)) >> 11) / 2**53


def shuffled(samples: list[Sample], seed: int) -> Chosen:
    chosen = min_error(samples, seed)
    filled = interpolated(chosen.features)
    order = sorted(range(N), key=lambda age: uniform(age, seed))
    rows: list[Row | None] = [filled[age] for age in order]
    return Chosen(rows, [chosen.ids[age] for age in order], rows)


def mean_of(k: int, samples: list[Sample]) -> Chosen:
    best = [sorted(age, key=lambda s: (s.error, s.id))[:k] for age in by_age(samples)]
    return averaged([average([s.features for s in age]) if age else None for age in best])


def class_mean(samples: list[Sample], seed: int) -> Chosen:
    return averaged([average([s.features for s in a]) if a else None for a in by_age(samples)])


def error_weighted(tau: float, samples: list[Sample]) -> Chosen:
    rows: list[Row | None] = []
    for age in by_age(samples):
        weights = [math.exp(-s.error / tau) for s in age]
        rows.append(average([s.features for s in age], weights) if age else None)
    return averaged(rows)


def gender_balanced(samples: list[Sample], seed: int) -> Chosen:
    rows: list[Row | None] = []
    for age in by_age(samples):
        order = sorted(age, key=lambda s: (s.error, s.id))
        best = [next((s for s in order if s.gender == gender), None) for gender in (0, 1)]
        known = [s.features for s in best if s is not None]
        rows.append(average(known) if known else order[0].features if order else None)
    return averaged(rows)


def kernel(bandwidth: float, samples: list[Sample]) -> Chosen:
    """Every sample's feature weighted by a Gaussian of its label's distance in years."""
    usable = [s for age in by_age(samples) for s in age]
    rows: list[Row | None] = []
    for year in LABELS:
        weights = [math.exp(-(((year - LABELS[s.position]) / bandwidth) ** 2) / 2) for s in usable]
        rows.append(average([s.features for s in usable], weights))
    return averaged(rows)


def interpolated(rows: list[Row | None]) -> list[Row]:
    """Linear in years between the nearest present ages, the end's row beyond them."""
    known = [age for age in range(N) if rows[age] is not None]
    filled = []
    for age in range(N):
        low = max((k for k in known if k <= age), default=known[0])
        high = min((k for k in known if k >= age), default=known[-1])
        share = (LABELS[age] - LABELS[low]) / (LABELS[high] - LABELS[low]) if low < high else 0.0
        first, second = rows[low], rows[high]
        assert first is not None and second is not None
        filled.append([a + share * (b - a) for a, b in zip(first, second, strict=True)])
    return filled


def tensor(rows: list[Row]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)
