"""A pass is the union of its workers' shards: each sample once, of one attempt, whoever was lost before."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import DataError
from data.feature_shard import COLUMNS
from data.feature_store import Shard, epochs, open_pass, write_shard

CHANNELS = 3


def shard_of(ids: list[int], worker: int = 0, workers: int = 1, epoch: int = 7, attempt: int = 1) -> Shard:
    """Row i of sample s: s years, predicted s + i, gender s mod 3 − 1, feature s + [0, .1, .2] + 1000·i."""
    sample = np.array(ids, np.int64)
    row = np.arange(len(ids))
    feature = sample[:, None] + np.arange(CHANNELS) / 10 + 1000 * row[:, None]
    return Shard(
        epoch=epoch,
        attempt=attempt,
        worker=worker,
        workers=workers,
        fingerprint="f" * 64,
        source="train_pass",
        sample_id=sample,
        age=sample.astype(np.float32),
        predicted_age=(sample + row).astype(np.float32),
        gender=(sample % 3 - 1).astype(np.int8),
        feature=feature.astype(np.float32),
    )


def write(folder: Path, *ids: list[int], attempt: int = 1, epoch: int = 7) -> list[Path]:
    return [
        write_shard(folder, shard_of(mine, worker, len(ids), epoch, attempt))
        for worker, mine in enumerate(ids)
    ]


def test_a_pass_is_the_union_of_uneven_shards(tmp_path: Path) -> None:
    write(tmp_path, [5, 3, 9], [], [8])
    found = open_pass(tmp_path, 7)
    assert len(found) == 4
    assert found.channels == CHANNELS
    assert found.rows().tolist() == [[0, 0], [0, 1], [0, 2], [2, 0]]
    assert found.ages().tolist() == [5, 3, 9, 8]
    assert found.errors().tolist() == [0, 1, 2, 0]
    assert found.table()["sample_id"].to_pylist() == [5, 3, 9, 8]


def test_of_a_sample_seen_twice_the_last_counts(tmp_path: Path) -> None:
    write(tmp_path, [5, 3, 5, 9, 3, 5], [8, 8])
    found = open_pass(tmp_path, 7)
    assert found.rows().tolist() == [[0, 3], [0, 4], [0, 5], [1, 1]]
    assert found.column("sample_id").tolist() == [9, 3, 5, 8]
    assert found.errors().tolist() == [3, 4, 5, 1]
    assert found.column("feature")[:, 0].tolist() == [3009, 4003, 5005, 1008]
    assert len(found.shards[0].sample_id) == 6
    assert not found.rows().flags.writeable


@given(st.lists(st.integers(0, 20), max_size=40))
def test_table_and_columns_hold_every_sample_once_and_its_last_row(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("pass")
    write(folder, ids, [100])
    found = open_pass(folder, 7)
    last = {sample: row for row, sample in enumerate(ids)}
    expected = sorted((row, sample) for sample, row in last.items())
    assert found.column("sample_id").tolist() == [sample for _, sample in expected] + [100]
    table = found.table()
    for name in [*COLUMNS, "error"]:
        assert table[name].to_pylist() == found.column(name).tolist()


def test_a_table_is_pieces_of_the_files_and_names_the_pass(tmp_path: Path) -> None:
    write(tmp_path, [1, 2, 3, 2, 4], [8])
    table = open_pass(tmp_path, 7).table()
    assert [len(chunk) for chunk in table["age"].chunks] == [1, 3, 1]
    assert b'"attempt": 1' in table.schema.metadata[b"rapl.pass"]
    assert b'"worker":' not in table.schema.metadata[b"rapl.pass"]


def test_a_sample_of_two_workers_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [5, 3], [8, 5])
    found = open_pass(tmp_path, 7)
    for use in (found.rows, found.table, found.ages, found.__len__):
        with pytest.raises(DataError, match="sample 5 is in the shards of workers 0 and 1"):
            use()


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [5])
    with pytest.raises(ValueError, match="no column 'path'"):
        open_pass(tmp_path, 7).column("path")


def test_more_than_nine_workers_keep_their_order(tmp_path: Path) -> None:
    write(tmp_path, *([worker] for worker in range(12)))
    found = open_pass(tmp_path, 7)
    assert [shard.worker for shard in found.shards] == list(range(12))
    assert found.column("sample_id").tolist() == list(range(12))


def test_the_highest_complete_attempt_is_read_and_a_named_one(tmp_path: Path) -> None:
    write(tmp_path, [1], [2], attempt=2)
    write(tmp_path, [3], attempt=10)
    write_shard(tmp_path, shard_of([4], worker=1, workers=3, attempt=11))
    assert open_pass(tmp_path, 7).column("sample_id").tolist() == [3]
    assert open_pass(tmp_path, 7, attempt=2).column("sample_id").tolist() == [1, 2]
    with pytest.raises(DataError, match=r"no complete attempt 11: .*attempt 11 has 1 of 3 shards"):
        open_pass(tmp_path, 7, attempt=11)


def test_shards_of_one_attempt_with_two_numbers_of_workers_are_no_attempt(tmp_path: Path) -> None:
    write(tmp_path, [1], attempt=1)
    write(tmp_path, [1], [2], attempt=1)
    with pytest.raises(DataError, match="attempt 1 has 3 of 1 or 2 shards"):
        open_pass(tmp_path, 7)


@pytest.mark.parametrize("change", [{"fingerprint": "other"}, {"source": "clean_pass"}, {"feature": 4}])
def test_shards_that_do_not_belong_together_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    write(tmp_path, [1], [2])
    values = {k: np.zeros((1, v), np.float32) if k == "feature" else v for k, v in change.items()}
    write_shard(tmp_path, replace(shard_of([2], worker=1, workers=2), **values))
    with pytest.raises(DataError, match=r"shards differ in (fingerprint|source|channels)"):
        open_pass(tmp_path, 7)


def test_epochs_are_those_that_can_be_opened(tmp_path: Path) -> None:
    for epoch in (3, 12345, 0):
        write(tmp_path, [1], epoch=epoch)
    write_shard(tmp_path, shard_of([1], worker=0, workers=2, epoch=4))
    for name in ("epoch-5", "epoch-00003", "epoch-x", "other"):
        (tmp_path / name).mkdir()
    assert epochs(tmp_path) == [0, 3, 12345]
    assert epochs(tmp_path / "none") == []


def test_an_epoch_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"epoch-0007 holds no complete attempt: there is no such folder"):
        open_pass(tmp_path, 7)
    (tmp_path / "epoch-0007").mkdir()
    with pytest.raises(DataError, match="no complete attempt: no shards"):
        open_pass(tmp_path, 7)
