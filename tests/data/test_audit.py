"""The audit of a data set: what it finds, what it writes, how it ends."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import audit_facts
from data.audit import audit, main
from data.faces import Faces
from data.prepare import prepare

TWICE = {"RoyScheider": 27, "GladysCooper": 29, "FrancesDee": 22, "TomJones": 39, "JoanLorring": 15}


def test_facts_of_a_small_data_set_by_hand(small: Faces) -> None:
    """Forty faces: ages 20 to 29 four times each, so the best constant is 24.5 and its MAE 2.5."""
    found = audit(small)
    assert found["labels"] == {"count": 10, "low": 20, "high": 29, "gaps": [], "without_faces": []}
    assert found["constant"] == {"age": 24.5, "mae": 2.5}
    ages = found["ages"]
    assert [sum(ages[name]) for name in ("M", "F", "unknown")] == [20, 10, 10]
    assert ages["age"] == list(range(20, 30))
    assert (found["people"]["count"], found["people"]["fewest"], found["people"]["most"]) == (10, 4, 4)
    assert found["protocols"]["image_random"]["verdict"] == "leak"
    assert found["protocols"]["subject_exclusive"]["verdict"] == "none found"
    assert found["protocols"]["subject_exclusive"]["shared"]["train and test"]["people"] == 0


def test_copies_that_were_kept_are_found_with_their_conflicts(
    tmp_path: Path, picture: Callable[[Path, int], Path], table: Callable[..., Path]
) -> None:
    rows = [("a.png", "20", "M", ""), ("b.png", "20", "F", ""), ("c.png", "31", "M", "")]
    rows += [(f"{i}.png", str(20 + i), "M", "") for i in range(20)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], 0 if i < 3 else i)  # a, b and c are one picture
    prepare("table", source, tmp_path / "kept", size=16, duplicates="keep", workers=1, progress=False)
    found = audit_facts.copies(Faces.open(tmp_path / "kept"))
    for kind in ("identical", "near"):
        told = found[kind]
        assert (told["pairs"], told["faces"], told["ages_conflict"], told["genders_conflict"]) == (3, 3, 2, 2)
        assert told["ages_differ_by_5_or_more"] == 2


def test_the_command_writes_report_and_figure_and_strict_says_that_test_leaks(
    small: Faces, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small.root)]) == 0
    assert main([str(small.root), "--strict", "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "splits, image_random: leak" in printed.out
    assert "pretraining: cannot be determined" in printed.out
    assert "strict: test leaks into train: image_random" in printed.err
    for folder in (small.root / "audit", tmp_path / "out"):
        assert json.loads((folder / "audit.json").read_text())["fingerprint"] == small.fingerprint
        assert "| 20 | 4 | 0 | 0 |\n| 21 | 0 | 2 | 2 |" in (folder / "audit.md").read_text()
        assert Image.open(folder / "audit.png").size[0] > 500


@pytest.fixture
def apart(tmp_path: Path, picture: Callable[[Path, int], Path], table: Callable[..., Path]) -> Faces:
    """Ten people with one picture each: no split that can be made leaks."""
    rows = [(f"{i}.png", str(20 + i % 2), "M", f"p{i}") for i in range(10)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i)
    prepare("table", source, tmp_path / "apart", size=16, workers=1, progress=False)
    return Faces.open(tmp_path / "apart")


def test_strict_does_not_pass_a_stored_split_that_is_damaged(
    apart: Faces, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(apart.root), "--strict"]) == 0
    (stored,) = (apart.root / "splits").glob("subject_exclusive-*.json")
    stored.write_text("{")
    assert main([str(apart.root), "--strict"]) == 1
    printed = capsys.readouterr()
    expected = "strict: cannot be determined, the stored split is damaged: subject_exclusive\n"
    assert printed.err.endswith(expected)
    assert f"splits, subject_exclusive: {stored} is damaged" in printed.out
    assert main([str(apart.root)]) == 0


def test_strict_passes_where_a_protocol_does_not_apply(
    tmp_path: Path,
    picture: Callable[[Path, int], Path],
    table: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Five faces of five ages and without names: every image is needed for train, and nobody is known."""
    rows = [(f"{i}.png", str(20 + i), "M", "") for i in range(5)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i)
    prepare("table", source, tmp_path / "few", size=16, workers=1, progress=False)
    assert main([str(tmp_path / "few"), "--strict"]) == 0
    assert "splits, image_random: few: image_random leaves no image for" in capsys.readouterr().out


def test_a_comparison_is_kept_for_runs(small: Faces) -> None:
    assert main([str(small.root), "--against", str(small.root), "--strict"]) == 1
    (kept,) = (small.root / "audit").glob("against-*.json")
    assert json.loads(kept.read_text())["counts"]["identical"] == len(small)


def test_a_folder_that_is_no_data_set_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 2
    assert "is not a prepared data set" in capsys.readouterr().err


def test_agedbs_people_who_are_entered_under_both_genders(real_faces: Path, tmp_path: Path) -> None:
    """Five people, 132 images: drawn pictures under the real names of 40 people, those five among them."""
    listing = real_faces / "listings" / "agedb.csv"
    if not listing.is_file():
        pytest.skip(f"no {listing}")
    with listing.open(newline="") as file:
        names = [row["file"] for row in csv.DictReader(file)]
    people = sorted({name.split("_")[1] for name in names})
    chosen = {*TWICE, *people[::16]}
    draw = np.random.default_rng(0)
    source = tmp_path / "AgeDB"
    source.mkdir()
    for name in names:
        if name.split("_")[1] in chosen:
            Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(source / name)
    prepare("agedb", source, tmp_path / "faces", size=16, workers=1, progress=False)
    found = audit(Faces.open(tmp_path / "faces"))
    both = found["people"]["both_genders"]
    assert both["names"] == sorted(TWICE)
    assert (both["people"], both["wrong_at_least"], both["images"]) == (5, 132, 264)
    random = found["protocols"]["image_random"]
    assert random["counts"]["images_of_people"] == random["counts"]["test"] == random["sizes"]["test"]
    assert found["protocols"]["subject_exclusive"]["verdict"] == "none found"
