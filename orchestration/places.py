"""Where a storage's bytes lie: a folder of this machine, or what pyarrow opens by an address (s3://…)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow import fs

from data import remote

REQUESTS = 16  # at once: an answer of an object store takes tens of milliseconds, however small it is


@dataclass(frozen=True)
class File:
    """A file below a folder: its name from there, its bytes, and when it was written, in Unix seconds."""

    name: str
    size: int
    changed: float


class Folder:
    """A folder of this machine, or one that is mounted. Every write is a rename."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def child(self, name: str) -> Folder:
        """The folder `name` below."""
        return Folder(self.path / name)

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def get(self, name: str) -> bytes:
        """The bytes of a file. Raises FileNotFoundError."""
        return (self.path / name).read_bytes()

    def each(self, act: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
        """What `act` returns for every name."""
        return [act(name) for name in names]

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of that name."""
        return (self.path / name).exists()

    def names(self, name: str, folders: bool) -> list[str]:
        """What lies directly in the folder `name`; with `folders` only folders, links left out."""
        place = self.path / name
        found = list(place.iterdir()) if place.is_dir() else []
        return [p.name for p in found if not folders or (p.is_dir() and not p.is_symlink())]

    def files(self) -> list[File]:
        """Every file below, links not followed."""
        found = []
        for folder, _, names in os.walk(self.path):
            for name in names:
                path = Path(folder) / name
                try:
                    stat = path.lstat()
                except FileNotFoundError:  # a driver replaced it meanwhile
                    continue
                found.append(File(path.relative_to(self.path).as_posix(), stat.st_size, stat.st_mtime))
        return found

    def delete(self, name: str) -> None:
        """Remove a file if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def clear(self, name: str) -> None:
        """Remove the folder `name` and what is in it."""
        shutil.rmtree(self.path / name, ignore_errors=True)

    def move(self, name: str, target: Folder) -> None:
        """Move the file or folder `name` into the folder `target`."""
        target.path.mkdir(parents=True, exist_ok=True)
        (self.path / name).rename(target.path / name)


class Bucket:
    """A folder behind an address. Object stores replace whole objects by themselves.

    (A file:// or hdfs:// address does not: give such storage as a path.)
    """

    def __init__(self, files: Any, base: str) -> None:
        self._files = files
        self.base = base

    def child(self, name: str) -> Bucket:
        """The folder `name` below."""
        return Bucket(self._files, f"{self.base}/{name}")

    def put(self, name: str, data: bytes) -> None:
        """Write an object whole."""
        path = f"{self.base}/{name}"
        if self._files.type_name in ("local", "hdfs"):  # object stores have no folders to make
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
        with self._files.open_output_stream(path) as stream:
            stream.write(data)

    def get(self, name: str) -> bytes:
        """The bytes of an object. Raises FileNotFoundError."""
        with self._files.open_input_stream(f"{self.base}/{name}") as stream:
            return bytes(stream.read())

    def each(self, act: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
        """What `act` returns for every name, several asked at once."""
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(act, names))

    def exists(self, name: str) -> bool:
        """Whether there is an object of that name, or one below it."""
        return bool(self._files.get_file_info(f"{self.base}/{name}").type != fs.FileType.NotFound)

    def names(self, name: str, folders: bool) -> list[str]:
        """What lies directly in the folder `name`; with `folders` only folders."""
        found = self._below(f"{self.base}/{name}".rstrip("/"), recursive=False)
        return [one.base_name for one in found if not folders or one.type == fs.FileType.Directory]

    def files(self) -> list[File]:
        """Every object below."""
        found = (one for one in self._below(self.base, recursive=True) if one.type == fs.FileType.File)
        return [File(one.path[len(self.base) + 1 :], one.size, (one.mtime_ns or 0) / 1e9) for one in found]

    def delete(self, name: str) -> None:
        """Remove an object if it is there."""
        try:
            self._files.delete_file(f"{self.base}/{name}")
        except FileNotFoundError:
            return

    def clear(self, name: str) -> None:
        """Remove everything below the folder `name`."""
        path = f"{self.base}/{name}".rstrip("/")
        if self._files.get_file_info(path).type != fs.FileType.NotFound:
            self._files.delete_dir(path)

    def move(self, name: str, target: Bucket) -> None:
        """Move the object or folder `name` into the folder `target`: copied, then removed."""
        below = self.child(name).files()
        if not below:
            self._files.copy_file(f"{self.base}/{name}", f"{target.base}/{name}")
            return self.delete(name)
        names = [f"{name}/{one.name}" for one in below]
        self.each(lambda one: self._files.copy_file(f"{self.base}/{one}", f"{target.base}/{one}"), names)
        return self.clear(name)

    def require(self) -> None:
        """Raise DataError where there is no such bucket: an object store lists nothing in it, then."""
        if self._files.type_name in ("s3", "gcs"):
            bucket = self.base.partition("/")[0]
            if self._files.get_file_info(bucket).type == fs.FileType.NotFound:
                raise remote.no_bucket(bucket)

    def _below(self, path: str, recursive: bool) -> list[Any]:
        return list(
            self._files.get_file_info(fs.FileSelector(path, allow_not_found=True, recursive=recursive))
        )


@lru_cache(maxsize=64)
def bucket(address: str) -> Bucket:
    """What lies at an address; opening one costs a tenth of a second. Raises DataError or MachineError."""
    return Bucket(*remote.opened(address))
