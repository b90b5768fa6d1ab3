"""The only door to a study folder: put whole, get, list, exists, on any pyarrow file system."""

from __future__ import annotations

import builtins
import contextlib
import errno
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from data import remote
from orchestration import places
from orchestration.errors import MachineError, UserError
from orchestration.places import Bucket, File, Folder

FORMAT_VERSION = 1


class Storage:
    """A folder, local or in an object store. Names are relative, with forward slashes.

    Every write replaces a whole object: a reader sees the old one or the new one, and a crash in the middle
    leaves the old one. Of an address (s3://…) every method raises DataError where it is denied or the bucket
    is missing, MachineError where nothing answers.
    """

    def __init__(self, root: str, place: Folder | Bucket | None = None) -> None:
        """`place` is given by a storage that opened it already."""
        self.root = root if "://" in root else str(Path(root).expanduser().absolute())
        if place is None:
            place = places.bucket(self.root) if "://" in root else Folder(Path(self.root))
        self._place = place

    def __reduce__(self) -> tuple[type[Storage], tuple[str]]:
        return Storage, (self.root,)

    @property
    def local(self) -> Path | None:
        """The folder where it is one of this machine; None behind an address."""
        return self._place.path if isinstance(self._place, Folder) else None

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.root.partition("?")[0].rstrip("/").rpartition("/")[2]

    def address(self, name: str) -> str:
        """The path or address of `name`, as another command takes it."""
        if not name:
            return self.root
        base, mark, query = self.root.partition("?") if self.local is None else (self.root, "", "")
        return f"{base.rstrip('/')}/{name}{mark}{query}"

    def child(self, name: str) -> Storage:
        """The folder `name` below this one."""
        return Storage(self.address(name), self._place.child(name))

    def parent(self) -> Storage:
        """The folder that this one lies in."""
        base, mark, query = self.root.partition("?") if self.local is None else (self.root, "", "")
        return Storage(f"{base.rstrip('/').rpartition('/')[0]}{mark}{query}")

    def put(self, name: str, data: bytes) -> None:
        """Write `data` under `name`, whole or not at all. Raises MachineError (disk full …)."""
        try:
            with self._asked(name):
                self._place.put(name, data)
        except OSError as error:
            raise MachineError(_words(error, self.address(name), len(data))) from error

    def get(self, name: str) -> bytes | None:
        """The bytes under `name`, or None where there is nothing."""
        try:
            with self._asked(name):
                return self._place.get(name)
        except FileNotFoundError:
            return None

    def get_all(self, names: Sequence[str]) -> builtins.list[bytes | None]:
        """What `get` returns for every name, in their order."""
        return self._place.each(self.get, names)

    def exists(self, name: str) -> bool:
        """Whether something lies under `name`."""
        with self._asked(name):
            return self._place.exists(name)

    def list(self, name: str = "", folders: bool = False) -> builtins.list[str]:
        """Sorted names directly below the folder `name`; empty where there is no such folder.

        With `folders` only those of folders, links to folders left out.
        """
        with self._asked(name):
            return sorted(self._place.names(name, folders))

    def files(self) -> builtins.list[File]:
        """Every file below this folder; links are not followed."""
        with self._asked(""):
            return self._place.files()

    def delete(self, name: str) -> None:
        """Remove the object `name` if it is there."""
        with self._asked(name):
            self._place.delete(name)

    def clear(self, name: str = "") -> None:
        """Remove the folder `name` and everything in it."""
        with self._asked(name):
            self._place.clear(name)

    def move(self, name: str, target: Storage) -> None:
        """Move the file or folder `name` into the folder `target` of the same file system."""
        with self._asked(name):
            self._place.move(name, target._place)  # type: ignore[arg-type]

    def require(self) -> None:
        """Ask the file system behind an address. Raises DataError where it denies or knows no such bucket."""
        if isinstance(self._place, Bucket):
            with self._asked(""):
                self._place.require()

    @contextlib.contextmanager
    def on_disk(self, *names: str) -> Iterator[builtins.list[Path]]:
        """Those files on this machine, for the block: themselves, or copies in a temporary folder."""
        if self.local is not None:
            yield [self.local / name for name in names]
            return
        with tempfile.TemporaryDirectory() as scratch:
            for name, data in zip(names, self.get_all(names), strict=True):
                Folder(Path(scratch)).put(name, data or b"")
            yield [Path(scratch) / name for name in names]

    @contextlib.contextmanager
    def _asked(self, name: str) -> Iterator[None]:
        """What a file system behind an address says of `name`, in our words."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if self.local is not None or error.errno is not None:
                raise
            raise remote.refusal(error, self.address(name)) from None

    def clear_partials(self, name: str) -> None:
        """Remove what killed writers left half-written in the folder `name`."""
        if self.local is not None:
            for leftover in (self.local / name).glob(".*.partial-*"):
                leftover.unlink(missing_ok=True)

    def put_json(self, name: str, value: dict[str, Any]) -> None:
        """Write a JSON object that carries the format version."""
        document = {"format_version": FORMAT_VERSION, **value}
        self.put(name, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())

    def get_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object written by `put_json`. Raises UserError for one of another version."""
        data = self.get(name)
        return None if data is None else self.parsed(name, data)

    def parsed(self, name: str, data: bytes) -> dict[str, Any]:
        """The JSON object in the bytes of `name`. Raises UserError for one of another version."""
        try:
            value = json.loads(data)
        except ValueError as error:
            raise UserError(f"{self.address(name)}: not readable as JSON: {error}") from error
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise UserError(f"{self.address(name)}: expected a JSON object, received {kind}")
        if value.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{self.address(name)}: format version {value.get('format_version')!r};"
                f" this code reads {FORMAT_VERSION}"
            )
        return dict(value)


def _words(error: OSError, path: str, size: int) -> str:
    if error.errno == errno.ENOSPC:
        return f"{path}: no space left on the disk for {size:,} bytes; free some and run the command again"
    return f"{path}: cannot write: {error.strerror or error}"
