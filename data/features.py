"""The feature file: what a frozen backbone makes of each face, as one Arrow batch that maps into memory.

Features of faces are biometric templates: the file is readable by its owner alone.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import DataError

FORMAT_VERSION = 1
_KEY = b"rapl.features"


@dataclass(frozen=True)
class Features:
    """`array`: [n, views, channels] float32 or float16, read-only and mapped; `metadata` as written."""

    array: NDArray[Any]
    metadata: dict[str, Any]


def write_features(path: Path, features: NDArray[Any], metadata: dict[str, Any]) -> None:
    """Write `features` [n, views, channels] float32 or float16 whole, mode 0600.

    `channels`, `views` (a list; numbers by default) and `format_version` are added to the metadata.
    Raises ValueError where shape, dtype and metadata disagree.
    """
    if features.ndim != 3 or features.dtype not in (np.float32, np.float16):
        raise ValueError(
            "features must be [n, views, channels] float32 or float16. "
            f"Received: {features.shape} {features.dtype}"
        )
    _, views, channels = features.shape
    content = {
        "channels": channels,
        "views": list(range(views)),
        **metadata,
        "format_version": FORMAT_VERSION,
    }
    if content["channels"] != channels or len(content["views"]) != views:
        raise ValueError(
            f"metadata has channels={content['channels']} and views={content['views']}; "
            f"the array is {features.shape}"
        )
    values = pa.array(np.ascontiguousarray(features).reshape(-1))
    column = pa.FixedSizeListArray.from_arrays(values, views * channels)
    schema = pa.schema([("features", column.type)], metadata={_KEY: json.dumps(content).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.touch(mode=0o600)
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch([column], schema=schema))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def open_features(path: Path) -> Features:
    """Return the features at `path`, mapped and not read.

    Raises DataError for a missing or truncated file, another kind of file, or another format version.
    """
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        metadata: dict[str, Any] = json.loads(reader.schema.metadata[_KEY])
        version = metadata["format_version"]
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, pa.ArrowInvalid, ValueError, KeyError, TypeError):
        raise DataError(f"{path} is not a whole feature file; remove it and it is made again") from None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} has format version {version!r}; this code reads {FORMAT_VERSION}. "
            "Remove it and it is made again."
        )
    column = reader.get_batch(0).column("features")
    shape = (len(column), len(metadata["views"]), metadata["channels"])
    return Features(column.flatten().to_numpy().reshape(shape), metadata)
