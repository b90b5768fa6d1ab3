"""An opened data set maps its images; batches cover the rows once."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import DataError
from data.faces import Faces, epoch_batches


def test_images_are_mapped_from_the_file_and_read_only(small: Faces) -> None:
    assert small.images.shape == (40, 16, 16, 3)
    assert not small.images.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        small.images[0, 0, 0, 0] = 1
    maps = Path("/proc/self/maps")
    if maps.exists():
        assert str(small.root / "faces.arrow") in maps.read_text()


def test_gather_copies_the_rows_in_their_order(small: Faces) -> None:
    rows = np.array([5, 0, 39, 5])
    taken = small.gather(rows)
    np.testing.assert_array_equal(taken, small.images[rows])
    taken[:] = 0
    assert small.images[5].any()


def test_gather_fills_the_given_array(small: Faces) -> None:
    out = np.empty((2, 16, 16, 3), np.uint8)
    assert small.gather(np.array([3, 4]), out) is out
    np.testing.assert_array_equal(out, small.images[3:5])


@pytest.mark.parametrize("row", [-1, 40])
def test_gather_refuses_a_row_that_is_not_there(small: Faces, row: int) -> None:
    with pytest.raises(IndexError, match=r"rows must be 0\.\.39"):
        small.gather(np.array([0, row]))


def test_a_missing_data_set_is_answered_with_those_nearby(small: Faces) -> None:
    with pytest.raises(DataError) as error:
        Faces.open(small.root.with_name("smal"))
    message = str(error.value)
    assert "Did you mean 'small'?" in message
    assert f"data sets nearby: {small.root}" in message
    assert "python -m data.prepare" in message


def test_the_folder_of_data_sets_is_answered_with_what_it_holds(small: Faces) -> None:
    with pytest.raises(DataError, match=rf"not a prepared data set(.|\n)*nearby: {small.root}"):
        Faces.open(small.root.parent)


def test_a_cut_file_is_called_damaged(small: Faces) -> None:
    path = small.root / "faces.arrow"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"faces\.arrow is damaged"):
        Faces.open(small.root)


row_sets = st.lists(st.integers(0, 10_000), unique=True, max_size=80).map(
    lambda rows: np.array(rows, np.int64)
)


@given(row_sets, st.integers(1, 20), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_an_epoch_has_every_row_once(
    rows: np.ndarray, batch_size: int, seed: int, epoch: int, shuffle: bool
) -> None:
    batches = epoch_batches(rows, batch_size, seed, epoch, shuffle)
    together = np.concatenate(batches) if batches else rows[:0]
    assert sorted(together.tolist()) == sorted(rows.tolist())
    if not shuffle:
        np.testing.assert_array_equal(together, rows)


@given(row_sets, st.integers(2, 20))
def test_no_batch_of_one_follows_another(rows: np.ndarray, batch_size: int) -> None:
    sizes = [len(batch) for batch in epoch_batches(rows, batch_size, 0, 0)]
    assert all(size == batch_size for size in sizes[:-1])
    if len(sizes) > 1:
        assert 2 <= sizes[-1] <= batch_size + 1


def test_a_remainder_of_one_joins_the_batch_before() -> None:
    assert [len(b) for b in epoch_batches(np.arange(9), 4, 0, 0)] == [4, 5]
    assert [len(b) for b in epoch_batches(np.arange(10), 4, 0, 0)] == [4, 4, 2]
    assert [len(b) for b in epoch_batches(np.arange(1), 4, 0, 0)] == [1]


def test_order_is_keyed_by_seed_and_epoch_and_not_by_the_order_given() -> None:
    rows = np.arange(1000)
    first = np.concatenate(epoch_batches(rows, 100, 0, 0))
    np.testing.assert_array_equal(first, np.concatenate(epoch_batches(rows[::-1], 100, 0, 0)))
    orders = [first] + [np.concatenate(epoch_batches(rows, 100, *key)) for key in ((0, 1), (1, 0))]
    for i, a in enumerate([rows, *orders]):
        for b in [rows, *orders][:i]:
            assert abs(np.corrcoef(a, b)[0, 1]) < 0.15  # five standard errors


def test_a_batch_size_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 1\. Received: 0"):
        epoch_batches(np.arange(3), 0, 0, 0)
