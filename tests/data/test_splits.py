"""What every split must keep to, for any data set."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data.errors import DataError
from data.faces import Faces
from data.protocols import Spec
from data.splits import PARTS, Split, load, make

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}


@dataclass(frozen=True)
class Samples:
    """The labels of a data set, without its pictures."""

    ages: NDArray[np.float32]
    identities: list[str | None]
    name: str = "samples"

    @property
    def sources(self) -> list[str]:
        return [f"{i:04d}.jpg" for i in range(len(self.ages))]

    @property
    def official(self) -> list[str | None]:
        return [None] * len(self.ages)

    def near_groups(self) -> NDArray[np.int64]:
        return np.arange(len(self.ages))


@dataclass(frozen=True)
class Reordered:
    """The same samples in another row order."""

    of: Samples
    order: NDArray[np.int64]
    name: str = "reordered"

    @property
    def ages(self) -> NDArray[np.float32]:
        return self.of.ages[self.order]

    @property
    def sources(self) -> list[str]:
        sources = self.of.sources
        return [sources[i] for i in self.order]

    @property
    def identities(self) -> list[str | None]:
        return [self.of.identities[i] for i in self.order]

    @property
    def official(self) -> list[str | None]:
        return self.of.official

    def near_groups(self) -> NDArray[np.int64]:
        return np.arange(len(self.order))


def _samples(ages: list[int], people: int = 30) -> Samples:
    return Samples(np.array(ages, np.float32), [f"p{i % people}" for i in range(len(ages))])


samples = st.lists(st.integers(1, 9), min_size=60, max_size=200).map(_samples)
protocols = st.sampled_from(["image_random", "subject_exclusive"])


def _parts(split: Split, sources: list[str]) -> dict[str, set[str]]:
    return {name: {sources[row] for row in getattr(split, name)} for name in PARTS}


@given(samples, protocols, st.integers(0, 5))
def test_the_parts_are_a_partition_in_sorted_rows(data: Samples, protocol: str, seed: int) -> None:
    split = make(data, Spec(protocol, seed))
    rows = np.concatenate([split.train, split.val, split.test])
    assert sorted(rows.tolist()) == list(range(len(data.ages)))
    for name in PARTS:
        part = getattr(split, name)
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()


@given(samples, protocols, st.integers(0, 5), st.randoms(use_true_random=False))
def test_neither_time_nor_row_order_changes_a_split(
    data: Samples, protocol: str, seed: int, random: object
) -> None:
    order = np.array(random.sample(range(len(data.ages)), len(data.ages)))  # type: ignore[attr-defined]
    other = Reordered(data, order)
    first, again, moved = (
        make(data, Spec(protocol, seed)),
        make(data, Spec(protocol, seed)),
        make(other, Spec(protocol, seed)),
    )
    assert first.hash == again.hash == moved.hash
    assert _parts(first, data.sources) == _parts(moved, other.sources)


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
        lambda content: [],
    ],
)
def test_a_stored_split_that_was_changed_is_refused(small: Faces, damage: object) -> None:
    load(small, Spec("image_random"))
    (path,) = (small.root / "splits").glob("image_random-*.json")
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"json is damaged or belongs to another"):
        load(small, Spec("image_random"))


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
