"""What is made of a data set once and kept: beside it, or in the cache where its folder can't be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from data.cache import cache_root

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Placed(Protocol):
    """A data set in a folder."""

    @property
    def root(self) -> Path: ...
    @property
    def fingerprint(self) -> str: ...


def find(faces: Placed, name: str) -> Path | None:
    """Return the file kept under `name`, such as splits/x.json; None where there is none."""
    return next((path for path in _places(faces, name) if path.is_file()), None)


def keep(faces: Placed, name: str, text: str) -> None:
    """Keep `text` under `name`, whole or not at all; nothing where neither place can be written."""
    for path in _places(faces, name):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            partial.write_text(text)
            partial.replace(path)
            return
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise


def _places(faces: Placed, name: str) -> tuple[Path, Path]:
    return faces.root / name, cache_root() / "beside" / faces.fingerprint[:16] / name
