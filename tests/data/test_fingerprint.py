"""The fingerprint names what a data set is made of; labels round half up; manifests have a version."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import DataError
from data.schema import Counts, Manifest, Preparation, Record, age_labels, fingerprint

RECORDS = [Record(f"{i}.png", None, 20.0 + i, "M", identity=f"p{i}") for i in range(6)]
DIGESTS = [f"{i:064x}" for i in range(6)]


@given(st.permutations(range(6)))
def test_fingerprint_is_independent_of_order(order: list[int]) -> None:
    shuffled = fingerprint([RECORDS[i] for i in order], [DIGESTS[i] for i in order], Preparation(112))
    assert shuffled == fingerprint(RECORDS, DIGESTS, Preparation(112))


def test_fingerprint_depends_on_every_path_byte_label_and_choice() -> None:
    first, *others = RECORDS
    changed = [
        fingerprint([replace(first, **{key: value}), *others], DIGESTS, Preparation(112))
        for key, value in [
            ("source", "z.png"),
            ("age", 20.5),
            ("gender", None),
            ("identity", "q"),
            ("ethnicity", "Other"),
            ("split", "test"),
        ]
    ]
    changed.append(fingerprint(RECORDS, ["f" * 64, *DIGESTS[1:]], Preparation(112)))
    changed.append(fingerprint(RECORDS[1:], DIGESTS[1:], Preparation(112)))
    changed += [
        fingerprint(RECORDS, DIGESTS, p) for p in (Preparation(96), Preparation(112, duplicates="keep"))
    ]
    everything = {fingerprint(RECORDS, DIGESTS, Preparation(112)), *changed}
    assert len(everything) == len(changed) + 1


def test_fingerprint_does_not_depend_on_where_the_source_folder_lies() -> None:
    moved = [replace(record, path=Path("/elsewhere") / record.source) for record in RECORDS]
    assert fingerprint(moved, DIGESTS, Preparation(112)) == fingerprint(RECORDS, DIGESTS, Preparation(112))


def test_age_labels_round_half_up() -> None:
    assert age_labels([0.4, 0.5, 1.5, 2.5, 3.0]).tolist() == [0, 1, 2, 3, 3]


MANIFEST = Manifest(
    "small", "table", "f" * 64, "c" * 64, Counts(3, 2, {"x": 1}, {"M": 2}), (3, 5), 16, Preparation(16)
)


def test_a_manifest_survives_its_json() -> None:
    assert Manifest.from_json(MANIFEST.to_json(), Path("manifest.json")) == MANIFEST


def test_a_manifest_of_an_unknown_version_is_refused_by_number() -> None:
    newer = json.dumps({**json.loads(MANIFEST.to_json()), "format_version": 99})
    with pytest.raises(DataError, match=r"manifest\.json has format version 99; this code reads 2"):
        Manifest.from_json(newer, Path("manifest.json"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format_version": 2}'])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"manifest\.json is"):
        Manifest.from_json(text, Path("manifest.json"))
