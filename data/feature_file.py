"""One record batch in one Arrow file: written whole, readable by its owner alone, mapped when it is read.

Features of faces are biometric templates: hence mode 0600.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from data.errors import DataError, MachineError

FROZEN = b"rapl.features"  # the metadata key that names a file's kind: features of a frozen backbone
PASS = b"rapl.pass"  # one worker's samples of a training pass
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_batch(path: Path, columns: dict[str, Any], key: bytes, metadata: dict[str, Any]) -> None:
    """Write `columns` (name → pyarrow array) and `metadata` (as JSON under `key`) whole, mode 0600.

    A killed writer leaves only a hidden `.NAME.PID`. Raises MachineError for a full disk.
    """
    schema = pa.schema(
        [pa.field(name, column.type, nullable=False) for name, column in columns.items()],
        metadata={key: json.dumps(metadata).encode()},
    )
    batch = pa.record_batch(list(columns.values()), schema=schema)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # a leftover could have another mode
        # Created once and never truncated: ext4 flushes a truncated file when it is closed.
        created = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(created, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(batch)
        partial.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            reason = os.strerror(error.errno)
            raise MachineError(f"{path}: no room left for {batch.nbytes / 1e6:,.1f} MB ({reason})") from None
        raise
    finally:
        partial.unlink(missing_ok=True)


def open_batch(path: Path, key: bytes, version: int, what: str, remedy: str) -> tuple[Any, dict[str, Any]]:
    """Return the record batch at `path`, mapped and not read, and its metadata.

    Raises DataError, ending with `remedy`, for a missing or truncated file, one that is not `what`, and
    another format version.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata: dict[str, Any] = json.loads(reader.schema.metadata[key])
        found = metadata["format_version"]
        batch = reader.get_batch(0) if found == version else None
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except PermissionError:
        raise DataError(f"{path} may be read by its owner alone: features are biometric templates") from None
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
        raise DataError(f"{path} is not a whole {what}. {remedy}") from None
    if batch is None:
        raise DataError(f"{path} has format version {found!r}; this code reads {version}. {remedy}")
    return batch, metadata


def kind(path: Path) -> bytes | None:
    """Return FROZEN or PASS for a whole file of that kind, else None."""
    try:
        keys = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return next((key for key in (FROZEN, PASS) if key in keys), None)
