"""Which images are copies, and what becomes of them by the label in which they conflict."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data.duplicates import Copy, first_alike, resolve
from data.schema import Record


def _copy(
    row: int,
    age: float = 30,
    gender: str | None = "M",
    ethnicity: str | None = "White",
    file: str = "same",
    first: int = 0,
) -> Copy:
    record = Record(f"{row}.jpg", None, age, gender, ethnicity=ethnicity)
    return Copy(row, record, file, first)


def test_images_of_one_checksum_are_copies_only_if_every_pixel_is_the_same() -> None:
    pixels = np.zeros((5, 2, 2, 3), np.uint8)
    pixels[1, 1, 1, 2] = 1  # the last byte
    pixels[3] = pixels[1]
    assert first_alike([0, 1, 3, 4], [7, 7, 7, 7], pixels) == [0, 1, 1, 0]


def test_ages_conflict_so_no_copy_is_kept() -> None:
    kept, rejected = resolve([_copy(0), _copy(1, age=31), _copy(2)])
    assert kept == []
    assert {(r.source, r.reason) for r in rejected} == {
        (f"{i}.jpg", "identical files, ages conflict") for i in range(3)
    }


def test_only_gender_conflicts_so_the_first_name_is_kept_without_gender() -> None:
    kept, rejected = resolve([_copy(1, gender="F"), _copy(0)])
    assert [(c.record.source, c.record.gender, c.record.ethnicity) for c in kept] == [
        ("0.jpg", None, "White")
    ]
    assert [(r.source, r.reason) for r in rejected] == [("1.jpg", "identical files, another copy is kept")]


def test_only_ethnicity_conflicts_so_the_first_name_is_kept_without_ethnicity() -> None:
    kept, _ = resolve([_copy(0), _copy(1, ethnicity="Asian")])
    assert [(c.row, c.record.gender, c.record.ethnicity) for c in kept] == [(0, "M", None)]


def test_a_label_that_one_copy_lacks_is_no_conflict() -> None:
    kept, _ = resolve([_copy(0, gender=None), _copy(1, gender="F")])
    assert [(c.row, c.record.gender) for c in kept] == [(0, "F")]


def test_labels_agree_so_one_copy_is_kept_as_it_was() -> None:
    kept, rejected = resolve([_copy(1), _copy(0)])
    assert kept == [_copy(0)]
    assert len(rejected) == 1


def test_other_files_with_the_same_pixels_are_copies_too() -> None:
    kept, rejected = resolve([_copy(0, file="a"), _copy(1, file="b")])
    assert len(kept) == 1
    assert rejected[0].reason == "identical pixels, another copy is kept"


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(20, 21), st.sampled_from(["M", "F", None])), max_size=12
    )
)
def test_no_image_is_lost_and_no_two_kept_ones_are_alike(items: list[tuple[int, int, str | None]]) -> None:
    copies = [
        _copy(i, age, gender, file=str(pixels), first=pixels) for i, (pixels, age, gender) in enumerate(items)
    ]
    kept, rejected = resolve(copies)
    assert sorted([c.record.source for c in kept] + [r.source for r in rejected]) == sorted(
        c.record.source for c in copies
    )
    assert len({c.first for c in kept}) == len(kept)
