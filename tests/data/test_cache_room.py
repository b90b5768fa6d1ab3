"""The bound on what the cache keeps of object storage."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from data import cache_room
from data.cache import fetched_root, local
from data.errors import DataError

ROOT = Path(__file__).parents[2]
KIB = 1024


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], str]:
    """Puts a file of so many KiB where only an address leads; the cache is empty and holds 25 KiB."""
    monkeypatch.setenv("RAPL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAPL_CACHE_GIB", str(25 * KIB / 2**30))
    monkeypatch.setattr(cache_room, "_held", {})

    def put(name: str, kib: int = 10) -> str:
        path = tmp_path / "storage" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name[:1].encode() * kib * KIB)
        return path.as_uri()

    return put


def _end_of_the_process() -> None:
    """What holds entries while a process lives goes with it."""
    for file in cache_room._held.values():
        file.close()
    cache_room._held.clear()


def _kept() -> set[str]:
    return {path.name for path in fetched_root().glob("*/*") if path.parent.name[0] != "."}


def test_what_was_used_least_recently_makes_room(stored: Callable[..., str]) -> None:
    a, b = stored("a"), stored("b")
    first, second = local(a), local(b)
    assert local(a) == first  # used again
    _end_of_the_process()
    third = local(stored("c"))
    assert _kept() == {"a", "c"} and not second.exists()
    assert first.read_bytes() == b"a" * 10 * KIB and third.read_bytes() == b"c" * 10 * KIB
    _end_of_the_process()
    assert local(b).read_bytes() == b"b" * 10 * KIB  # fetched again
    assert _kept() == {"b", "c"}


def test_what_another_process_uses_stays_and_what_cannot_fit_is_said(stored: Callable[..., str]) -> None:
    code = "import sys; from data.cache import local; print(local(sys.argv[1]), flush=True); sys.stdin.read()"
    user = subprocess.Popen(
        [sys.executable, "-c", code, stored("a")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    used = Path(user.stdout.readline().strip())
    local(stored("b"))
    _end_of_the_process()
    local(stored("c"))
    assert _kept() == {"a", "c"} and used.exists()  # a was there first
    with pytest.raises(DataError, match=r"RAPL_CACHE_GIB is .* more do not fit .* in use\. Raise it"):
        local(stored("d"))
    assert _kept() == {"a", "c"}
    user.communicate()
    local(stored("d"))
    assert _kept() == {"c", "d"}


def test_a_fetch_under_way_counts_as_what_it_will_be(stored: Callable[..., str]) -> None:
    stored("b")
    begun = fetched_root() / "begun"
    begun.mkdir(parents=True)
    cache_room.hold(begun)
    cache_room.make(begun, 20 * KIB)
    with pytest.raises(DataError, match="beside"):
        local(stored("b"))


def test_a_bound_that_is_no_number_is_refused(
    stored: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ("ten", "0", "-1", "nan"):
        monkeypatch.setenv("RAPL_CACHE_GIB", wrong)
        with pytest.raises(DataError, match=f"above 0. Received: '{wrong}'"):
            local(stored("a"))
