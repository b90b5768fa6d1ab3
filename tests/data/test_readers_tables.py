"""IMDB-Clean, APPA-REAL, CLAP2016 and FG-NET, whose labels are in tables or points beside the images."""

from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import DataError
from data.readers import appa_real, clap2016, fgnet, imdb_clean
from data.schema import Record


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def _imdb(folder: Path, tables: str, suffix: str, images: str) -> None:
    """Write three tables of one image each, and the images."""
    head = "filename,age,gender,x_min,y_min,x_max,y_max,head_roll,head_yaw,head_pitch\n"
    (folder / tables).mkdir(parents=True, exist_ok=True)
    for i, split in enumerate(("train", "valid", "test")):
        name = f"0{i}/nm000000{i}_rm1_1964-1-1_2010.jpg"
        _touch(folder / images, name)
        row = f"{name},{40 + i},{'MF'[i % 2]},10,20,30,{50 + i},0.1,0.2,0.3\n"
        (folder / tables / f"imdb_{split}_new{suffix}.csv").write_text(head + row)


@pytest.mark.parametrize(
    ("given", "tables", "suffix", "images"),
    [
        (".", "data/imdb-clean-1024", "_1024", "data/imdb-clean-1024"),  # where its script writes them
        (".", "csvs", "_1024", "data/imdb-clean-1024"),  # what its README shows
        (".", "csvs", "", "data/imdb"),
        (".", ".", "_1024", "."),
        (".", "top/imdb-clean/csvs", "_1024", "top/imdb-clean/data/imdb-clean-1024"),
        ("data", "data/csvs", "", "data/imdb"),
    ],
)
def test_imdb_clean_is_found_where_its_script_puts_it(
    tmp_path: Path, given: str, tables: str, suffix: str, images: str
) -> None:
    _imdb(tmp_path, tables, suffix, images)
    name = "01/nm0000001_rm1_1964-1-1_2010.jpg"
    found = {r.source: r for r in imdb_clean.read(tmp_path / given) if isinstance(r, Record)}
    assert {r.split for r in found.values()} == {"train", "valid", "test"}
    assert found[name] == Record(
        name,
        tmp_path / images / name,
        41.0,
        "F",
        identity="nm0000001",
        split="valid",
        box=(10.0, 20.0, 30.0, 51.0),
    )


def test_imdb_clean_prefers_the_crops_and_their_boxes(tmp_path: Path) -> None:
    _imdb(tmp_path, "csvs", "", "data/imdb")
    _imdb(tmp_path, "data/imdb-clean-1024", "_1024", "data/imdb-clean-1024")
    paths = {str(r.path) for r in imdb_clean.read(tmp_path) if isinstance(r, Record)}
    assert len(paths) == 3
    assert all("imdb-clean-1024" in path for path in paths)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("41,F", "41,woman", r"imdb_valid_new_1024\.csv, line 2: gender 'woman'"),
        ("41,F", "-3,F", "line 2: age '-3'"),
        (",10,20,", ",ten,20,", "line 2: the box"),
        ("01/nm", "../nm", r"line 2: filename '\.\./nm"),
        ("x_min", "left", "no column 'x_min'"),
    ],
)
def test_a_row_of_imdb_clean_that_cannot_be_meant_is_named(
    tmp_path: Path, old: str, new: str, words: str
) -> None:
    _imdb(tmp_path, "csvs", "_1024", "data/imdb-clean-1024")
    table = tmp_path / "csvs/imdb_valid_new_1024.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(DataError, match=words):
        list(imdb_clean.read(tmp_path))


def _appa(folder: Path) -> None:
    for i, split in enumerate(("train", "valid", "test")):
        _touch(folder, f"{split}/00{i}.jpg", f"{split}/00{i}.jpg_face.jpg")
        (folder / f"gt_avg_{split}.csv").write_text(
            "file_name,num_ratings,apparent_age_avg,apparent_age_std,real_age\n"
            f"00{i}.jpg,38,{30.25 + i},{4.5 + i},{33 + i}\n"
        )
    (folder / "test/002.jpg_face.jpg").unlink()


def test_appa_real_has_the_real_age_and_what_people_guessed(tmp_path: Path) -> None:
    _appa(tmp_path)
    found = [r for r in appa_real.read(tmp_path) if isinstance(r, Record)]
    guesses = [(r.source, r.age, r.apparent_age, r.apparent_age_sd, r.split) for r in found]
    assert guesses == [
        ("train/000.jpg_face.jpg", 33, 30.25, 4.5, "train"),
        ("valid/001.jpg_face.jpg", 34, 31.25, 5.5, "valid"),
        ("test/002.jpg", 35, 32.25, 6.5, "test"),  # no crop of it
    ]


def test_clap2016_is_the_same_images_by_apparent_age_from_either_release(tmp_path: Path) -> None:
    _appa(tmp_path / "appa")
    _appa(tmp_path / "clap")
    for i, split in enumerate(("train", "valid", "test")):
        (tmp_path / f"clap/gt_avg_{split}.csv").unlink()
        text = f"image,mean,stdv\n00{i}.jpg,{30.25 + i},{4.5 + i}\n"
        (tmp_path / f"clap/{split}_gt.csv").write_text(text)
    labels = [
        [
            (r.source, r.age, r.apparent_age_sd)
            for r in clap2016.read(tmp_path / name)
            if isinstance(r, Record)
        ]
        for name in ("appa", "clap")
    ]
    assert labels[0] == labels[1]
    assert labels[0][0] == ("train/000.jpg_face.jpg", 30.25, 4.5)


def test_fgnet_points_give_eyes_nose_and_mouth(tmp_path: Path) -> None:
    _touch(tmp_path, "images/001A02.JPG", "images/002A03.JPG", "images/003A04.JPG")
    points = "\n".join(f"{i}.25 {100 + i}.5" for i in range(68))
    (tmp_path / "points").mkdir()
    (tmp_path / "points/001a02.pts").write_text(f"version: 1\nn_points: 68\n{{\n{points}\n}}\n")
    (tmp_path / "points/002a03.pts").write_text("version: 1\nn_points: 1\n{\n1 2\n}\n")
    found = [r.landmarks for r in fgnet.read(tmp_path) if isinstance(r, Record)]
    eyes = ((31.25, 131.5), (36.25, 136.5))
    assert found == [(*eyes, (67.25, 167.5), (48.25, 148.5), (54.25, 154.5)), None, None]


@pytest.mark.parametrize("read", [imdb_clean.read, appa_real.read, clap2016.read])
def test_a_folder_without_the_tables_is_told_what_was_expected(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    _touch(tmp_path, "data/a.jpg")
    with pytest.raises(DataError, match=r"(?s)such as.*found: data/, data/a\.jpg"):
        list(read(tmp_path))  # type: ignore[call-overload]
