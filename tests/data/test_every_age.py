"""Where people stay together, train gets every age that exchanging two of them can bring."""

from collections import defaultdict

import numpy as np
import pytest
from labelled import Samples
from numpy.typing import NDArray

from data.every_age import with_every_age
from data.people import by_person, spread
from data.schema import age_labels


def _samples(seed: int) -> Samples:
    """Some 60 people with 3 to 12 faces each, whose high ages few of them have."""
    rng = np.random.default_rng(seed)
    ages, identities = [], []
    for person in range(60):
        first = int(rng.triangular(1, 30, 90))
        for age in rng.integers(first, first + 12, rng.integers(3, 13)):
            ages.append(float(age))
            identities.append(f"p{person:02d}")
    return Samples(np.array(ages, np.float32), identities)


@pytest.mark.parametrize("seed", range(8))
def test_no_age_is_lost_nobody_is_divided_and_what_can_come_comes(seed: int) -> None:
    faces = _samples(seed)
    people, labels = by_person(faces, "test"), age_labels(faces.ages)
    before = spread(faces, people, np.array([3, 1, 1]), seed)
    after = with_every_age(faces, people, before)
    had, has = set(labels[before == 0].tolist()), set(labels[after == 0].tolist())
    assert had <= has
    parts: dict[str | None, set[int]] = defaultdict(set)
    for identity, part in zip(faces.identities, after.tolist(), strict=True):
        parts[identity].add(part)
    assert all(len(found) == 1 for found in parts.values())
    sizes = np.bincount(before, minlength=3)
    assert (np.bincount(after, minlength=3) >= 0.9 * sizes).all()
    assert not any(_could_come(faces, after, sizes, age) for age in set(labels.tolist()) - has)


def _could_come(faces: Samples, parts: NDArray[np.int64], sizes: NDArray[np.int64], age: int) -> bool:
    """Whether one of an age's people can go to part 0, alone or for somebody, without harm: by trying all."""
    labels, people = age_labels(faces.ages), np.array(faces.identities)
    for person in set(people[labels == age].tolist()):
        home = int(parts[people == person][0])
        for other in (None, *set(people[parts == 0].tolist())):
            then = np.where(people == person, 0, np.where(people == other, home, parts))
            kept = set(labels[parts == 0].tolist()) <= set(labels[then == 0].tolist())
            if kept and (then == home).sum() >= 0.9 * sizes[home]:
                return True
    return False


def test_people_of_one_age_each_do_not_all_go_to_train() -> None:
    faces = Samples(np.arange(20, 60, dtype=np.float32) // 4, [f"p{i // 4}" for i in range(40)])
    people = by_person(faces, "test")
    before = spread(faces, people, np.array([3, 1, 1]), 0)
    assert np.array_equal(with_every_age(faces, people, before), before)


def test_the_exchange_that_changes_the_histograms_least_is_taken() -> None:
    faces = Samples(
        np.array([20, 20, 21, 20, 21, 20, 20, 40, 40, 90, 20, 21], np.float32),
        ["a", "a", "a", "b", "b", "b", "b", "c", "c", "old", "d", "e"],
    )
    people = by_person(faces, "test")
    before = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0])
    after = with_every_age(faces, people, before)
    moved = {str(faces.identities[row]): int(after[row]) for row in np.flatnonzero(before != after)}
    assert moved == {"old": 0, "e": 2}  # one face for one face of a common age
