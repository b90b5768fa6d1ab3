"""`python -m data.features show` tells what a path holds; the numbers here were worked out by hand."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.feature_report import main, text
from data.feature_store import Shard, write_shard
from data.feature_summary import summary
from data.features import write_features

ROOT = Path(__file__).parents[2]


def _write(folder: Path, worker: int, rows: list[tuple[int, float, float, int]], attempt: int = 1) -> Path:
    """A shard of one of two workers at epoch 7; a row is (sample, age, predicted age, gender)."""
    ids, ages, predicted, genders = (np.array(column) for column in zip(*rows, strict=True))
    arrays = (ids, ages.astype(np.float32), predicted.astype(np.float32), genders)
    feature = np.ones((len(rows), 4), np.float32)
    return write_shard(folder, Shard(7, attempt, worker, 2, "abc", "clean_pass", *arrays, feature))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A features folder with one complete attempt and one that lost a worker."""
    folder = tmp_path / "features"
    _write(folder, 0, [(0, 20, 90, 0), (1, 20.5, 24, 1), (0, 20, 21, 0), (2, 25, np.nan, -1)])
    _write(folder, 1, [(3, 20.4, 23.4, 1), (4, 21.4, 20.4, 0)])
    _write(folder, 0, [(0, 1, 1, 0)], attempt=2)
    return folder


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """Three faces, two views, two channels: norms 5, 5, 5 and 0, 0, 3."""
    array = np.array([[[3, 4], [0, 0]], [[-3, 4], [0, 0]], [[0, 5], [3, 0]]], np.float16)
    path = tmp_path / "frozen" / "0123.arrow"
    metadata = {"fingerprint": "abc", "views": ["identity", "hflip"], "backbone": {"name": "small_ir"}}
    write_features(path, array, metadata)
    return path


def test_the_numbers_of_a_pass(run: Path) -> None:
    found = summary(run / "epoch-0007")
    shards = list((run / "epoch-0007").glob("attempt-1-*"))
    assert found["bytes"] == sum(path.stat().st_size for path in shards)
    del found["bytes"]
    assert found == {
        "kind": "features of a training pass",
        "path": str(run / "epoch-0007"),
        "format": "Arrow IPC, version 1",
        "shape": [5, 4],
        "dtype": "float32",
        "fingerprint": "abc",
        "epoch": 7,
        "attempt": 1,
        "workers": 2,
        "source": "clean_pass",
        "repeats": 1,
        "gender": {"male": 2, "female": 2, "unknown": 1},
        "mean_error": pytest.approx((1 + 3.5 + 3 + 1) / 4),
        "errors_not_finite": 1,
        "missing_ages": [22, 23, 24],
        "ages": [
            {"age": 20, "count": 2, "mean_error": pytest.approx(2)},
            {"age": 21, "count": 2, "mean_error": pytest.approx(2.25)},
            {"age": 25, "count": 1, "mean_error": None},
        ],
        "not_shown": "attempt 1 has 2 of 2 shards, attempt 2 has 1 of 2 shards",
    }


def test_the_lines_of_a_pass(run: Path) -> None:
    lines = text(summary(run / "epoch-0007")).splitlines()
    size = sum(path.stat().st_size for path in (run / "epoch-0007").glob("attempt-1-*")) / 1e6
    assert lines == [
        "features of a training pass",
        "format       Arrow IPC, version 1",
        "shape        5 × 4 float32",
        f"on disk      {size:.1f} MB",
        "fingerprint  abc",
        "pass         epoch 7, attempt 1, clean_pass, 2 workers",
        "repeats      1 (of a sample seen twice the last counts)",
        "gender       male 2, female 2, unknown 1",
        "mean error   2.12 years (1 not finite, left out)",
        "ages         3 from 20 to 25, missing between them: 22–24",
        "",
        " age    count   error",
        "  20        2    2.00",
        "  21        2    2.25",
        "  25        1       –",
        "",
        "there too    attempt 1 has 2 of 2 shards, attempt 2 has 1 of 2 shards",
        "",
        f"where: {run / 'epoch-0007'}",
        f"next:  python -m data.features show {run / 'epoch-0007'} --json",
    ]


