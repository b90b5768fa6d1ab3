"""The only door to a study folder: put whole, get, list, exists, on any pyarrow file system."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from pyarrow import fs

from orchestration.errors import MachineError, UserError

FORMAT_VERSION = 1


class Storage:
    """A folder, local or in an object store. Names are relative, with forward slashes.

    Every write replaces a whole object: a reader sees the old one or the new one, and a crash in
    the middle leaves the old one. (A path does this by renaming, S3 and its like by themselves; a
    file:// or hdfs:// URI does not: give such storage as a path.)
    """

    def __init__(self, root: str) -> None:
        self.root = root if "://" in root else str(Path(root).expanduser().absolute())
        self._local = Path(self.root) if "://" not in root else None
        if self._local is None:
            try:
                self._fs, self._base = fs.FileSystem.from_uri(self.root)
            except (OSError, ValueError) as error:
                raise UserError(f"storage {root}: {error}") from error

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.root,)

    def child(self, name: str) -> Storage:
        """The folder `name` below this one."""
        return Storage(f"{self.root.rstrip('/')}/{name}")

    def put(self, name: str, data: bytes) -> None:
        """Write `data` under `name`, whole or not at all. Raises MachineError (disk full …)."""
        try:
            if self._local is not None:
                _replace(self._local / name, data)
                return
            path = f"{self._base}/{name}"
            if self._fs.type_name in ("local", "hdfs"):  # object stores have no folders to make
                self._fs.create_dir(path.rpartition("/")[0], recursive=True)
            with self._fs.open_output_stream(path) as stream:
                stream.write(data)
        except OSError as error:
            raise MachineError(_words(error, f"{self.root}/{name}", len(data))) from error

    def get(self, name: str) -> bytes | None:
        """The bytes under `name`, or None where there is nothing."""
        try:
            if self._local is not None:
                return (self._local / name).read_bytes()
            with self._fs.open_input_stream(f"{self._base}/{name}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None

    def exists(self, name: str) -> bool:
        """Whether something lies under `name`."""
        if self._local is not None:
            return (self._local / name).exists()
        return bool(self._fs.get_file_info(f"{self._base}/{name}").type != fs.FileType.NotFound)

    def list(self, name: str = "") -> list[str]:
        """Sorted names directly below the folder `name`; empty where there is no such folder."""
        if self._local is not None:
            folder = self._local / name
            return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        selector = fs.FileSelector(f"{self._base}/{name}", allow_not_found=True)
        return sorted(info.base_name for info in self._fs.get_file_info(selector))

    def delete(self, name: str) -> None:
        """Remove the object `name` if it is there."""
        if self._local is not None:
            (self._local / name).unlink(missing_ok=True)
        elif self.exists(name):
            self._fs.delete_file(f"{self._base}/{name}")

    def clear_partials(self, name: str) -> None:
        """Remove what killed writers left half-written in the folder `name`."""
        if self._local is not None:
            for leftover in (self._local / name).glob(".*.partial-*"):
                leftover.unlink(missing_ok=True)

    def put_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object that carries the format version."""
        document = {"format_version": FORMAT_VERSION, **value}
        self.put(name, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())

    def get_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object written by `put_json`. Raises UserError for one of another version."""
        data = self.get(name)
        if data is None:
            return None
        try:
            value = json.loads(data)
        except ValueError as error:
            raise UserError(f"{self.root}/{name}: not readable as JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserError(f"{self.root}/{name}: expected a JSON object, received {type(value).__name__}")
        if value.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.root}/{name}: format version {value.get('format_version')!r};"
                f" this code reads {FORMAT_VERSION}"
            )
        return dict(value)


def _replace(path: Path, data: bytes) -> None:
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


def _words(error: OSError, path: str, size: int) -> str:
    if error.errno == errno.ENOSPC:
        return f"{path}: no space left on the disk for {size:,} bytes; free some and run the command again"
    return f"{path}: cannot write: {error.strerror or error}"
