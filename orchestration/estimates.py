"""Pictures to estimates: faces are cut in the background while the network looks at those before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.crops import Crop, Cutter, Picture
from orchestration.estimator import Estimator
from orchestration.spread import Spread

CHUNK = 64  # pictures cut and looked at together


@dataclass(frozen=True)
class Estimate:
    """What is estimated of one face; None is "not available", and of everything where there is a `problem`.

    age, low, high and position_age in years; `low` to `high` is the interval, an end that is None no bound;
    `box` as in crops.Crop.
    """

    box: tuple[float, float, float, float] | None
    problem: str = ""
    age: float | None = None
    low: float | None = None
    high: float | None = None
    female_probability: float | None = None
    position_age: float | None = None

    @property
    def gender(self) -> str | None:
        """M or F, whichever is likelier, in the data set's binary annotation."""
        if self.female_probability is None:
            return None
        return "F" if self.female_probability > 0.5 else "M"


@dataclass(frozen=True)
class Seen:
    """A picture and its faces from left to right; with none of them `problem` says why."""

    picture: Picture
    faces: list[Estimate]
    problem: str

    @property
    def failed(self) -> bool:
        """Whether the picture gave no estimate."""
        return all(face.problem for face in self.faces)


def see(estimator: Estimator, spread: Spread, cutter: Cutter, pictures: Sequence[Picture]) -> Iterator[Seen]:
    """Every picture in its order. A detector works on one thread, since it keeps what it is at."""
    chunks = [pictures[start : start + CHUNK] for start in range(0, len(pictures), CHUNK)]
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(_cut, cutter, chunks[0]) if chunks else None
        for index, chunk in enumerate(chunks):
            assert ahead is not None
            cut = ahead.result()
            if index + 1 < len(chunks):
                ahead = pool.submit(_cut, cutter, chunks[index + 1])
            yield from _estimate(estimator, spread, chunk, cut)


def _cut(cutter: Cutter, chunk: Sequence[Picture]) -> list[tuple[list[Crop], str]]:
    return [cutter.crops(picture) for picture in chunk]


def _estimate(
    estimator: Estimator,
    spread: Spread,
    chunk: Sequence[Picture],
    cut: Sequence[tuple[list[Crop], str]],
) -> Iterator[Seen]:
    pixels = [crop.pixels for crops, _ in cut for crop in crops if crop.pixels is not None]
    rows = iter(estimates(estimator, spread, np.stack(pixels)) if pixels else ())
    for picture, (crops, problem) in zip(chunk, cut, strict=True):
        faces = [
            Estimate(crop.box, crop.problem) if crop.pixels is None else Estimate(crop.box, **next(rows))
            for crop in crops
        ]
        yield Seen(picture, faces, problem)


def estimates(estimator: Estimator, spread: Spread, images: np.ndarray) -> list[dict[str, Any]]:
    """A dictionary of `Estimate`'s values for each of images [n, size, size, 3] uint8, n > 0."""
    columns = estimator.predict(images)
    low, high = spread.of(columns)
    found: dict[str, Any] = {
        "age": columns["predicted_age"],
        "low": low,
        "high": high,
        "female_probability": columns["female_probability"],
        "position_age": columns["position_age"],
    }
    return [
        {name: float(values[i]) if np.isfinite(values[i]) else None for name, values in found.items()}
        for i in range(len(images))
    ]
