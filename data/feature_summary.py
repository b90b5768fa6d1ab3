"""What a file or folder of features holds, in numbers: a dict that is JSON as it stands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data import features
from data.cache import local
from data.errors import DataError
from data.feature_file import FROZEN, PASS, kind
from data.feature_folder import all_epochs, attempts, contents, epoch_name, epochs, parse_epoch
from data.feature_shard import FORMAT_VERSION
from data.feature_store import FeaturePass, open_pass
from data.schema import FEMALE, MALE, UNKNOWN, age_labels

_BLOCK = 4096  # rows in memory at once


def summary(path: Path) -> dict[str, Any]:
    """Return what `path` holds: a frozen backbone's file, an epoch's folder, or a run's features folder.

    Of the last, the newest complete epoch. Raises DataError.
    """
    path = local(path)
    if path.is_file():
        if kind(path) == PASS:
            raise DataError(f"{path} is one worker's shard; show the whole pass: {path.parent}")
        return _frozen(path)
    epoch = parse_epoch(path.name)
    if epoch is not None:
        return _pass(open_pass(path.parent, epoch), "")
    if found := epochs(path):
        return _pass(open_pass(path, found[-1]), _newer(path, found[-1]))
    files = [file.name for file in sorted(path.glob("*.arrow")) if kind(file) == FROZEN]
    if files:
        raise DataError(f"{path} is a folder of feature files; name one: {', '.join(files)}")
    there = _newer(path, -1) or "it holds no epoch-0000 or the like"
    raise DataError(f"{path} has no complete pass: {there}")


def _newer(folder: Path, epoch: int) -> str:
    """The epochs after `epoch` that are not complete, in words."""
    later = [epoch_name(n) for n in all_epochs(folder) if n > epoch]
    return "; ".join(f"{name}: {contents(folder / name)}" for name in later)


def _frozen(path: Path) -> dict[str, Any]:
    found = features.open_features(path)
    metadata = dict(found.metadata)
    views = [str(view) for view in metadata.pop("views")]
    norms = {view: _mean_norm(found.array[:, i]) for i, view in enumerate(views)}
    return {
        "kind": "features of a frozen backbone",
        "path": str(path),
        "format": f"Arrow IPC, version {metadata.pop('format_version')}",
        "shape": list(found.array.shape),
        "dtype": str(found.array.dtype),
        "bytes": path.stat().st_size,
        "fingerprint": metadata.pop("fingerprint", None),
        "views": views,
        "mean_norm": norms,
        "metadata": metadata,
    }


def _pass(found: FeaturePass, newer: str) -> dict[str, Any]:
    first = found.shards[0]
    others = attempts(found.folder).keys() - {first.attempt}
    shards = [found.folder.parent / shard.path for shard in found.shards]
    labels, genders, errors = age_labels(found.ages()), found.column("gender"), found.errors()
    names = {"male": MALE, "female": FEMALE, "unknown": UNKNOWN}
    return {
        "kind": "features of a training pass",
        "path": str(found.folder),
        "format": f"Arrow IPC, version {FORMAT_VERSION}",
        "shape": [len(found), found.channels],
        "dtype": str(first.feature.dtype),
        "bytes": sum(shard.stat().st_size for shard in shards),
        "fingerprint": first.fingerprint,
        "epoch": first.epoch,
        "attempt": first.attempt,
        "workers": first.workers,
        "source": first.source,
        "repeats": sum(len(shard.sample_id) for shard in found.shards) - len(found),
        "gender": {name: int((genders == code).sum()) for name, code in names.items()},
        "mean_error": _mean(errors),
        "errors_not_finite": int((~np.isfinite(errors)).sum()),
        "missing_ages": sorted(set(range(labels.min(), labels.max() + 1)) - set(labels))
        if len(labels)
        else [],
        "ages": _by_age(labels, errors),
        "not_shown": "; ".join(filter(None, [contents(found.folder) if others else "", newer])),
    }


def _by_age(labels: NDArray[np.int64], errors: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Per age, in whole years rounded half up: how many samples, and the mean of their finite errors."""
    order = np.argsort(labels, kind="stable")
    ages, starts = np.unique(labels[order], return_index=True)
    groups = np.split(errors[order], starts[1:])
    return [
        {"age": int(age), "count": len(group), "mean_error": _mean(group)}
        for age, group in zip(ages, groups, strict=False)
    ]


def _mean(values: NDArray[np.float32]) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean(dtype=np.float64)) if len(finite) else None


def _mean_norm(array: NDArray[Any]) -> float | None:
    """Mean Euclidean length of the rows of [n, c]; None where there are no rows or it is not finite."""
    blocks = (array[i : i + _BLOCK].astype(np.float64) for i in range(0, len(array), _BLOCK))
    total = sum(float(np.linalg.norm(block, axis=1).sum()) for block in blocks)
    return total / len(array) if len(array) and math.isfinite(total) else None
