"""How a global batch is shared, and that training and validating never touch test rows."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from data import splits
from data.faces import Faces, epoch_batches
from data.splits import Split
from orchestration.batches import Batches, share
from orchestration.config import RunConfig
from orchestration.inputs import resolve
from orchestration.training import Training
from orchestration.workers import Workers

CPU = torch.device("cpu")


@given(st.integers(1, 70), st.integers(1, 8))
def test_a_batch_is_parted_among_workers_in_shares_of_two_or_more(rows: int, count: int) -> None:
    batch = np.arange(100, 100 + rows)
    shares = [share(batch, rank, count) for rank in range(count)]
    counting = [part for part, counts in shares if counts]
    assert np.concatenate(counting).tolist() == batch.tolist()
    assert all(len(part) >= min(2, rows) for part in counting)
    assert max(map(len, counting)) - min(map(len, counting)) <= 1
    # Who has no share still takes part in collective calls.
    assert all(len(part) == 1 for part, counts in shares if not counts)


class _Worker(Workers):
    """One of several, without a group: enough to ask for its batches."""

    def __init__(self, rank: int, count: int) -> None:
        self.rank, self.count = rank, count


def _batches(run: RunConfig, rank: int, count: int, split: Split | None = None) -> Batches:
    inputs = resolve(run)
    faces = Faces.open(inputs.data)
    split = split or splits.load(faces, run.data.spec())
    return Batches(run, faces, split, _Worker(rank, count), CPU, inputs)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_row_of_a_part_is_evaluated_by_one_worker(config: Callable[..., RunConfig], count: int) -> None:
    mine = [
        row
        for rank in range(count)
        for batch in _batches(config(), rank, count).evaluation("val")
        for row in batch.sample_id
    ]
    assert sorted(mine) == _batches(config(), 0, 1).split.val.tolist()


@pytest.mark.parametrize("count", [1, 3])
def test_an_epoch_sees_every_train_row_once_and_no_other(
    config: Callable[..., RunConfig], count: int
) -> None:
    seen = [
        row
        for rank in range(count)
        for batch in _batches(config(), rank, count).train(0)
        if batch.counts
        for row in batch.sample_id
    ]
    assert sorted(seen) == _batches(config(), 0, 1).split.train.tolist()


def test_a_share_holds_the_labels_of_its_rows(config: Callable[..., RunConfig]) -> None:
    batches = _batches(config(), 1, 2)
    batch = next(iter(batches.train(3)))
    faces = Faces.open(resolve(config()).data)
    assert batch.age.tolist() == faces.ages[batch.sample_id].tolist()
    assert batch.gender.tolist() == faces.genders[batch.sample_id].tolist()
    # All ages 1..80 are labels, so the place of age a is a - 1.
    assert batch.position.tolist() == (faces.ages[batch.sample_id] - 1).astype(int).tolist()
    pixels = torch.from_numpy(faces.gather(batch.sample_id)).permute(0, 3, 1, 2)
    torch.testing.assert_close(batch.inputs, pixels.float() / 255)


def test_the_shortest_last_batch_leaves_a_third_worker_without_a_share(
    config: Callable[..., RunConfig],
) -> None:
    train = _batches(config(), 0, 1).split.train
    run = config({"train.batch_size": len(train) // 2 - 1})  # leaves a last batch of 2 or 3
    last = [list(_batches(run, rank, 3).train(0))[-1] for rank in range(3)]
    assert [batch.counts for batch in last] == [True, False, False]
    assert len(last[0].sample_id) in (2, 3)


@pytest.mark.parametrize("batch_size", [2, 3, 5, 13, 64, 179, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_no_worker_gets_more_samples_of_a_pass_than_its_capacity(
    config: Callable[..., RunConfig], count: int, batch_size: int
) -> None:
    batches = _batches(config({"train.batch_size": batch_size}), 0, count)
    order = epoch_batches(batches.split.train, batch_size, 0, 0)
    shares = [[share(rows, rank, count) for rows in order] for rank in range(count)]
    most = max(sum(len(rows) for rows, counts in mine if counts) for mine in shares)
    evaluated = max(len(batches.split.train[rank::count]) for rank in range(count))
    assert max(most, evaluated) <= batches.capacity()


def test_a_search_reads_no_test_image(
    config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are recorded where they are read: at the memory-mapped images themselves."""
    run = config()
    read: list[int] = []
    gather = Faces.gather

    def recording(self: Faces, rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        read.extend(rows.tolist())
        return gather(self, rows, out)

    monkeypatch.setattr(Faces, "gather", recording)
    training = Training(run, resolve(run), CPU)
    while not training.finished:
        training.step()
    split = training.batches.split
    assert set(read) == {*split.train.tolist(), *split.val.tolist()}
    training.evaluate("test")
    assert set(split.test.tolist()) <= set(read)  # the record would have shown them


def test_a_changed_split_stops_a_run_that_was_planned_with_another(
    config: Callable[..., RunConfig],
) -> None:
    run = config()
    planned = resolve(config({"data.split_seed": 5}))
    with pytest.raises(RuntimeError, match="split changed"):
        Training(run, planned, CPU)
