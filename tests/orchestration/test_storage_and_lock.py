"""A study folder's door: whole writes whatever happens, versions, one driver at a time."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data.errors import DataError
from orchestration import checkpoint, lock
from orchestration.errors import MachineError, UserError
from orchestration.lock import Lock
from orchestration.storage import Storage

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["path", "uri"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """The same folder as a path, and through pyarrow as on a cluster's storage."""
    root = tmp_path / "store"
    root.mkdir()
    return Storage(str(root) if request.param == "path" else root.as_uri())


def test_what_was_put_is_got_listed_and_deleted(storage: Storage) -> None:
    child = storage.child("deep").child("er")
    assert child.get("a") is None and not child.exists("a") and child.list() == []
    child.put("b", b"old")
    child.put("b", b"new")
    child.put("a", b"\x00\xff")
    assert child.get("b") == b"new" and child.get("a") == b"\x00\xff"
    assert storage.list("deep/er") == ["a", "b"] and storage.list() == ["deep"]
    child.delete("b")
    child.delete("b")
    assert child.list() == ["a"]


def test_json_carries_a_version_and_another_one_is_refused(storage: Storage) -> None:
    storage.put_json("x.json", {"a": 1})
    assert storage.get_json("x.json") == {"format_version": 1, "a": 1}
    storage.put("x.json", b'{"format_version": 2, "a": 1}')
    with pytest.raises(UserError, match=r"x\.json: format version 2; this code reads 1"):
        storage.get_json("x.json")
    storage.put("x.json", b'{"a"')
    with pytest.raises(UserError, match=r"x\.json: not readable as JSON"):
        storage.get_json("x.json")


def test_a_checkpoint_of_another_version_or_another_kind_is_refused(storage: Storage) -> None:
    checkpoint.put(storage, "last.pt", {"format_version": 9})
    with pytest.raises(UserError, match=r"last\.pt: checkpoint version 9"):
        checkpoint.get(storage, "last.pt")
    storage.put("last.pt", b"no checkpoint")
    with pytest.raises(UserError, match=r"last\.pt: not a checkpoint"):
        checkpoint.get(storage, "last.pt")


def test_an_unknown_kind_of_storage_is_refused_in_words() -> None:
    with pytest.raises(DataError, match="nowhere://x is no address of a file system"):
        Storage("nowhere://x")
    with pytest.raises(DataError, match=r"s3://…@bucket/x: keep keys out of addresses") as caught:
        Storage("s3://key:secret@bucket/x")
    assert "secret" not in str(caught.value)


WRITER = """
import sys
from orchestration.storage import Storage
storage = Storage(sys.argv[1])
while True:
    for letter in (b"a", b"b"):
        storage.put("x", letter * 3_000_000)
        print(flush=True)
"""


def test_a_reader_sees_whole_objects_only_also_after_the_writers_death(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    storage, end = Storage(str(tmp_path)), time.monotonic() + 1.0
    while time.monotonic() < end:
        seen = storage.get("x")
        assert seen in (b"a" * 3_000_000, b"b" * 3_000_000)
    writer.kill()
    writer.wait()
    assert storage.get("x") in (b"a" * 3_000_000, b"b" * 3_000_000)


FULL = """
import sys
from orchestration.errors import MachineError
from orchestration.storage import Storage
try:
    Storage(sys.argv[1]).put("x", b"n" * 100_000)
except MachineError as error:
    print(error)
"""


def test_a_full_disk_is_a_machines_failure_and_leaves_the_old_bytes(tmp_path: Path) -> None:
    Storage(str(tmp_path)).put("x", b"old")
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert f"{tmp_path}/x: cannot write: File too large" in result.stdout, result.stderr
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_full_device_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/dev/full")
    storage = Storage((tmp_path).as_uri())
    with pytest.raises(MachineError, match=r"x: no space left on the disk for 100,000 bytes"):
        storage.put("x", b"n" * 100_000)


HOLDER = """
import sys, time
from orchestration.lock import Lock
from orchestration.storage import Storage
with Lock(Storage(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_driver_is_told_who_holds_the_study_until_that_one_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    storage = Storage(str(tmp_path))
    with pytest.raises(UserError, match=rf"process {holder.pid} on \S+ since \d{{4}}-"), Lock(storage):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with Lock(storage):
        pass


def test_where_there_are_no_file_locks_a_heartbeat_holds_the_study(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    with Lock(storage):
        with pytest.raises(UserError, match=rf"process {os.getpid()} on"), Lock(storage):
            pass
        assert storage.exists("driver.lock")
    assert not storage.exists("driver.lock")
    with Lock(storage):
        pass


def test_a_heart_that_stopped_long_ago_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.2)
    storage = Storage(tmp_path.as_uri())

    def beat(age: float) -> None:
        storage.put("driver.lock", b'{"host": "x", "pid": 1, "since": 0, "beat": %f}' % (time.time() - age))

    beat(61)
    with Lock(storage):
        pass
    beat(30)
    with pytest.raises(UserError, match=r"process 1 on x since .*; if it was killed, .* again in (29|30) s"):
        Lock(storage).__enter__()


def test_a_heart_that_beats_by_a_clock_that_is_behind_holds_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.2)
    storage = Storage(tmp_path.as_uri())
    with Lock(storage) as held:
        hour = held.owner | {"machine": "another", "token": held._token}
        stop = threading.Event()

        def behind() -> None:
            while not stop.wait(0.05):
                storage.put("driver.lock", json.dumps(hour | {"beat": time.time() - 3600}).encode())

        beating = threading.Thread(target=behind)
        beating.start()
        time.sleep(0.1)
        with pytest.raises(UserError, match="runs this already"):
            Lock(storage).__enter__()
        stop.set()
        beating.join()


def test_a_heartbeat_of_a_process_of_this_machine_that_is_gone_is_taken_over_at_once(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, storage.root], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=rf"process {holder.pid} on \S+ since"), Lock(storage):
        pass
    assert lock.holder(storage) is not None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock.holder(storage) is None
    with Lock(storage):
        beat = json.loads(storage.get("driver.lock") or b"")
    # The number alone says little: this process has the right one, and began at another time.
    storage.put("driver.lock", json.dumps({**beat, "began": beat["began"] - 1}).encode())
    with Lock(storage):
        pass


def test_a_driver_whose_study_another_one_took_over_ends_and_leaves_that_ones_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.05)
    storage = Storage(tmp_path.as_uri())
    theirs = json.dumps({"host": "x", "pid": 1, "since": 0, "beat": time.time(), "token": "theirs"}).encode()
    with pytest.raises(KeyboardInterrupt), Lock(storage):
        storage.put("driver.lock", theirs)
        time.sleep(5)
    assert storage.get("driver.lock") == theirs
