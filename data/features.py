"""The feature file: what a frozen backbone makes of each face, as one Arrow batch that maps into memory.

    python -m data.features show PATH [--json]

tells what PATH holds: such a file, or the features of a training pass (data/feature_store.py).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT_VERSION = 1
_REMEDY = "Remove it and it is made again."


@dataclass(frozen=True)
class Features:
    """`array`: [n, views, channels] float32 or float16, read-only and mapped; `metadata` as written."""

    array: NDArray[Any]
    metadata: dict[str, Any]


def write_features(path: Path, features: NDArray[Any], metadata: dict[str, Any]) -> None:
    """Write `features` [n, views, channels] float32 or float16 whole, mode 0600.

    `channels`, `views` (a list; numbers by default) and `format_version` are added to the metadata.
    Raises ValueError where shape, dtype and metadata disagree, MachineError for a full disk.
    """
    import numpy as np
    import pyarrow as pa

    from data.feature_file import FROZEN, write_batch

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
    write_batch(path, {"features": column}, FROZEN, content)


def open_features(path: Path) -> Features:
    """Return the features at `path`, mapped and not read.

    Raises DataError for a missing or truncated file, another kind of file, or another format version.
    """
    from data.feature_file import FROZEN, open_batch

    batch, metadata = open_batch(path, FROZEN, FORMAT_VERSION, "feature file", _REMEDY)
    shape = (batch.num_rows, len(metadata["views"]), metadata["channels"])
    return Features(batch.column("features").flatten().to_numpy().reshape(shape), metadata)


if __name__ == "__main__":
    from data.feature_report import main

    sys.exit(main())
