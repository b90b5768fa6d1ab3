"""What every split must keep to, for any data set."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import Samples

from data.errors import DataError
from data.faces import Faces
from data.protocols import Spec
from data.splits import PARTS, load, make

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


def _samples(ages: list[int], people: int = 30) -> Samples:
    return Samples(np.array(ages, np.float32), [f"p{i % people}" for i in range(len(ages))])


samples = st.lists(st.integers(1, 9), min_size=60, max_size=200).map(_samples)


@given(samples, st.integers(0, 5))
def test_image_random_has_every_age_in_train_and_60_20_20(data: Samples, seed: int) -> None:
    split = make(data, Spec("image_random", seed))
    assert set(data.ages[split.train]) == set(data.ages)
    forced = len(set(data.ages))  # each age's first image goes to train whatever the quota
    for name, share in SHARES.items():
        assert abs(len(getattr(split, name)) - share * len(data.ages)) <= 1 + forced * 0.4


def test_image_random_gives_every_age_its_share_of_each_part() -> None:
    data = _samples([age for age in range(20, 40) for _ in range(50)])
    split = make(data, Spec("image_random"))
    for name, share in SHARES.items():
        _, counts = np.unique(data.ages[getattr(split, name)], return_counts=True)
        assert counts.shape == (20,)
        assert (np.abs(counts - 50 * share) <= 3).all()


def test_ages_of_one_class_count_as_one_age() -> None:
    data = Samples(np.array([29.6, 29.9, 30.0, 30.2, 30.4] * 4, np.float32), [None] * 20)
    assert [len(getattr(make(data, Spec("image_random")), name)) for name in PARTS] == [12, 4, 4]


@given(samples, st.integers(0, 5))
def test_subject_exclusive_keeps_people_apart_and_the_quota_to_one_person(data: Samples, seed: int) -> None:
    split = make(data, Spec("subject_exclusive", seed))
    people = [{data.identities[row] for row in getattr(split, name)} for name in PARTS]
    assert not (people[0] & people[1] or people[0] & people[2] or people[1] & people[2])
    largest = max(data.identities.count(person) for person in set(data.identities))
    for name, share in SHARES.items():
        assert len(getattr(split, name)) <= share * len(data.ages) + largest


def test_another_seed_or_protocol_is_another_split_with_another_hash() -> None:
    data = _samples([20 + i % 10 for i in range(100)])
    splits = [make(data, Spec(p, s)) for p in ("image_random", "subject_exclusive") for s in (0, 1)]
    assert len({s.hash for s in splits}) == 4
    assert len({s.test.tobytes() for s in splits}) == 4


def test_a_sample_without_identity_is_counted_where_identities_are_needed() -> None:
    data = Samples(np.full(10, 30, np.float32), ["ann", None] * 5)
    with pytest.raises(DataError, match="5 of 10 have none"):
        make(data, Spec("subject_exclusive"))


@pytest.mark.parametrize(("protocol", "people"), [("image_random", 9), ("subject_exclusive", 2)])
def test_an_empty_part_is_named(protocol: str, people: int) -> None:
    data = _samples(list(range(20, 29)), people)  # nine ages once: all train; two people: no third part
    with pytest.raises(DataError, match=r"leaves no image for (val|test) out of 9"):
        make(data, Spec(protocol))


def test_an_unknown_protocol_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match="Did you mean 'image_random'"):
        make(_samples([20] * 10), Spec("image_randon"))


def test_a_split_is_stored_and_read_back(small: Faces) -> None:
    first = load(small, Spec("image_random", 3))
    (path,) = (small.root / "splits").iterdir()
    stamp = path.stat().st_mtime_ns
    again = load(small, Spec("image_random", 3))
    assert path.stat().st_mtime_ns == stamp
    assert again.hash == first.hash == make(small, Spec("image_random", 3)).hash
    for name in PARTS:
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: {**content, "fingerprint": "0" * 64},
        lambda content: {**content, "train": content["train"][1:]},
        lambda content: {**content, "val": content["test"], "test": content["val"]},
        lambda content: {**content, "test": [*content["test"], content["train"][0]]},
        lambda content: {**content, "val": [10**6]},
        lambda content: {**content, "val": [10**30]},
        lambda content: [],
    ],
)
def test_a_stored_split_that_was_changed_is_refused(small: Faces, damage: object) -> None:
    load(small, Spec("image_random"))
    (path,) = (small.root / "splits").glob("image_random-*.json")
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"json is damaged or belongs to another"):
        load(small, Spec("image_random"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Spec("image_random", train_on="val"), "train_on: val belongs to the protocol official"),
        (Spec("image_random", listing="gone.csv"), "listing: gone.csv is read by the protocols listed"),
    ],
)
def test_wrong_settings_are_refused_beside_a_stored_split_too(small: Faces, wrong: Spec, words: str) -> None:
    load(small, Spec("image_random"))
    with pytest.raises(DataError, match=words):
        load(small, wrong)


def test_a_stored_split_of_an_earlier_format_is_left_alone(small: Faces) -> None:
    old = small.root / "splits" / "image_random-0.json"
    old.parent.mkdir()
    old.write_text('{"format_version": 1}')
    split = load(small, Spec("image_random"))
    assert split.hash == make(small, Spec("image_random")).hash
    assert old.read_text() == '{"format_version": 1}'


def test_a_folder_that_cannot_be_written_still_has_splits(small: Faces) -> None:
    small.root.chmod(0o555)
    try:
        if _writable(small.root):
            pytest.skip("this user may write anywhere")
        assert load(small, Spec("image_random")).hash == make(small, Spec("image_random")).hash
        assert not (small.root / "splits").exists()
    finally:
        small.root.chmod(0o755)


def _writable(folder: Path) -> bool:
    try:
        (folder / "probe").touch()
    except PermissionError:
        return False
    (folder / "probe").unlink()
    return True
