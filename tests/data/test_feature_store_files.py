"""A shard's file comes back as it was written, mapped, or not at all."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from test_feature_store import shard_of, write

from data.errors import DataError
from data.feature_shard import COLUMNS, _labels
from data.feature_store import open_pass, write_shard

ROOT = Path(__file__).parents[2]


def test_a_shard_comes_back_exactly_and_its_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    written = shard_of([5, 3, 9])
    path = write_shard(tmp_path / "new" / "features", written)
    assert path == tmp_path / "new" / "features" / "epoch-0007" / "attempt-1-worker-0-of-1.arrow"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    (read,) = open_pass(tmp_path / "new" / "features", 7).shards
    for name in _labels():
        assert getattr(read, name) == getattr(written, name)
    for name, dtype in COLUMNS.items():
        assert getattr(read, name).dtype == dtype
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_other_widths_are_stored_as_the_formats(tmp_path: Path) -> None:
    shard = shard_of([5, 3])
    names = {"sample_id": np.int32, "age": np.float64, "gender": np.int64, "feature": np.float16}
    wide = {name: getattr(shard, name).astype(dtype) for name, dtype in names.items()}
    write_shard(tmp_path, replace(shard, **wide, predicted_age=np.array([5.1, 3.1])))
    (read,) = open_pass(tmp_path, 7).shards
    assert {name: getattr(read, name).dtype for name in COLUMNS} == COLUMNS
    np.testing.assert_array_equal(read.predicted_age, np.array([5.1, 3.1], np.float32))


def test_the_file_is_one_batch_with_the_columns_and_labels_that_others_can_read(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [5, 3])
    reader = pa.ipc.open_file(path.read_bytes())
    assert reader.num_record_batches == 1
    assert {field.name: str(field.type) for field in reader.schema} == {
        "sample_id": "int64",
        "age": "float",
        "predicted_age": "float",
        "error": "float",
        "gender": "int8",
        "feature": "fixed_size_list<item: float>[3]",
    }
    assert list(reader.schema.metadata) == [b"rapl.pass"]
    assert reader.get_batch(0).column("error").to_pylist() == [0.0, 1.0]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_the_arrays_lie_in_the_mapped_file_and_are_read_only(tmp_path: Path) -> None:
    paths = write(tmp_path, list(range(100)), list(range(100, 250)))
    found = open_pass(tmp_path, 7)
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    for shard, path, chunk in zip(found.shards, paths, found.table()["feature"].chunks, strict=True):
        (span,) = (line[0] for line in maps if line[-1] == str(path))
        start, stop = (int(end, 16) for end in span.split("-"))
        for name in COLUMNS:
            array = getattr(shard, name)
            assert start <= array.ctypes.data
            assert array.ctypes.data + array.nbytes <= stop
            assert not array.flags.writeable
        assert chunk.flatten().buffers()[1].address == shard.feature.ctypes.data


def test_a_shard_written_again_replaces_the_first(tmp_path: Path) -> None:
    write(tmp_path, [1])
    before = open_pass(tmp_path, 7)
    write(tmp_path, [2])
    assert open_pass(tmp_path, 7).column("sample_id").tolist() == [2]
    assert before.column("sample_id").tolist() == [1], "an open pass keeps what it mapped"


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, 'tests/data')
import pyarrow as pa
from test_feature_store import shard_of, write_shard
pa.ipc.RecordBatchFileWriter.write_batch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_shard(Path(sys.argv[1]), shard_of([2], worker=1, workers=3, attempt=2))
"""


