"""Data sets and files in object storage, fetched once per machine into the cache.

What pyarrow opens by URI: s3://, gs://, abfs://, hdfs://, and fsspec's where it is installed. Endpoint and
credentials come from the URI's query (`?endpoint_override=…&scheme=http`) or the environment
(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data import cache_room
from data.errors import DataError, MachineError, RefusedError, nearest
from data.folder import check_room
from data.progress import Progress
from data.schema import FACES_FILE, MANIFEST_FILE, QUARANTINE_FILE, Manifest

_BLOCK = 1 << 23
_MB = 1 << 20
_SIZES = ".fetched.json"  # beside a data set's files: how large each was when it was fetched
# Of pyarrow's names for the answers 400 and 403 to keys that are not taken.
_DENIED = ("ACCESS_DENIED", "ACCESS_KEY", "SIGNATURE", "TOKEN", "UNRECOGNIZED_CLIENT", "403", "ExpiredToken")


def fetched(uri: str, cache: Path) -> Path:
    """Return the local copy in `cache` of the data set or file at `uri`, fetching what isn't there.

    A copy in which a file is gone or has another size is fetched again; what is there is not hashed again.

    A data set is checked against its manifest's content hash; a file against the object beside it that is
    called the same with .sha256, where there is one. Raises DataError where there is nothing or a hash
    differs, MachineError where the storage doesn't answer. What a process was given stays while it lives;
    else RAPL_CACHE_GIB bounds what is kept (data/cache_room.py).
    """
    from data.cache import locked

    files, path = opened(uri)
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / f".{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"):
        try:
            manifest = _read(files, f"{path}/{MANIFEST_FILE}")
            if manifest is not None:
                return _data_set(files, path, uri, manifest, cache)
            return _file(files, path, uri, cache)
        except FileNotFoundError as error:
            raise DataError(f"{uri}: {error}") from None
        except OSError as error:
            raise refusal(error, uri) from None


def opened(address: str) -> tuple[Any, str]:
    """The file system behind an address, and the path there. Raises DataError and MachineError."""
    from pyarrow import fs

    asked = address
    parts = urlsplit(address)
    if "@" in parts.netloc and parts.scheme == "s3":
        raise DataError(
            f"s3://…@{parts.netloc.rpartition('@')[2]}{parts.path}: keep keys out of addresses, which are"
            " written down; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if parts.scheme == "s3" and "allow_delayed_open" not in parts.query:
        # One request for a small object instead of the three of an upload in parts.
        asked += f"{'&' if parts.query else '?'}allow_delayed_open=true"
    try:
        files, path = fs.FileSystem.from_uri(asked)
    except OSError as error:
        raise refusal(error, address) from None
    except (ValueError, ImportError) as error:
        raise DataError(f"{address} is no address of a file system that pyarrow knows: {error}") from None
    return files, path.rstrip("/")


def refusal(error: OSError, address: str) -> DataError | MachineError:
    """What an object store's answer about `address` means: the user's mistake, or that nothing answers."""
    said = str(error).rpartition("AWS Error ")[2]
    if error.errno is not None:
        return MachineError(f"{address}: {error}")  # of this machine's disk
    if "NO_SUCH_BUCKET" in said:
        return no_bucket(urlsplit(address).netloc)
    if any(code in said for code in _DENIED):
        return RefusedError(
            f"{address}: the storage denies access ({said[:200]}). Check the keys"
            " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's role) and that they"
            " may list, read, write and delete there"
        )
    where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    through = f" (AWS_ENDPOINT_URL is {where})" if where and address.startswith("s3://") else ""
    reason = said.rpartition("; Details: ")[2]
    return MachineError(f"{address}: the storage does not answer{through}: {reason}")


def no_bucket(name: str) -> RefusedError:
    """The words for a bucket that is not there."""
    return RefusedError(f"there is no bucket {name!r}; make it (aws s3 mb s3://{name}), or name another one")


def _read(files: Any, path: str) -> bytes | None:
    try:
        with files.open_input_stream(path) as stream:
            return bytes(stream.read())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _data_set(files: Any, path: str, uri: str, text: bytes, cache: Path) -> Path:
    """Fetch the data set in the folder `path`; its local name says what it holds."""
    manifest = Manifest.from_json(text.decode(), Path(f"{path}/{MANIFEST_FILE}"))
    folder = cache / f"{path.rpartition('/')[2]}-{hashlib.sha256(text).hexdigest()[:16]}"
    cache_room.hold(folder)
    if _as_fetched(folder):
        return folder
    folder.mkdir(exist_ok=True)
    _fetch(files, f"{path}/{FACES_FILE}", uri, folder / FACES_FILE, manifest.content_hash)
    quarantine = _read(files, f"{path}/{QUARANTINE_FILE}")
    if quarantine is not None:
        (folder / QUARANTINE_FILE).write_bytes(quarantine)
    _write(folder / MANIFEST_FILE, text)
    names = [FACES_FILE, MANIFEST_FILE, *([] if quarantine is None else [QUARANTINE_FILE])]
    sizes = {name: (folder / name).stat().st_size for name in names}
    _write(folder / _SIZES, json.dumps(sizes).encode())  # last: without it the copy is not whole
    return folder


def _as_fetched(folder: Path) -> bool:
    """Whether the copy of a data set has all of its files, each as large as it was fetched."""
    try:
        sizes = json.loads((folder / _SIZES).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _file(files: Any, path: str, uri: str, cache: Path) -> Path:
    """Fetch the file `path`."""
    from pyarrow import fs

    info = files.get_file_info(path)
    if info.type != fs.FileType.File:
        raise DataError(f"{uri}: there is no file and no data set.{_beside(files, path)}")
    target = _place(info, uri, cache)
    cache_room.hold(target.parent)
    # Some file systems do not tell sizes.
    if not target.is_file() or info.size not in (None, target.stat().st_size):
        target.parent.mkdir(exist_ok=True)
        stated = _read(files, f"{path}.sha256")
        _fetch(files, path, uri, target, stated.decode().split()[0].lower() if stated else None)
    return target


def put(path: Path, uri: str, cache: Path) -> None:
    """Move the file `path` to `uri`, then its SHA-256 beside it, and keep it in `cache` as if fetched.

    Raises as `opened`.
    """
    files, there = opened(uri)
    digest = hashlib.sha256()
    size = path.stat().st_size
    progress = Progress(max(1, size // _MB), f"put {uri.partition('?')[0]}", "MB")
    try:
        with path.open("rb") as source, files.open_output_stream(there) as target:
            while block := source.read(_BLOCK):
                target.write(block)
                digest.update(block)
                progress.advance(len(block) // _MB)
        with files.open_output_stream(f"{there}.sha256") as target:
            target.write(f"{digest.hexdigest()}  {path.name}\n".encode())
        kept = _place(files.get_file_info(there), uri, cache)
    except OSError as error:
        raise refusal(error, uri) from None
    progress.close()
    kept.parent.mkdir(parents=True, exist_ok=True)
    path.replace(kept)


def _place(info: Any, uri: str, cache: Path) -> Path:
    """Where a file comes to lie: its folder is named by address, size and time of change."""
    stamp = hashlib.sha256(json.dumps([uri, info.size, info.mtime_ns]).encode()).hexdigest()
    return cache / stamp[:16] / str(info.base_name)


def _beside(files: Any, path: str) -> str:
    from pyarrow import fs

    parent, _, name = path.rpartition("/")
    try:
        names = [info.base_name for info in files.get_file_info(fs.FileSelector(parent))]
    except OSError:
        return ""
    return nearest(name, names)


def _fetch(files: Any, path: str, uri: str, target: Path, expected: str | None) -> None:
    """Write the object `path` at `target`, whole or not at all; go on where a killed fetch was.

    Raises DataError where its SHA-256 is not the one that is expected.
    """
    partial = target.with_name(f"{target.name}.partial")
    digest = hashlib.sha256()
    with files.open_input_file(path) as source, contextlib.ExitStack() as opened_here:
        size = source.size()
        cache_room.make(target.parent, size)
        file = opened_here.enter_context(partial.open("a+b"))
        start = min(file.tell(), size)
        check_room(target.parent, size - start)
        file.truncate(start)
        file.seek(0)
        while block := file.read(_BLOCK):
            digest.update(block)
        progress = Progress(max(1, size // _MB), f"fetch {uri.partition('?')[0]}", "MB")
        progress.skip(start // _MB)
        source.seek(start)
        at = start
        while block := source.read(_BLOCK):
            file.write(block)
            digest.update(block)
            progress.advance((at + len(block)) // _MB - at // _MB)
            at += len(block)
        progress.close()
        file.flush()
        os.fsync(file.fileno())
    if expected is not None and digest.hexdigest() != expected:
        partial.unlink()
        raise DataError(
            f"{uri}: {target.name} has SHA-256 {digest.hexdigest()}, not {expected}; it is damaged or was "
            "changed while it was fetched. Copy it there again, or give the same command again"
        )
    partial.replace(target)


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    partial.replace(path)
