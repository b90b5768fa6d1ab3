"""Names as they are distributed, the malformed ones included, and wrong folders."""

from pathlib import Path

import pytest

from data.errors import DataError
from data.readers import fgnet, utkface
from data.schema import Record, Rejected


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "age", "gender", "ethnicity"),
    [
        ("25_0_3_20170104165811234.jpg.chip.jpg", 25, "M", "Indian"),
        ("1_1_0_20170104165811234.jpg", 1, "F", "White"),
        ("part1/116_1_1_20170112213500903.jpg", 116, "F", "Black"),
        ("part3/26_1_4_20170104165811234.JPG", 26, "F", "Other"),
        ("55_0_0_20170116232725357jpg.chip.jpg", 55, "M", "White"),
        ("44_1_4_20170116235150272.pg.jpg.chip.jpg", 44, "F", "Other"),
        ("24_0_1_20170116220224657 .jpg.chip.jpg", 24, "M", "Black"),
        ("14_0_0_2017011022340900.jpg.chip.jpg", 14, "M", "White"),
        ("28_1_2_201701161846515488.jpg.chip.jpg", 28, "F", "Asian"),
        ("30_1__20170116184028385.jpg", 30, "F", None),
    ],
)
def test_utkface_names_that_give_age_and_gender(
    tmp_path: Path, name: str, age: int, gender: str, ethnicity: str | None
) -> None:
    _touch(tmp_path, name)
    expected = Record(name, tmp_path / name, float(age), gender, ethnicity=ethnicity)
    assert list(utkface.read(tmp_path)) == [expected]


@pytest.mark.parametrize(
    "name",
    [
        "39_1_20170116174525125.jpg.chip.jpg",
        "61_1_20170109142408075.jpg.chip.jpg",
        "61_3_20170109150557335.jpg",
        "53__0_20170116184028385.jpg",
        "_0_0_20170116184028385.jpg",
        "25_2_0_20170116184028385.jpg",
        "holiday.jpg",
    ],
)
def test_utkface_names_that_leave_age_or_gender_open(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, name, "25_0_3_20170104165811234.jpg")
    rejected = [item for item in utkface.read(tmp_path) if isinstance(item, Rejected)]
    assert rejected == [Rejected(name, "name does not give age and gender unambiguously")]


def test_fgnet_name_gives_identity_and_age_and_the_table_gives_gender(tmp_path: Path) -> None:
    _touch(tmp_path, "images/001A02.JPG", "images/009A16a.jpg", "images/082a27.JPG")
    (tmp_path / "labels.csv").write_text(
        "file,subject,age,gender\n001A02.JPG,1,2,Male\n009A16a.JPG,9,16,Female\n"
    )
    found = {r.source: (r.age, r.identity, r.gender) for r in fgnet.read(tmp_path) if isinstance(r, Record)}
    assert found == {
        "images/001A02.JPG": (2, "001", "M"),
        "images/009A16a.jpg": (16, "009", "F"),
        "images/082a27.JPG": (27, "082", None),
    }


def test_fgnet_images_may_lie_in_the_folder_itself_without_genders(tmp_path: Path) -> None:
    _touch(tmp_path, "001A02.JPG", "cover.jpg")
    assert list(fgnet.read(tmp_path)) == [
        Record("001A02.JPG", tmp_path / "001A02.JPG", 2.0, None, identity="001"),
        Rejected("cover.jpg", "name does not give identity and age"),
    ]


def test_fgnet_is_found_at_any_depth_with_its_genders_and_points(tmp_path: Path) -> None:
    _touch(tmp_path, "README.txt", "top/FGNET/images/001A02.JPG")
    top = tmp_path / "top" / "FGNET"
    (top / "labels.csv").write_text("file,subject,age,gender\n001A02.JPG,1,2,Female\n")
    (top / "points").mkdir()
    (top / "points" / "001a02.pts").write_text("\n".join(f"{i} {i}" for i in range(68)))
    (found,) = [item for item in fgnet.read(tmp_path) if isinstance(item, Record)]
    assert (found.gender, found.landmarks and found.landmarks[2]) == ("F", (67.0, 67.0))


def test_a_gender_of_fgnet_that_is_none_is_named_with_its_line(tmp_path: Path) -> None:
    _touch(tmp_path, "images/001A02.JPG")
    (tmp_path / "labels.csv").write_text("file,gender\n001A02.JPG,2\n")
    with pytest.raises(DataError, match=r"labels.csv, line 2: gender '2' is not one of M, F"):
        list(fgnet.read(tmp_path))


@pytest.mark.parametrize("read", [utkface.read, fgnet.read])
def test_a_wrong_folder_is_told_what_was_expected_and_what_is_there(tmp_path: Path, read: object) -> None:
    _touch(tmp_path, "notes.txt", "holiday.jpg")
    with pytest.raises(DataError) as error:
        list(read(tmp_path))  # type: ignore[operator]
    message = str(error.value)
    assert str(tmp_path) in message
    assert "such as" in message
    assert "holiday.jpg, notes.txt" in message


def test_a_missing_folder_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        list(utkface.read(tmp_path / "nowhere"))
