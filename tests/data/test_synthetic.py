"""Drawn faces: their labels are in their pixels, and they are the same every time."""

import numpy as np
import pytest

from data.errors import DataError
from data.readers.synthetic import faces, parse
from data.schema import Record


@pytest.fixture(scope="module")
def drawn() -> list[Record]:
    return list(faces(1500, 32))


def test_every_age_is_there_from_80_faces() -> None:
    assert {record.age for record in faces(80, 16)} == set(range(1, 81))


def test_some_have_no_gender_and_some_no_identity(drawn: list[Record]) -> None:
    assert 0.015 < np.mean([record.gender is None for record in drawn]) < 0.045
    assert 0.05 < np.mean([record.identity is None for record in drawn]) < 0.15
    assert 0.4 < np.mean([record.gender == "F" for record in drawn]) < 0.6


def test_a_person_has_one_gender(drawn: list[Record]) -> None:
    known = {(r.identity, r.gender) for r in drawn if r.identity and r.gender}
    assert len(known) == len({identity for identity, _ in known})


def test_the_same_faces_every_time_and_others_for_another_seed() -> None:
    first, again, other = (np.stack([r.pixels for r in faces(20, 16, seed)]) for seed in (0, 0, 1))  # type: ignore[misc]
    assert (first == again).all()
    assert (first != other).any()
    assert first.shape == (20, 16, 16, 3)


def test_a_face_does_not_depend_on_the_size_of_the_chunk_it_is_drawn_in() -> None:
    few, many = list(faces(130, 16)), list(faces(135, 16))
    assert few[129].age == many[129].age
    assert few[3].pixels is not None
    assert few[3].pixels.shape == (16, 16, 3)


def _ridge(x: np.ndarray, y: np.ndarray, train: int) -> np.ndarray:
    """Predictions for the rows after `train` of a ridge regression on the first rows."""
    a = np.hstack([x - x[:train].mean(0), np.ones((len(x), 1))])
    normal = a[:train].T @ a[:train] + 10 * np.eye(a.shape[1])
    return a[train:] @ np.linalg.solve(normal, a[:train].T @ y[:train])


def test_pixels_carry_age_but_not_exactly(drawn: list[Record]) -> None:
    x = np.stack([r.pixels[::2, ::2].ravel() / 255 for r in drawn if r.pixels is not None])
    age = np.array([r.age for r in drawn])
    error = np.abs(_ridge(x, age, 1100) - age[1100:]).mean()
    constant = np.abs(np.median(age[:1100]) - age[1100:]).mean()
    assert 3 < error < 0.5 * constant


def test_pixels_carry_gender(drawn: list[Record]) -> None:
    known = [r for r in drawn if r.gender and r.pixels is not None]
    x = np.stack([r.pixels[::2, ::2].ravel() / 255 for r in known if r.pixels is not None])
    sign = np.array([1.0 if r.gender == "F" else -1.0 for r in known])
    assert ((_ridge(x, sign, 1000) > 0) == (sign[1000:] > 0)).mean() > 0.75


@pytest.mark.parametrize("name", ["3000", "3000x", "0x48", "3000x8", "3000x4800", "axb", "3000x48x3"])
def test_a_name_that_is_not_count_and_size_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(DataError, match=f"synthetic:{name} is not .*such as synthetic:3000x48"):
        parse(name)
