"""Leaks of a split: which of the three verdicts, and on what it rests."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labelled import agedb

from data import verdicts
from data.faces import Faces
from data.prepare import prepare
from data.protocols import Spec
from data.splits import Split, load, make

NOBODY = np.empty((0, 2), np.int64)


def _split(train: list[int], val: list[int], test: list[int]) -> Split:
    return Split(np.array(train), np.array(val), np.array(test), Spec(), "")


SPLIT = _split([0, 1, 2], [3], [4, 5])
APART = ["ann", "ann", "bea", "cid", "dan", "eva"]


def test_a_split_of_people_without_shared_images_has_no_leak() -> None:
    found = verdicts.split_verdict(SPLIT, APART, NOBODY, NOBODY)
    assert found.verdict == verdicts.NONE


def test_a_person_in_train_and_test_is_a_leak_with_all_their_test_images() -> None:
    found = verdicts.split_verdict(SPLIT, ["ann", "bea", "bea", "cid", "ann", "ann"], NOBODY, NOBODY)
    assert found.verdict == verdicts.LEAK
    assert found.reasons == ("2 of 2 test images show a person of train",)
    assert (found.counts["people"], found.counts["images_of_people"]) == (1, 2)


@pytest.mark.parametrize("kind", ["identical", "near"])
def test_an_image_in_train_and_test_is_a_leak_and_one_in_validation_is_none(kind: str) -> None:
    """Image 4 of test has two in train and counts once, whatever the order in a pair."""
    pairs = np.array([[0, 4], [4, 1], [3, 5], [0, 3]])
    given = (pairs, NOBODY) if kind == "identical" else (NOBODY, pairs)
    found = verdicts.split_verdict(SPLIT, APART, *given)
    assert (found.verdict, found.counts[kind]) == (verdicts.LEAK, 1)
    harmless = verdicts.split_verdict(SPLIT, APART, pairs[2:], pairs[2:])
    assert harmless.verdict == verdicts.NONE


def test_faces_without_identity_leave_it_open_unless_an_image_is_shared() -> None:
    people: list[str | None] = ["ann", None, "bea", "cid", "dan", "eva"]
    found = verdicts.split_verdict(SPLIT, people, NOBODY, NOBODY)
    assert (found.verdict, found.counts["nameless"]) == (verdicts.UNKNOWN, 1)
    assert verdicts.split_verdict(SPLIT, people, NOBODY, np.array([[1, 5]])).verdict == verdicts.LEAK


@pytest.mark.parametrize(
    ("name", "same"), [("Maria_Callas", "MariaCallas"), ("Penélope Cruz", "PENELOPE-CRUZ")]
)
def test_names_are_compared_without_accents_case_and_marks(name: str, same: str) -> None:
    assert verdicts.normalised(name) == verdicts.normalised(same)


def test_a_verdict_is_kept_beside_the_data_set(small: Faces) -> None:
    split = load(small, Spec("image_random"))
    first = verdicts.of_split(small, split)
    assert first.verdict == verdicts.LEAK  # ten people, four images each
    (path,) = (small.root / "audit").iterdir()
    stamp = path.stat().st_mtime_ns
    assert verdicts.of_split(small, split) == first
    assert path.stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    "damage", ["", '{"verdict": "le', "[]", '{"verdict": "none found"}', '{"verdict": 1}']
)
def test_a_damaged_verdict_is_found_again_and_kept(small: Faces, damage: str) -> None:
    split = load(small, Spec("image_random"))
    first = verdicts.of_split(small, split)
    (path,) = (small.root / "audit").iterdir()
    whole = path.read_text()
    path.write_text(damage)
    assert verdicts.of_split(small, split) == first
    assert path.read_text() == whole


def test_a_damaged_comparison_with_another_data_set_is_made_again(small: Faces) -> None:
    first = verdicts.of_other(small, small)
    (path,) = (small.root / "audit").glob("against-*.json")
    path.write_text("{")
    assert verdicts.of_other(small, small) == first


def _set(
    folder: Path, picture: Callable[[Path, int], Path], people: list[str], first: int = 0, size: int = 16
) -> Faces:
    rows = [f"{i}.png,{20 + i},M,{person}" for i, person in enumerate(people)]
    folder.mkdir()
    (folder / "people.csv").write_text("\n".join(["path,age,gender,identity", *rows]) + "\n")
    for i in range(len(people)):
        picture(folder / f"{i}.png", first + i)
    prepare("table", folder / "people.csv", folder / "faces", size=size, workers=1, progress=False)
    return Faces.open(folder / "faces")


def test_another_data_set_is_compared_by_images_and_names(
    tmp_path: Path, picture: Callable[[Path, int], Path]
) -> None:
    ours = _set(tmp_path / "ours", picture, ["AnnLee", "AnnLee", "BeaOrr"])
    named = _set(tmp_path / "named", picture, ["Ann_Lee", "Cid_Ray"], first=50)
    copied = _set(tmp_path / "copied", picture, ["Dan_Fox", "Eva_Kay"], first=2, size=32)
    apart = _set(tmp_path / "apart", picture, ["Dan_Fox", "Eva_Kay"], first=70)
    numbers = _set(tmp_path / "numbers", picture, ["001", "002"], first=80)

    shared = verdicts.against(ours, named)
    assert (shared.verdict, shared.counts["people"], shared.counts["images_of_people"]) == ("leak", 1, 2)
    assert verdicts.against(ours, copied).counts["identical"] == 1  # one file, prepared at two sizes
    assert verdicts.against(ours, apart).verdict == verdicts.NONE
    assert verdicts.against(ours, numbers).verdict == verdicts.UNKNOWN


def test_every_image_random_test_image_of_agedb_shows_a_person_of_train(real_faces: Path) -> None:
    path = real_faces / "listings" / "agedb.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    data = agedb(path)
    for protocol, expected in (("image_random", verdicts.LEAK), ("subject_exclusive", verdicts.NONE)):
        split = make(data, Spec(protocol))
        found = verdicts.split_verdict(split, data.identities, NOBODY, NOBODY)
        assert found.verdict == expected
        if protocol == "image_random":
            assert found.counts["images_of_people"] == pytest.approx(len(split.test), rel=0.002)
