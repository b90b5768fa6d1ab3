"""One core, several, and Ray Data make the same data set."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.prepare import prepare
from orchestration.cluster import Capacity
from orchestration.ray_data import RayData


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of 330 pictures, two of them copies and one damaged."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = ["path,age,gender"]
    for i in range(330):
        pixels = np.random.default_rng(max(i, 1)).integers(0, 256, (30, 26, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
        rows.append(f"{i:03d}.png,{20 + i % 40},M")
    (folder / "200.png").write_bytes(b"no picture")
    (folder / "people.csv").write_text("\n".join(rows))
    return folder / "people.csv"


def test_ray_and_one_core_and_two_make_the_same_data_set(
    source: Path, tmp_path: Path, ray_session: Capacity
) -> None:
    one, two, ray = (
        prepare("table", source, tmp_path / str(i), size=16, progress=False, **options)  # type: ignore[arg-type]
        for i, options in enumerate(({"workers": 1}, {"workers": 2}, {"executor": RayData()}))
    )
    assert one.fingerprint == two.fingerprint == ray.fingerprint
    assert one.content_hash == two.content_hash == ray.content_hash
    assert one.counts == two.counts == ray.counts
    assert one.counts.quarantined["file is not an image"] == 1
