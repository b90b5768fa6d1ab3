"""What the tests of data/ share: tiny pictures, tiny data sets, and the folder of real faces."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from data.faces import Faces
from data.prepare import prepare

# A deadline would be an assertion of speed.
settings.register_profile("data", deadline=None, max_examples=50)
settings.load_profile("data")

Row = tuple[str, str, str, str]  # path, age, gender, identity


@pytest.fixture
def picture() -> Callable[[Path, int], Path]:
    """Writes a small picture, the same for the same number, as PNG or JPEG by its name; returns its path."""

    def write(path: Path, number: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24, 20, 3), np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[[Sequence[Row]], Path]:
    """Writes rows as people.csv in a folder of its own; returns the file."""

    def write(rows: Sequence[Row]) -> Path:
        path = tmp_path / "source" / "people.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(["path,age,gender,identity", *(",".join(row) for row in rows)]) + "\n")
        return path

    return write


@pytest.fixture
def small(tmp_path: Path, picture: Callable[[Path, int], Path], table: Callable[..., Path]) -> Faces:
    """A prepared data set of 40 pictures: ages 20..29, ten people, every fourth gender unknown."""
    rows = [(f"{i:02d}.png", str(20 + i % 10), ("M", "F", "M", "")[i % 4], f"p{i % 10}") for i in range(40)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i)
    out = tmp_path / "faces" / "small"
    prepare("table", source, out, size=16, workers=1, progress=False)
    return Faces.open(out)
