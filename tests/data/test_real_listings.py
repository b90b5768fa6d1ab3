"""Every file name of AgeDB and samples of AFAD's and CACD's, as distributed, over one tiny picture."""

import csv
import os
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io

from data.faces import Faces
from data.prepare import prepare
from data.readers import afad, agedb, cacd
from data.schema import Record


@pytest.fixture(scope="module")
def listings(real_faces: Path) -> Path:
    """The folder with agedb.csv, afad_sample.csv and cacd_sample.csv."""
    folder = real_faces / "listings"
    if not folder.is_dir():
        pytest.skip(f"no file listings in {folder}")
    return folder


def _names(listing: Path) -> list[str]:
    with listing.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row[0] for row in csv.reader(file)][1:]


def _linked(folder: Path, names: list[str]) -> Path:
    """Put one picture at each name below `folder`, as links: making files takes ten times as long."""
    picture = folder / "picture"
    for parent in {str(Path(name).parent) for name in names}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (120, 90, 80)).save(picture, "jpeg")
    for name in names:
        os.link(picture, folder / name)
    return folder


def _records(items: object) -> list[Record]:
    found = list(items)  # type: ignore[call-overload]
    assert all(isinstance(item, Record) for item in found)
    return found


@pytest.fixture(scope="module")
def agedb_folder(listings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _linked(tmp_path_factory.mktemp("source") / "AgeDB", _names(listings / "agedb.csv"))


def test_all_of_agedb(agedb_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "agedb"
    prepare("agedb", agedb_folder, out, size=16, duplicates="keep", workers=2, progress=False)
    faces = Faces.open(out)
    assert len(faces) == 16_488
    assert faces.manifest.counts.quarantined == {}
    assert len(set(faces.identities)) == 567
    assert np.bincount(faces.genders).tolist() == [9_788, 6_700]
    assert faces.labels == (1, *range(3, 102))
    assert set(faces.ages.tolist()) == set(faces.labels)
    assert "warning" not in capsys.readouterr().err


def test_five_people_of_agedb_are_there_under_both_genders(agedb_folder: Path) -> None:
    ages: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"M": [], "F": []})
    for record in _records(agedb.read(agedb_folder)):
        ages[str(record.identity)][str(record.gender)].append(record.age)
    twice = {name: by for name, by in ages.items() if by["M"] and sorted(by["M"]) == sorted(by["F"])}
    counts = {"RoyScheider": 27, "GladysCooper": 29, "FrancesDee": 22, "TomJones": 39, "JoanLorring": 15}
    assert {name: len(by["M"]) for name, by in twice.items()} == counts


def test_the_sample_of_afad(listings: Path, tmp_path: Path) -> None:
    names = _names(listings / "afad_sample.csv")
    _linked(tmp_path / "AFAD-Full", names)
    records = _records(afad.read(tmp_path))
    assert sorted(r.source for r in records) == sorted(names)
    assert Counter(r.age for r in records) == Counter(float(name.split("/")[0]) for name in names)
    assert {r.age for r in records} == set(range(15, 41))
    assert Counter(r.gender for r in records)["M"] == sum("/111/" in name for name in names)


def test_the_sample_of_cacd_decomposed_as_macos_unpacks_it(listings: Path, tmp_path: Path) -> None:
    names = _names(listings / "cacd_sample.csv")
    _linked(tmp_path / "CACD2000", [unicodedata.normalize("NFD", name) for name in names])
    people = sorted({name.split("_", 1)[1][:-9] for name in names})
    identity = [people.index(name.split("_", 1)[1][:-9]) + 1 for name in names]
    content = {
        "celebrityData": {"name": np.array(people, object), "identity": np.arange(1, len(people) + 1)},
        "celebrityImageData": {
            "name": np.array(names, object),
            "identity": np.array(identity),
            "rank": np.array([i % 50 + 1 for i in identity]),
        },
    }
    io.savemat(tmp_path / "celebrity2000_meta.mat", content)
    records = _records(cacd.read(tmp_path))
    assert sorted(r.source for r in records) == sorted(names)  # composed again
    assert {r.identity for r in records} == set(people)
    expected = Counter("val" if i % 50 < 2 else "test" if i % 50 < 5 else "train" for i in identity)
    assert Counter(r.split for r in records) == expected
    assert {r.age for r in records} == set(range(14, 63))
