"""From a folder of pictures to a data set: what is kept, what is quarantined, and when work is done again."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError
from data.faces import Faces
from data.prepare import main, prepare
from data.schema import FEMALE, MALE, UNKNOWN

Draw = Callable[[Path, int], Path]
Table = Callable[..., Path]


def _quarantine(out: Path) -> dict[str, str]:
    with (out / "quarantine.csv").open(newline="") as file:
        return {row["source"]: row["reason"] for row in csv.DictReader(file)}


def _prepare(source: Path, out: Path, **options: object) -> None:
    prepare("table", source, out, size=16, progress=False, **{"workers": 1, **options})  # type: ignore[arg-type]


def test_images_and_labels_come_back_as_they_went_in(tmp_path: Path, picture: Draw, table: Table) -> None:
    source = table([("b.png", "31.5", "F", "ann"), ("a.png", "4", "M", ""), ("c.png", "90", "", "bob")])
    for number, name in enumerate("abc"):
        picture(source.parent / f"{name}.png", number)
    _prepare(source, tmp_path / "out")
    faces = Faces.open(tmp_path / "out")
    assert faces.sources == ["a.png", "b.png", "c.png"]
    assert faces.ages.tolist() == [4, 31.5, 90]
    assert faces.genders.tolist() == [MALE, FEMALE, UNKNOWN]
    assert faces.identities == [None, "ann", "bob"]
    assert faces.labels == (4, 32, 90)
    for row, name in enumerate("abc"):
        with Image.open(source.parent / f"{name}.png") as image:
            expected = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(faces.images[row], expected)


def test_what_cannot_be_used_is_quarantined_with_its_reason(
    tmp_path: Path, picture: Draw, table: Table
) -> None:
    names = ["good.png", "cut.jpg", "empty.jpg", "text.jpg", "gone.jpg"]
    source = table([(name, str(20 + i), "M", "") for i, name in enumerate(names)])
    folder = source.parent
    picture(folder / "good.png", 0)
    cut = picture(folder / "cut.jpg", 1)
    cut.write_bytes(cut.read_bytes()[:-200])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    _prepare(source, tmp_path / "out")
    faces = Faces.open(tmp_path / "out")
    assert faces.sources == ["good.png"]
    assert _quarantine(tmp_path / "out") == {
        "cut.jpg": "image is truncated or damaged",
        "empty.jpg": "file is empty",
        "text.jpg": "file is not an image",
        "gone.jpg": "file is missing",
    }
    counts = faces.manifest.counts
    assert counts.read == counts.kept + sum(counts.quarantined.values()) == 5


def test_labels_are_those_before_quarantine(tmp_path: Path, picture: Draw, table: Table) -> None:
    source = table([("a.png", "20", "M", ""), ("b.png", "21", "M", ""), ("c.png", "30", "M", "")])
    for name in "ab":
        picture(source.parent / f"{name}.png", 0)  # copies whose ages conflict
    picture(source.parent / "c.png", 1)
    _prepare(source, tmp_path / "out")
    faces = Faces.open(tmp_path / "out")
    assert faces.sources == ["c.png"]
    assert faces.labels == (20, 21, 30)


def test_copies_in_another_file_format_are_found_and_keep_keeps_them(
    tmp_path: Path, picture: Draw, table: Table
) -> None:
    source = table([("a.png", "20", "M", ""), ("b.bmp", "20", "F", ""), ("c.png", "20", "M", "")])
    picture(source.parent / "a.png", 0)
    picture(source.parent / "b.bmp", 0)
    picture(source.parent / "c.png", 0)
    _prepare(source, tmp_path / "dropped")
    _prepare(source, tmp_path / "kept", duplicates="keep")
    dropped, kept = Faces.open(tmp_path / "dropped"), Faces.open(tmp_path / "kept")
    assert dropped.sources == ["a.png"]
    assert dropped.genders.tolist() == [UNKNOWN]
    assert set(_quarantine(tmp_path / "dropped").values()) == {"identical pixels, another copy is kept"}
    assert kept.sources == ["a.png", "b.bmp", "c.png"]
    assert kept.fingerprint != dropped.fingerprint


def test_pixels_stay_with_their_labels_where_rows_before_them_are_dropped(
    tmp_path: Path, picture: Draw, table: Table
) -> None:
    rows = [(f"{i}.png", str(20 + i), "M", "") for i in range(8)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i)
    _prepare(source, tmp_path / "whole")
    for i in (0, 1, 4):
        (source.parent / f"{i}.png").write_text("not a picture")
    _prepare(source, tmp_path / "holed")
    whole, holed = Faces.open(tmp_path / "whole"), Faces.open(tmp_path / "holed")
    assert holed.sources == [f"{i}.png" for i in (2, 3, 5, 6, 7)]
    np.testing.assert_array_equal(holed.images, whole.images[[2, 3, 5, 6, 7]])


def test_images_are_turned_as_their_camera_says(tmp_path: Path, table: Table) -> None:
    source = table([("a.jpg", "20", "M", "")])
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16] = 255
    Image.fromarray(pixels).save(source.parent / "a.jpg", exif=exif)
    _prepare(source, tmp_path / "out")
    image = Faces.open(tmp_path / "out").images[0]
    assert image[:6].mean() < 10
    assert image[-6:].mean() > 245


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path, table: Table) -> None:
    source = table([("grey.png", "20", "M", ""), ("clear.png", "21", "M", "")])
    Image.new("L", (16, 16), 77).save(source.parent / "grey.png")
    Image.new("RGBA", (16, 16), (1, 2, 3, 128)).save(source.parent / "clear.png")
    _prepare(source, tmp_path / "out")
    assert Faces.open(tmp_path / "out").images[:, 0, 0].tolist() == [[1, 2, 3], [77, 77, 77]]


def test_running_again_does_nothing(tmp_path: Path, small: Faces, capsys: pytest.CaptureFixture[str]) -> None:
    before = (small.root / "faces.arrow").stat()
    _prepare(tmp_path / "source" / "people.csv", small.root)
    after = (small.root / "faces.arrow").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert "up to date" in capsys.readouterr().err


def test_a_changed_source_is_prepared_again(tmp_path: Path, small: Faces, picture: Draw) -> None:
    picture(tmp_path / "source" / "00.png", 999)
    _prepare(tmp_path / "source" / "people.csv", small.root)
    again = Faces.open(small.root)
    assert again.fingerprint != small.fingerprint
    assert (again.images[0] != small.images[0]).any()
    assert (again.images[1:] == small.images[1:]).all()


def test_damaged_faces_are_prepared_again(tmp_path: Path, small: Faces) -> None:
    path = small.root / "faces.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()
    path.write_bytes(content)
    _prepare(tmp_path / "source" / "people.csv", small.root)
    np.testing.assert_array_equal(Faces.open(small.root).images, small.images)


def test_content_does_not_depend_on_the_number_of_workers(
    tmp_path: Path, picture: Draw, table: Table
) -> None:
    rows = [(f"{i:03d}.png", str(20 + i % 40), "M", "") for i in range(300)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i // 2 if i < 20 else i)
    (source.parent / "150.png").write_bytes(b"")
    alone = prepare("table", source, tmp_path / "alone", size=16, workers=1, progress=False)
    pair = prepare("table", source, tmp_path / "pair", size=16, workers=2, progress=False)
    assert alone.content_hash == pair.content_hash
    assert alone.fingerprint == pair.fingerprint
    assert alone.counts == pair.counts


def test_the_order_of_rows_in_the_source_does_not_matter(tmp_path: Path, small: Faces) -> None:
    source = tmp_path / "source" / "people.csv"
    head, *rows = source.read_text().splitlines()
    source.write_text("\n".join([head, *reversed(rows)]))
    again = prepare("table", source, tmp_path / "again", size=16, workers=1, progress=False)
    assert (again.fingerprint, again.content_hash) == (small.fingerprint, small.manifest.content_hash)


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path, small: Faces) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("precious")
    with pytest.raises(DataError, match="thesis exists and is not a prepared data set"):
        _prepare(tmp_path / "source" / "people.csv", mine)
    assert (mine / "chapter.txt").read_text() == "precious"


def test_a_data_set_of_another_reader_is_left_alone(tmp_path: Path, small: Faces) -> None:
    (tmp_path / "fgnet").mkdir()
    with pytest.raises(DataError, match="holds a table data set, not fgnet"):
        prepare("fgnet", tmp_path / "fgnet", small.root, progress=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reader_name": "utkfase"}, "Did you mean 'utkface'"),
        ({"size": 8}, "16..1024 pixels. Received: 8"),
        ({"duplicates": "kep"}, "Did you mean 'keep'"),
        ({"workers": 0}, "at least 1. Received: 0"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        prepare(**{"reader_name": "table", "source": tmp_path, "out": tmp_path / "o", **options})  # type: ignore[arg-type]


def test_the_command_says_where_counts_why_and_what_next(
    tmp_path: Path, picture: Draw, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    source = table([("a.png", "20", "M", ""), ("b.png", "31", "F", ""), ("c.png", "40", "", "")])
    picture(source.parent / "a.png", 0)
    picture(source.parent / "b.png", 1)
    out = tmp_path / "faces"
    assert main(["table", "--source", str(source), "--out", str(out), "--size", "16"]) == 0
    said = capsys.readouterr().out
    assert f"{out}: 2 of 3 images (M 1, F 1, unknown 0), 2 ages from 20 to 31" in said
    assert "1 file is missing" in said
    assert f"python -m orchestration.tune --space utkface.yaml study=faces data.root={out}" in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "path,age\ncaf\xe9.jpg,30\n".encode("latin-1"), "is not text in UTF-8"),
        ("a.csv", b"path,age\na\0b.jpg,30\n", "must be a file inside the table's folder"),
        ("a.csv", b"path,age\n" + b"x" * 140_000, "is not a CSV file"),
        ("a.parquet", b"PAR1", "is not a Parquet file"),
    ],
)
def test_a_table_that_is_something_else_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert main(["table", "--source", str(tmp_path / name), "--out", str(tmp_path / "out")]) == 2
    assert f"error: {tmp_path / name}" in (said := capsys.readouterr().err)
    assert words in said


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("loop", "is a link that leads to itself"),
        ("file/x", "file is a file"),
        ("a" * 300, "the name is too long"),
        ("s3://lab/faces", "is an address"),
        ("~nobody-has-this-name/x", "home directory"),
    ],
)
def test_a_target_that_cannot_be_is_one_message_and_exit_code_2(
    small: Faces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    Path("file").touch()
    try:
        code = main(["table", "--source", "source/people.csv", "--out", out, "--size", "16"])
    except SystemExit as left:
        code = int(left.code or 0)
    assert code == 2
    assert words in capsys.readouterr().err


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["utkface", "--source", str(tmp_path / "no"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
