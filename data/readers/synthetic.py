"""Faces that are drawn: age shows in wrinkles, grey hair and proportions, gender in the length of hair.

They let everything run where no data set has been prepared. Each cue is noisy, so that age is learnt to
within some years and no better. All numbers come from data.rng: the same faces on every machine.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.rng import SYNTHETIC, uniforms
from data.schema import Record, Rejected

VERSION = 1  # raised when a change here alters pixels or labels
OLDEST = 80
PER_PERSON = 8  # images of one person, on average
_CHUNK = 128  # images drawn at once: small enough to stay in the processor's cache

Floats = NDArray[np.float32]


def read(source: Path) -> Iterator[Record | Rejected]:
    """Return the faces that the name of `source`, such as 3000x48, asks for; raise DataError as `parse`."""
    return faces(*parse(source.name))


def parse(name: str) -> tuple[int, int]:
    """Return (count, pixels a side) of a name such as 3000x48; raise DataError for any other."""
    match = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{1,3})", name)
    if match is None or not 16 <= int(match[2]) <= 1024:
        raise DataError(
            f"synthetic:{name} is not synthetic:COUNTxSIZE with SIZE 16..1024, such as synthetic:3000x48"
        )
    return int(match[1]), int(match[2])


def faces(count: int, size: int, seed: int = 0) -> Iterator[Record]:
    """Yield `count` records with drawn pixels [size, size, 3] uint8 and ages 1..80 (all there from 80 faces).

    About one in ten has no identity and 3 % have no gender label.
    """
    for start in range(0, count, _CHUNK):
        ids = np.arange(start, min(start + _CHUNK, count))
        people = _people(ids, count, seed)
        pixels = _draw(_traits(ids, people, seed), ids, size, seed)
        for i, row in enumerate(ids):
            yield Record(
                source=f"face-{row:07d}",
                path=None,
                age=float(people.ages[i]),
                gender=None if people.unlabelled[i] else "F" if people.female[i] else "M",
                identity=None if people.nameless[i] else f"person-{people.person[i]:06d}",
                pixels=pixels[i],
            )


@dataclass(frozen=True)
class _People:
    """Labels of n faces: [n] each."""

    ages: NDArray[np.int64]
    person: NDArray[np.int64]
    female: NDArray[np.bool_]
    unlabelled: NDArray[np.bool_]
    nameless: NDArray[np.bool_]


def _people(ids: NDArray[np.int64], count: int, seed: int) -> _People:
    u = uniforms(seed, 0, ids, 4, SYNTHETIC)
    drawn = 1 + (u[:, 0] * OLDEST).astype(np.int64)
    person = (u[:, 1] * max(1, count // PER_PERSON)).astype(np.int64)
    female = uniforms(seed, 1, person, 1, SYNTHETIC)[:, 0] < 0.5
    ages = np.where(ids < OLDEST, ids + 1, drawn)  # each age once, then at random
    return _People(ages, person, female, u[:, 2] < 0.03, u[:, 3] < 0.1)


def _traits(ids: NDArray[np.int64], people: _People, seed: int) -> dict[str, Floats]:
    """Return what is drawn, [n, 1, 1] each. Looks belong to the person, age cues to the image."""
    look = uniforms(seed, 2, people.person, 4, SYNTHETIC).T[:, :, None, None]
    u = uniforms(seed, 3, ids, 24, SYNTHETIC)
    # Sums of three uniforms, scaled to unit variance: near enough to normal, and the same everywhere.
    n = 2 * (u.reshape(len(ids), 8, 3).sum(axis=2) - 1.5).T[:, :, None, None]
    seems = people.ages[:, None, None] + 5 * n[0]  # faces look older or younger than they are
    old = np.clip(seems / OLDEST, 0, 1.1)
    child = np.exp(-np.clip(seems, 0, None) / 12)
    female = people.female[:, None, None]
    return {
        "tone": 0.45 + 0.4 * look[0],
        "hair": 0.1 + 0.35 * look[1],
        "width": 0.52 + 0.08 * look[2] + 0.06 * child,
        "height": 0.74 - 0.14 * child + 0.02 * n[1],
        "eye_y": -0.06 + 0.14 * child + 0.02 * n[2],
        "eye_size": 0.07 + 0.04 * child,
        "wrinkles": np.clip(0.30 * old**1.5 + 0.02 * n[3], 0, None),
        "grey": np.clip(1.3 * old - 0.35 + 0.08 * n[4], 0, 1),
        "hair_end": np.where(female, 0.7, -0.1) + 0.18 * n[5],
        "light": 1 + 0.1 * n[6],
        "slant": 0.08 * n[7],
        "scenery": look[3],
    }


def _draw(t: dict[str, Floats], ids: NDArray[np.int64], size: int, seed: int) -> NDArray[np.uint8]:
    """Return the pictures [n, size, size, 3] uint8."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    y, x = axis[None, :, None], axis[None, None, :]
    edge = np.float32(size / 6)  # softness of outlines: some three pixels

    def ellipse(cx: float, cy: Floats | float, rx: Floats, ry: Floats) -> Floats:
        inside: Floats = np.clip((1 - ((x - cx) / rx) ** 2 - ((y - cy) / ry) ** 2) * edge, 0, 1)
        return inside

    skin = ellipse(0, 0.1, t["width"], t["height"])
    hair = ellipse(0, 0.0, t["width"] + 0.16, t["height"] + 0.14)
    hair = np.maximum(hair * (y < 0.1), (np.abs(x) < t["width"] + 0.16) * (y > -0.1)) * (y < t["hair_end"])
    hair = np.maximum(hair * (1 - skin), skin * (y < -0.42))
    forehead = (y > -0.4) & (y < t["eye_y"] - 0.12)
    lines = t["wrinkles"] * np.sin(42 * y) * (forehead | (y > 0.2) & (np.abs(x) > 0.2)) * skin
    dark = np.maximum(
        ellipse(-0.23, t["eye_y"], t["eye_size"] * 1.3, t["eye_size"]),
        ellipse(0.23, t["eye_y"], t["eye_size"] * 1.3, t["eye_size"]),
    )
    mouth = (np.abs(y - 0.48) < 0.05) & (np.abs(x) < 0.2)
    grey_hair = t["hair"] + (0.85 - t["hair"]) * t["grey"]

    noise = uniforms(seed, 4, ids, size * size, SYNTHETIC).reshape(-1, size, size) - 0.5
    shade = (t["light"] + t["slant"] * x) * 255
    picture = np.empty((len(ids), size, size, 3), np.uint8)
    for channel, (skin_tint, hair_tint) in enumerate(((1.1, 1.1), (0.88, 0.95), (0.75, 0.85))):
        tint = hair_tint + (1 - hair_tint) * t["grey"]  # grey hair has no colour
        plane = 0.3 + 0.4 * np.abs(t["scenery"] - channel / 3)
        plane = plane + skin * (t["tone"] * skin_tint + lines - plane)
        plane = plane + hair * (grey_hair * tint - plane)
        plane = plane * (1 - 0.7 * dark) * (1 - 0.35 * mouth) + 0.16 * noise
        picture[..., channel] = np.clip(plane * shade, 0, 255)
    return picture
