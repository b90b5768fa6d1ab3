"""Preparing is cut short: by a kill, by a full disk. No half data set may be taken for a whole one."""

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data.errors import DataError
from data.faces import Faces
from data.held import held
from data.prepare import prepare
from data.raw import Raw
from data.store import content_hash

ROOT = Path(__file__).parents[2]


def _command(source: Path, out: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "data.prepare",
        "table",
        "--source",
        str(source),
        "--out",
        str(out),
        *options,
    ]


def _wait(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def _gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture
def running(tmp_path: Path, table: Callable[..., Path]) -> subprocess.Popen[bytes]:
    """A run with two workers that has decoded some of 700 pictures (links to source/big.jpg) for `out`."""
    source = table([(f"{i:03d}.jpg", "30", "M", "") for i in range(700)])
    Image.new("RGB", (400, 400)).save(source.parent / "big.jpg")
    for i in range(700):
        (source.parent / f"{i:03d}.jpg").symlink_to(source.parent / "big.jpg")
    command = _command(source, tmp_path / "out", "--workers", "2", "--duplicates", "keep")
    run = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    _wait(lambda: any(journal.stat().st_size for journal in tmp_path.glob(".out.partial-*/*.rows")))
    return run


def test_a_second_run_waits_for_the_first_and_finds_its_data_set(
    tmp_path: Path, running: subprocess.Popen[bytes]
) -> None:
    command = _command(tmp_path / "source" / "people.csv", tmp_path / "out", "--duplicates", "keep")
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (running.wait(), second.returncode) == (0, 0), second.stderr
    assert f"waiting: another run prepares {tmp_path / 'out'}" in second.stderr
    assert f"up to date: {tmp_path / 'out'}" in second.stderr
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a namespace of process numbers")
def test_two_containers_whose_processes_have_one_number_make_one_whole_data_set(
    tmp_path: Path, small: Faces
) -> None:
    options = "--size", "16", "--workers", "1"
    command = _command(tmp_path / "source" / "people.csv", tmp_path / "out", *options)
    contained = ["unshare", "--pid", "--fork", "--mount-proc", *command]
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False).returncode:
        pytest.skip("this system lets nobody make a namespace")
    both = [subprocess.Popen(contained, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    faces = Faces.open(tmp_path / "out")
    assert content_hash(faces.root / "faces.arrow") == faces.manifest.content_hash
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_a_target_is_held_where_another_user_left_the_lock_of_a_killed_run() -> None:
    with tempfile.TemporaryDirectory() as shared:
        Path(shared).chmod(0o1777)  # everybody writes, each removes only their own
        lock = Path(shared) / ".out.prepare.lock"
        lock.touch(0o644)
        os.seteuid(65534)
        try:
            with held(Path(shared) / "out"), lock.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.seteuid(0)


def test_a_killed_run_leaves_no_data_set_and_no_process_and_other_choices_start_over(
    tmp_path: Path, running: subprocess.Popen[bytes]
) -> None:
    running.kill()
    assert running.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    _wait(lambda: _gone(running.pid))
    out, source = tmp_path / "out", tmp_path / "source"
    assert not out.exists()
    assert len(list(tmp_path.glob(".out.partial-*"))) == 1
    with pytest.raises(DataError, match="does not exist"):
        Faces.open(out)

    Image.new("RGB", (20, 20)).save(source / "big.jpg")
    prepare("table", source / "people.csv", out, size=16, duplicates="keep", workers=1, progress=False)
    assert len(Faces.open(out)) == 700
    assert not list(tmp_path.glob(".out.*"))


class Watched:
    """Works in this process, and knows which rows its work began with."""

    here = True

    def __init__(self) -> None:
        self.starts: list[int] = []

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Generator[Any, None, None]:
        self.starts = [chunk.start for chunk in items]
        yield from map(function, items)


@pytest.mark.parametrize(("cut", "damaged"), [(signal.SIGKILL, True), (signal.SIGINT, False)])
def test_a_run_that_was_cut_short_goes_on_where_it_was(
    tmp_path: Path, running: subprocess.Popen[bytes], cut: signal.Signals, damaged: bool
) -> None:
    os.killpg(running.pid, cut)
    assert running.wait() == (130 if cut == signal.SIGINT else -cut)
    _wait(lambda: _gone(running.pid))
    (partial,) = tmp_path.glob(".out.partial-*")
    (journal,) = partial.glob("*.rows")
    done = [json.loads(line)[0] for line in journal.read_text().split("\n")[:-1]]
    assert 0 < len(done) < 11
    if damaged:
        with (partial / "pixels.raw").open("r+b") as raw:
            raw.seek(Raw(partial / "pixels.raw", 700, 112).at(0) + 10)
            raw.write(b"damage")
        with journal.open("a") as file:
            file.write("[640, [[")  # as happens to one that is killed while it writes
        done.remove(0)
    executor, source = Watched(), tmp_path / "source" / "people.csv"
    options = {"duplicates": "keep", "progress": False}
    again = prepare("table", source, tmp_path / "out", executor=executor, **options)  # type: ignore[arg-type]
    assert executor.starts == [start for start in range(0, 700, 64) if start not in done]
    whole = prepare("table", source, tmp_path / "whole", workers=1, **options)  # type: ignore[arg-type]
    assert again.content_hash == whole.content_hash
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source", "whole"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "contact.png", "faces.arrow", "manifest.json", "quarantine.csv",
    }  # fmt: skip


def test_a_replacement_cut_between_its_two_renames_brings_the_old_data_set_back(
    small: Faces, tmp_path: Path
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    small.root.rename(small.root.with_name(f".small.old-{dead.pid}"))
    before = small.manifest.content_hash
    prepare("table", tmp_path / "source" / "people.csv", small.root, size=16, workers=1, progress=False)
    assert Faces.open(small.root).manifest.content_hash == before
    assert [p.name for p in small.root.parent.iterdir()] == ["small"]


RAW = 40 * 16 * 16 * 3  # bytes of the raw pixels; the Arrow file is a little larger


@pytest.mark.parametrize("limit", [RAW // 2, RAW + 100], ids=["while decoding", "while writing"])
def test_a_full_disk_is_exit_code_3_and_leaves_nothing(small: Faces, tmp_path: Path, limit: int) -> None:
    result = subprocess.run(
        _command(tmp_path / "source" / "people.csv", tmp_path / "full", "--size", "16"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 3, result.stderr
    assert "no room left" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "full").exists()
    assert not list(tmp_path.glob(".full.*"))


def test_help_imports_neither_numpy_nor_arrow() -> None:
    code = (
        "import sys, data.prepare\n"
        "try: data.prepare.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'pyarrow', 'PIL', 'torch'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