def test_a_worker_killed_while_writing_leaves_the_attempt_before_in_force(tmp_path: Path) -> None:
    write(tmp_path, [1], [2], attempt=1)
    for worker in (0, 2):
        write_shard(tmp_path, shard_of([worker], worker, workers=3, attempt=2))
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    hidden = [p for p in (tmp_path / "epoch-0007").iterdir() if p.name.startswith(".")]
    assert [re.sub(r"\d+$", "PID", p.name) for p in hidden] == [".attempt-2-worker-1-of-3.arrow.PID"]
    assert hidden[0].stat().st_mode & 0o777 == 0o600
    assert open_pass(tmp_path, 7).column("sample_id").tolist() == [1, 2]
    with pytest.raises(DataError, match=r"attempt 2 has 2 of 3 shards, 1 unfinished file"):
        open_pass(tmp_path, 7, attempt=2)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_shard_is_refused_and_names_the_file(tmp_path: Path, keep: float) -> None:
    _, path = write(tmp_path, [1, 2], [3, 4])
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(DataError, match=r"worker-1-of-2\.arrow is not a whole shard of a pass"):
        open_pass(tmp_path, 7)


def _rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Write the shard at `path` again, changed."""
    table = change(pa.Table.from_batches([pa.ipc.open_file(path.read_bytes()).get_batch(0)]))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _version_9(table: pa.Table) -> pa.Table:
    content = table.schema.metadata[b"rapl.pass"].replace(b'"format_version": 1', b'"format_version": 9')
    return table.replace_schema_metadata({b"rapl.pass": content})


def test_another_version_another_file_a_lost_column_and_a_renamed_shard_are_refused(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [1])
    changes: list[tuple[Callable[[pa.Table], pa.Table], str]] = [
        (_version_9, "format version 9; this code reads 1"),
        (lambda table: table.replace_schema_metadata(None), "not a whole shard of a pass"),
        (lambda table: table.drop_columns("gender"), "not a whole shard of a pass"),
    ]
    for change, message in changes:
        write(tmp_path, [1])
        _rewritten(path, change)
        with pytest.raises(DataError, match=message):
            open_pass(tmp_path, 7)
    write(tmp_path, [1])
    path.rename(path.with_name("attempt-5-worker-0-of-1.arrow"))
    with pytest.raises(DataError, match=r"attempt-1-worker-0-of-1\.arrow under another name"):
        open_pass(tmp_path, 7)


def test_a_shard_of_somebody_else_says_why_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, [1])

    def closed(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(pa, "memory_map", closed)
    with pytest.raises(DataError, match="may be read by its owner alone"):
        open_pass(tmp_path, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": np.zeros(3)}, "age must be"),
        ({"sample_id": np.array([1.0, 2.0])}, "sample_id must be"),
        ({"feature": np.zeros(2)}, "feature must be"),
        ({"feature": np.zeros((2, 0), np.float32)}, "at least one channel"),
        ({"gender": np.array([0, 2])}, "gender must be 0, 1 or −1"),
        ({"age": np.array([1.0, np.nan])}, "age must be finite"),
        ({"source": "test_pass"}, "source must be one of"),
        ({"worker": 1}, "no shard can be called"),
        ({"epoch": -1}, "no shard can be called"),
    ],
)
def test_what_disagrees_is_not_written(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_shard(tmp_path, replace(shard_of([1, 2]), **change))
    assert not list(tmp_path.iterdir())


def test_a_prediction_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    write_shard(tmp_path, replace(shard_of([1, 2]), predicted_age=np.array([np.nan, np.inf])))
    np.testing.assert_array_equal(open_pass(tmp_path, 7).errors(), [np.nan, np.inf])


_FULL = """
import resource, sys
from pathlib import Path
sys.path.insert(0, 'tests/data')
from test_feature_store import shard_of, write_shard
from data.errors import MachineError
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try: write_shard(Path(sys.argv[1]), shard_of(list(range(1000))))
except MachineError as error: sys.exit(str(error))
"""


def test_a_full_disk_is_the_machines_failure_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    path = tmp_path / "epoch-0007" / "attempt-1-worker-0-of-1.arrow"
    assert result.stderr == f"{path}: no room left for 0.0 MB (File too large)\n"
    assert not list((tmp_path / "epoch-0007").iterdir())


def test_the_store_imports_neither_torch_nor_ray_nor_the_other_rooms() -> None:
    code = (
        "import sys, data.feature_store\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'ray', 'model', 'orchestration'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