def test_a_runs_folder_shows_its_newest_complete_epoch_and_names_what_is_newer(run: Path) -> None:
    (run / "epoch-0010").mkdir()
    found = summary(run)
    assert found["path"] == str(run / "epoch-0007")
    assert found["not_shown"].endswith("2 has 1 of 2 shards; epoch-0010: no shards")


def test_many_ages_are_set_in_four_columns_downwards(tmp_path: Path) -> None:
    _write(tmp_path, 0, [(age, age, age + 1, 0) for age in range(1, 43)])
    _write(tmp_path, 1, [(0, 101, 101, 0)])
    lines = text(summary(tmp_path)).splitlines()
    start = lines.index("   ".join([" age    count   error"] * 4))
    assert lines[start + 1] == "   1        1    1.00     12        1    1.00     23        1    1.00   " + (
        "  34        1    1.00"
    )
    assert lines[start + 10].split()[-3:] == ["101", "1", "0.00"]
    assert len(lines[start + 11].split()) == 9
    assert not lines[start + 12]


def test_a_pass_without_samples_has_no_ages(tmp_path: Path) -> None:
    nothing = np.zeros(0)
    arrays = (nothing.astype(np.int64), nothing, nothing, nothing.astype(np.int8), np.zeros((0, 4)))
    write_shard(tmp_path, Shard(0, 0, 0, 1, "abc", "train_pass", *arrays))
    found = summary(tmp_path)
    assert (found["shape"], found["ages"], found["mean_error"]) == ([0, 4], [], None)
    assert "mean error   – years" in text(found)


def test_the_numbers_and_lines_of_a_frozen_backbones_file(frozen: Path) -> None:
    found = summary(frozen)
    assert found == {
        "kind": "features of a frozen backbone",
        "path": str(frozen),
        "format": "Arrow IPC, version 1",
        "shape": [3, 2, 2],
        "dtype": "float16",
        "bytes": frozen.stat().st_size,
        "fingerprint": "abc",
        "views": ["identity", "hflip"],
        "mean_norm": {"identity": 5.0, "hflip": 1.0},
        "metadata": {"channels": 2, "backbone": {"name": "small_ir"}},
    }
    lines = text(found).splitlines()
    assert "shape        3 × 2 × 2 float16" in lines
    assert "mean norm    identity 5.00, hflip 1.00" in lines
    assert 'backbone     {"name": "small_ir"}' in lines


@pytest.mark.parametrize("name", ["features", "features/epoch-0007", "frozen/0123.arrow"])
def test_the_command_ends_by_saying_where_it_is_and_what_to_type_next(
    run: Path, frozen: Path, name: str
) -> None:
    command = [sys.executable, "-m", "data.features", "show"]
    shown = subprocess.run(
        [*command, str(run.parent / name)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    where, following = shown.stdout.splitlines()[-2:]
    path = where.removeprefix("where: ")
    assert following == f"next:  python -m data.features show {path} --json"
    written = subprocess.run([*command, path, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(written.stdout)["path"] == path
    assert shown.stderr == written.stderr == ""


def test_what_cannot_be_shown_is_the_users_mistake(
    run: Path, frozen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("empty", "begun/epoch-0001", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "other" / "text.arrow").write_text("x")
    shard = next((run / "epoch-0007").glob("attempt-1-*"))
    expected = {
        tmp_path / "feature": " does not exist. Did you mean 'features'?",
        tmp_path / "empty": " has no complete pass: it holds no epoch-0000 or the like",
        tmp_path / "begun": " has no complete pass: epoch-0001: no shards",
        tmp_path / "begun" / "epoch-0001": " holds no complete attempt: no shards",
        tmp_path / "other" / "text.arrow": " is not a whole feature file. Remove it and it is made again.",
        frozen.parent: " is a folder of feature files; name one: 0123.arrow",
        shard: f" is one worker's shard; show the whole pass: {shard.parent}",
    }
    for path, message in expected.items():
        assert main(["show", str(path)]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert output.err == f"error: {path}{message}\n"


@pytest.mark.parametrize("arguments", [[], ["show"], ["list", "x"]])
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


def test_help_imports_neither_numpy_nor_arrow() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['features', 'show', '--help']\n"
        "try: runpy.run_module('data.features', run_name='__main__')\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'numpy', 'pyarrow', 'PIL', 'torch', 'json'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-2:] == ["0", "[]"]
