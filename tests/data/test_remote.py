"""Data sets and files in object storage, against moto's S3 server on this machine."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from pyarrow import fs

from data.cache import local
from data.errors import DataError
from data.faces import Faces
from data.remote import fetched

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def endpoint(object_store: str) -> Iterator[str]:
    """The address of an S3 server with the bucket `faces`; the environment says where it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{object_store}")
        yield f"http://{object_store}"


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; what is fetched comes to lie in its folder `fetched`."""
    monkeypatch.setenv("RAPL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fetched"


def _files() -> fs.FileSystem:
    return fs.FileSystem.from_uri("s3://faces")[0]  # the constructor does not read AWS_ENDPOINT_URL


def _put(path: str, content: bytes) -> None:
    with _files().open_output_stream(path) as stream:
        stream.write(content)


@pytest.fixture
def stored(endpoint: str, small: Faces, request: pytest.FixtureRequest) -> str:
    """The small data set in a folder of the bucket named after the test."""
    folder = f"faces/{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}/small"
    for path in small.root.iterdir():
        _put(f"{folder}/{path.name}", path.read_bytes())
    return f"s3://{folder}"


def test_a_data_set_is_fetched_once_and_is_what_was_put_there(
    stored: str, small: Faces, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = Faces.open(stored)
    assert faces.root.parent == own_cache
    assert faces.fingerprint == small.fingerprint
    np.testing.assert_array_equal(faces.images, small.images)
    assert f"fetch {stored}: " in capsys.readouterr().err
    assert Faces.open(f"{stored}/").root == faces.root
    assert "fetch" not in capsys.readouterr().err


def test_an_endpoint_can_be_in_the_address(
    stored: str, endpoint: str, small: Faces, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    host = quote(endpoint.removeprefix("http://"), safe="")
    assert len(Faces.open(f"{stored}?scheme=http&endpoint_override={host}")) == len(small)


def test_a_data_set_that_was_replaced_is_fetched_again_beside_the_old(
    stored: str, small: Faces, own_cache: Path
) -> None:
    before = Faces.open(stored)
    manifest = (small.root / "manifest.json").read_text()
    _put(f"{stored[5:]}/manifest.json", manifest.replace(small.fingerprint, "f" * 64).encode())
    after = Faces.open(stored)
    assert after.fingerprint == "f" * 64
    assert after.root != before.root
    assert before.root.is_dir()


def test_damage_is_found_by_the_hash_and_leaves_nothing_to_open(
    stored: str, small: Faces, own_cache: Path
) -> None:
    content = bytearray((small.root / "faces.arrow").read_bytes())
    content[len(content) // 2] ^= 1
    _put(f"{stored[5:]}/faces.arrow", bytes(content))
    for _ in range(2):
        with pytest.raises(DataError, match=r"has SHA-256 .* damaged"):
            Faces.open(stored)
    assert not list(own_cache.glob("*/manifest.json"))
    _put(f"{stored[5:]}/faces.arrow", (small.root / "faces.arrow").read_bytes())
    assert len(Faces.open(stored)) == len(small)


def test_a_fetch_that_was_cut_goes_on_and_a_wrong_beginning_is_found(
    stored: str, small: Faces, own_cache: Path
) -> None:
    name = Faces.open(stored).root.name
    content = (small.root / "faces.arrow").read_bytes()
    for other, beginning in (("cut", content[:1000]), ("wrong", b"x" * 1000)):
        elsewhere = own_cache.parent / other
        (elsewhere / name).mkdir(parents=True)
        (elsewhere / name / "faces.arrow.partial").write_bytes(beginning)
        if other == "wrong":  # this shows too that the beginning is not fetched again
            with pytest.raises(DataError, match="damaged"):
                fetched(stored, elsewhere)
        assert (fetched(stored, elsewhere) / "faces.arrow").read_bytes() == content


def test_two_processes_at_once_fetch_one_copy(stored: str, own_cache: Path) -> None:
    code = f"from data.faces import Faces; f = Faces.open({stored!r}); print(f.root, len(f))"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [run.communicate() for run in runs]
    assert answers[0][0] == answers[1][0] != ""
    assert sorted("fetch" in said for _, said in answers) == [False, True]


def test_a_file_is_fetched_checked_and_fetched_again_when_it_changed(endpoint: str, own_cache: Path) -> None:
    uri = "s3://faces/weights/net.pt"
    _put(uri[5:], b"first")
    _put(f"{uri[5:]}.sha256", f"{hashlib.sha256(b'first').hexdigest()}  net.pt\n".encode())
    path = local(uri)
    assert (path.name, path.read_bytes()) == ("net.pt", b"first")
    assert local(uri) == path
    _put(uri[5:], b"second, longer")
    with pytest.raises(DataError, match=r"net\.pt has SHA-256"):
        local(uri)
    _files().delete_file(f"{uri[5:]}.sha256")
    assert local(uri).read_bytes() == b"second, longer"


def test_what_is_not_there_is_said_with_the_nearest_name(stored: str, own_cache: Path) -> None:
    with pytest.raises(DataError, match=r"no file and no data set\. Did you mean 'small'\?"):
        Faces.open(f"{stored}l")
    with pytest.raises(DataError, match="no address of a file system"):
        local("s4://faces/small")


def _truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_truncate, lambda path: path.write_bytes(b""), Path.unlink])
@pytest.mark.parametrize("name", ["faces.arrow", "manifest.json", "quarantine.csv"])
def test_a_copy_of_a_data_set_that_lost_something_is_fetched_again(
    stored: str, small: Faces, own_cache: Path, name: str, damage: Callable[[Path], object]
) -> None:
    _put(f"{stored[5:]}/quarantine.csv", b"source,reason\na.png,cannot be read\n")
    folder = fetched(stored, own_cache)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    damage(folder / name)
    faces = Faces.open(stored)
    np.testing.assert_array_equal(faces.images, small.images)
    assert {path.name: path.read_bytes() for path in faces.root.iterdir()} == before


@pytest.mark.parametrize("damage", [_truncate, lambda path: path.write_bytes(b""), Path.unlink])
def test_a_copy_of_a_file_that_lost_something_is_fetched_again(
    endpoint: str, own_cache: Path, damage: Callable[[Path], object]
) -> None:
    uri = "s3://faces/weights/kept.pt"
    _put(uri[5:], b"weights of a network")
    damage(local(uri))
    assert local(uri).read_bytes() == b"weights of a network"


def test_a_copy_of_the_right_size_that_cannot_be_read_is_to_be_removed(stored: str, own_cache: Path) -> None:
    path = Faces.open(stored).root / "faces.arrow"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match=f"is damaged .*; remove {path.parent} and give the same"):
        Faces.open(stored)
