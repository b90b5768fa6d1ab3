"""Data sets and files in object storage, fetched once per machine into the cache.

What pyarrow opens by URI: s3://, gs://, abfs://, hdfs://, and fsspec's where it is installed. Endpoint and
credentials come from the URI's query (`?endpoint_override=…&scheme=http`) or the environment
(AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from data.errors import DataError, MachineError, nearest
from data.folder import check_room
from data.progress import Progress
from data.schema import FACES_FILE, MANIFEST_FILE, QUARANTINE_FILE, Manifest

_BLOCK = 1 << 23
_MB = 1 << 20


def fetched(uri: str, cache: Path) -> Path:
    """Return the local copy in `cache` of the data set or file at `uri`, fetching what isn't there.

    A data set is checked against its manifest's content hash; a file against the object beside it that is
    called the same with .sha256, where there is one. Raises DataError where there is nothing or a hash
    differs, MachineError where the storage doesn't answer.
    """
    from data.cache import locked

    files, path = _opened(uri)
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
            raise MachineError(
                f"{uri} cannot be fetched: {error}\n"
                "Is AWS_ENDPOINT_URL (or ?endpoint_override= in the address) right and the storage up? "
                "The same command goes on where it was"
            ) from None


def _opened(uri: str) -> tuple[Any, str]:
    from pyarrow import fs

    try:
        files, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{uri} is no address of a file system that pyarrow knows: {error}") from None
    return files, path.rstrip("/")


def _read(files: Any, path: str) -> bytes | None:
    try:
        with files.open_input_stream(path) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None


def _data_set(files: Any, path: str, uri: str, text: bytes, cache: Path) -> Path:
    """Fetch the data set in the folder `path`; its local name says what it holds."""
    manifest = Manifest.from_json(text.decode(), Path(f"{path}/{MANIFEST_FILE}"))
    folder = cache / f"{path.rpartition('/')[2]}-{hashlib.sha256(text).hexdigest()[:16]}"
    if (folder / MANIFEST_FILE).is_file():  # written last
        return folder
    folder.mkdir(exist_ok=True)
    _fetch(files, f"{path}/{FACES_FILE}", uri, folder / FACES_FILE, manifest.content_hash)
    quarantine = _read(files, f"{path}/{QUARANTINE_FILE}")
    if quarantine is not None:
        (folder / QUARANTINE_FILE).write_bytes(quarantine)
    _write(folder / MANIFEST_FILE, text)
    return folder


def _file(files: Any, path: str, uri: str, cache: Path) -> Path:
    """Fetch the file `path`; its local folder is named by address, size and time of change."""
    from pyarrow import fs

    info = files.get_file_info(path)
    if info.type != fs.FileType.File:
        raise DataError(f"{uri}: there is no file and no data set.{_beside(files, path)}")
    stamp = json.dumps([uri, info.size, info.mtime_ns])
    target = cache / hashlib.sha256(stamp.encode()).hexdigest()[:16] / path.rpartition("/")[2]
    if not target.is_file():
        target.parent.mkdir(exist_ok=True)
        stated = _read(files, f"{path}.sha256")
        _fetch(files, path, uri, target, stated.decode().split()[0].lower() if stated else None)
    return target


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
    with files.open_input_file(path) as source, partial.open("a+b") as file:
        size = source.size()
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
