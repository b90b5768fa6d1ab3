"""AgeDB, AFAD, CACD and MORPH, whose labels are in file names: made-up people in real layouts."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import io

from data.errors import DataError
from data.readers import afad, agedb, cacd, morph
from data.readers.layout import label_set, text
from data.schema import Record, Rejected

Read = Callable[[Path], object]


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _records(read: Read, source: Path) -> dict[str, Record]:
    items = list(read(source))  # type: ignore[call-overload]
    return {item.source: item for item in items if isinstance(item, Record)}


def _rejected(read: Read, source: Path) -> dict[str, str]:
    items = list(read(source))  # type: ignore[call-overload]
    return {item.source: item.reason for item in items if isinstance(item, Rejected)}


def test_agedb_names_give_person_age_and_gender(tmp_path: Path) -> None:
    _touch(tmp_path, "AgeDB/0_JaneDoe_41_f.jpg", "AgeDB/12_JohnRoe _101_m.jpg", "AgeDB/3_PetКrFoo_1_m.jpg")
    found = _records(agedb.read, tmp_path)
    labels = {name: (r.age, r.gender, r.identity) for name, r in found.items()}
    assert labels == {
        "0_JaneDoe_41_f.jpg": (41, "F", "JaneDoe"),
        "12_JohnRoe _101_m.jpg": (101, "M", "JohnRoe"),  # a space that the person's other names lack
        "3_PetКrFoo_1_m.jpg": (1, "M", "PetКrFoo"),
    }
    assert found["0_JaneDoe_41_f.jpg"].path == tmp_path / "AgeDB/0_JaneDoe_41_f.jpg"


@pytest.mark.parametrize("name", ["0_JaneDoe_41_x.jpg", "JaneDoe_41_f.jpg", "0_JaneDoe__f.jpg", "cover.jpg"])
def test_agedb_names_that_leave_something_open(tmp_path: Path, name: str) -> None:
    _touch(tmp_path, name, "1_JaneDoe_41_f.jpg")
    assert _rejected(agedb.read, tmp_path) == {name: "name does not give number, person, age and gender"}


def test_nobody_in_agedb_is_two_years_old(tmp_path: Path) -> None:
    _touch(tmp_path, "0_JaneDoe_2_f.jpg", "1_JaneDoe_3_f.jpg")
    assert _rejected(agedb.read, tmp_path) == {"0_JaneDoe_2_f.jpg": "age is not one of AgeDB's 100"}


def test_an_agedb_number_stands_for_one_image(tmp_path: Path) -> None:
    _touch(tmp_path, "old/7_PetérFoo_41_m.jpg", "new/7_PetКrFoo_41_m.jpg")
    with pytest.raises(DataError, match="AgeDB's number 7 twice"):
        list(agedb.read(tmp_path))


def test_a_name_that_is_not_utf8_is_read_by_its_number(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/7_Ren\xe9e_41_f.jpg"
    Path(os.fsdecode(path)).write_bytes(b"x")
    (record,) = _records(agedb.read, tmp_path).values()
    assert (record.source, record.identity, record.age) == (r"7_Ren\xe9e_41_f.jpg", r"Ren\xe9e", 41)
    assert record.path is not None
    assert record.path.read_bytes() == b"x"


def test_composed_and_decomposed_names_are_one_source() -> None:
    assert text(unicodedata.normalize("NFD", "7_Renée_41_f.jpg")) == "7_Renée_41_f.jpg"


def test_afad_folders_give_age_and_gender_and_the_name_the_person(tmp_path: Path) -> None:
    _touch(tmp_path, "AFAD-Full/15/111/638660-1.jpg", "AFAD-Full/72/112/9-0.jpg", "AFAD-Full/README.md")
    found = _records(afad.read, tmp_path)
    labels = {name: (r.age, r.gender, r.identity) for name, r in found.items()}
    assert labels == {"15/111/638660-1.jpg": (15, "M", "638660"), "72/112/9-0.jpg": (72, "F", "9")}


def test_afad_sources_do_not_depend_on_which_folder_is_given(tmp_path: Path) -> None:
    _touch(tmp_path, "AFAD-Full/15/111/638660-1.jpg", "AFAD-Full/15/111/7-1.jpg")
    expected = _records(afad.read, tmp_path)
    assert _records(afad.read, tmp_path / "AFAD-Full") == expected
    assert _records(afad.read, tmp_path / "AFAD-Full/15") == expected


def test_afad_outside_of_its_folders_or_ages_is_rejected(tmp_path: Path) -> None:
    _touch(tmp_path, "15/113/1-1.jpg", "71/111/1-1.jpg", "15/111/face.jpg", "15/111/1-1.jpg")
    assert _rejected(afad.read, tmp_path) == {
        "15/111/face.jpg": "path does not give age, gender and person",
        "15/113/1-1.jpg": "path does not give age, gender and person",
        "71/111/1-1.jpg": "age is not one of AFAD's 57",
    }


def test_two_copies_of_afad_in_one_folder_are_an_error(tmp_path: Path) -> None:
    _touch(tmp_path, "AFAD-Full/20/111/1-1.jpg", "AFAD-Lite/20/111/1-1.jpg")
    with pytest.raises(DataError, match=r"20/111/1-1\.jpg twice.*give the folder of one copy"):
        list(afad.read(tmp_path))


PEOPLE = ("Jane Doe", "Pénelope O'Foo", "J. R. Bar-Baz Jr.")
RANKS = (1, 4, 6)


@pytest.fixture
def cacd_folder(tmp_path: Path) -> Path:
    """CACD as distributed: three made-up people, and the .mat file beside the folder of images."""
    names = [f"{20 + i}_{PEOPLE[i % 3].replace(' ', '_')}_{i:04d}.jpg" for i in range(6)]
    _touch(tmp_path / "CACD2000", *names)
    cells = np.empty(6, object)
    cells[:] = names
    people = np.empty(3, object)
    people[:] = PEOPLE
    rank = np.array([RANKS[i % 3] for i in range(6)])
    images = {"name": cells, "identity": np.arange(6) % 3 + 1, "rank": rank, "age": np.arange(20, 26)}
    content = {
        "celebrityImageData": images,
        "celebrityData": {"name": people, "identity": np.arange(1, 4), "rank": np.array(RANKS)},
    }
    io.savemat(tmp_path / "celebrity2000_meta.mat", content)
    return tmp_path


def test_cacd_splits_people_by_rank(cacd_folder: Path) -> None:
    found = _records(cacd.read, cacd_folder)
    assert {r.identity: r.split for r in found.values()} == {
        "Jane_Doe": "val",
        "Pénelope_O'Foo": "test",
        "J._R._Bar-Baz_Jr.": "train",
    }
    assert {(r.age, r.gender) for r in found.values()} == {(20.0 + i, None) for i in range(6)}
    assert _records(cacd.read, cacd_folder / "CACD2000") == found


@pytest.mark.parametrize(
    "mangled",
    [
        lambda name: unicodedata.normalize("NFD", name),
        lambda name: name.replace("é", "e"),
        lambda name: name.encode().decode("cp437"),  # an unzip program that takes UTF-8 for DOS
        lambda name: unicodedata.normalize("NFD", name).encode().decode("cp437"),
        lambda name: os.fsdecode(name.encode("latin-1")),
        lambda name: name.replace("é", "_"),
        lambda name: name.replace("é", "#U00e9"),  # Info-ZIP's unzip, where the locale has no é
    ],
    ids=["NFD", "without accents", "mojibake", "mojibake of NFD", "not UTF-8", "underscore", "escape"],
)
def test_cacd_finds_people_whose_accents_changed(cacd_folder: Path, mangled: Callable[[str], str]) -> None:
    name = "21_Pénelope_O'Foo_0001.jpg"
    images = cacd_folder / "CACD2000"
    (images / name).rename(images / mangled(name))
    found = _records(cacd.read, cacd_folder)
    assert len(found) == 6
    assert {(r.identity, r.split) for r in found.values() if r.age == 21} == {("Pénelope_O'Foo", "test")}


def test_cacd_finds_its_table_below_the_folder_that_is_given(cacd_folder: Path) -> None:
    deeper = cacd_folder / "top"
    deeper.mkdir()
    for path in (cacd_folder / "CACD2000", cacd_folder / "celebrity2000_meta.mat"):
        path.rename(deeper / path.name)
    assert {record.split for record in _records(cacd.read, cacd_folder).values()} >= {"val", "test"}


def test_cacd_rejects_an_image_that_its_table_does_not_name(cacd_folder: Path) -> None:
    _touch(
        cacd_folder / "CACD2000", "21_Pénelope_O'Foo_0002.jpg", "30_Jane_Doe_1.jpg", "63_Jane_Doe_0001.jpg"
    )
    assert _rejected(cacd.read, cacd_folder) == {
        "21_Pénelope_O'Foo_0002.jpg": "name is not in celebrity2000_meta.mat",
        "CACD2000/30_Jane_Doe_1.jpg": "name does not give age, person and number",
        "63_Jane_Doe_0001.jpg": "age is not one of CACD's 49",
    }


def test_cacd_without_its_table_goes_by_names_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _touch(tmp_path, "CACD2000/53_Harry_Foo_Jr._0006.jpg", "CACD2000/20_50_Bar_0001.jpg")
    found = _records(cacd.read, tmp_path)
    assert {(r.age, r.identity, r.split) for r in found.values()} == {
        (53, "Harry_Foo_Jr.", None),
        (20, "50_Bar", None),
    }
    assert "no official split" in capsys.readouterr().err


def test_a_cacd_table_that_is_something_else_is_named(tmp_path: Path) -> None:
    _touch(tmp_path, "CACD2000/20_Jane_Doe_0001.jpg")
    io.savemat(tmp_path / "celebrity2000_meta.mat", {"x": 1})
    with pytest.raises(DataError, match=r"celebrity2000_meta\.mat is not CACD's table"):
        list(cacd.read(tmp_path))


def test_morph_names_give_all_but_the_ethnicity(tmp_path: Path) -> None:
    _touch(tmp_path, "Album2/009055_1M54.JPG", "Album2/9055_2M55.JPG", "Album2/100012_0F21.jpg", "x.jpg")
    (tmp_path / "morph_2008_nonCommercial.csv").write_text(
        "id_num,picture_num,race,gender,age,photo\n9055,1,B,M,54,Album2/009055_1M54.JPG\n100012,0,W,F,21,100012_0F21.JPG\n"
    )
    found = _records(morph.read, tmp_path)
    labels = {name: (r.identity, r.age, r.gender, r.ethnicity) for name, r in found.items()}
    assert labels == {
        "009055_1M54.JPG": ("9055", 54, "M", "Black"),
        "9055_2M55.JPG": ("9055", 55, "M", None),
        "100012_0F21.jpg": ("100012", 21, "F", "White"),
    }
    assert _rejected(morph.read, tmp_path) == {"x.jpg": "name does not give person, gender and age"}


def _aged(*ages: float) -> list[Record]:
    return [Record(f"{i}.jpg", None, age, None) for i, age in enumerate(ages)]


def test_labels_of_a_published_set_stay_when_the_copy_lacks_some() -> None:
    labels, warning = label_set(agedb.PUBLISHED, _aged(1, 3, 101))
    assert labels == (1, *range(3, 102))
    assert "AgeDB is partial: 3 of 16,488 images, none aged 4, 5, 6, 7, 8, …" in warning
    assert "100 ages" in warning


def test_a_whole_copy_gives_no_warning() -> None:
    ages = [15 + i % 56 for i in range(165_500)]
    assert label_set(afad.PUBLISHED, _aged(*ages, 72)) == ((*range(15, 71), 72), "")


def test_afad_lite_has_its_own_labels() -> None:
    labels, warning = label_set(afad.PUBLISHED, _aged(*range(18, 40)))
    assert labels == tuple(range(18, 40))
    assert warning == ""


@pytest.mark.parametrize(("reader", "count"), [(agedb, 100), (afad, 57), (cacd, 49)])
def test_published_label_sets_have_their_size(reader: object, count: int) -> None:
    assert len(set(reader.PUBLISHED[-1].labels)) == count  # type: ignore[attr-defined]


def test_labels_of_an_unpublished_set_are_its_ages() -> None:
    assert label_set((), _aged(0.4, 30.5, 7)) == ((0, 7, 31), "")
