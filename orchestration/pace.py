"""Seconds per epoch, from epochs that were trained: this study's own, else those of studies like it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import yaml

from orchestration.layers import flatten
from orchestration.records import Member, Records
from orchestration.storage import Storage

TRIALS = 50  # the latest that are read
# What decides how long an epoch takes, beside the data set itself.
ALIKE = ("run.model.backbone.", "run.model.train_backbone", "run.train.batch_size", "run.train.precision")
NOT_ALIKE = ("run.model.backbone.weights",)


@dataclass(frozen=True)
class Pace:
    """Seconds from one epoch's end to the next one's, validation and writing included."""

    seconds: float
    source: str
    line_bytes: float | None = None


def own(records: Records, name: str) -> Pace | None:
    """The pace of this study's own runs."""
    members = [m for kind in ("trials", "finals", "single") for m in records.members(kind)]
    return _pace(records, members[-TRIALS:], f"measured in this study, {name}")


def others(storage: Storage, name: str, wanted: dict[str, Any], fingerprint: str) -> Pace | None:
    """The pace of another study's runs on the same data set with the same backbone, batch and resources."""
    for other in storage.list(folders=True):
        if other == name:
            continue
        records = Records(storage.child(other))
        alike = list(_alike(records, wanted, fingerprint))
        found = _pace(records, alike[-TRIALS:], f"measured in the study {other}")
        if found is not None:
            return found
    return None


def _alike(records: Records, wanted: dict[str, Any], fingerprint: str) -> Iterator[Member]:
    for member in (m for kind in ("trials", "single") for m in records.members(kind)):
        resolved = yaml.safe_load(records.storage.get(f"{member.name}/resolved.yaml") or b"{}")
        if member.fingerprint == fingerprint and signature(resolved) == wanted:
            yield member


def signature(resolved: dict[str, Any]) -> dict[str, Any]:
    """The values of a study file that decide an epoch's seconds."""
    flat = flatten(resolved)
    run = {k: v for k, v in flat.items() if k.startswith(ALIKE) and k not in NOT_ALIKE}
    wanted = ("workers", "device", "gpus_per_worker", "cpus_per_worker", "launcher")
    return {**run, **{name: flat.get(f"resources.{name}") for name in wanted}}


def _pace(records: Records, members: Iterable[Member], source: str) -> Pace | None:
    each, sizes = [], []
    for member in members:
        lines = records.lines(member)
        # A gap is a kill or a pause: the median of a run does not see it.
        gaps = [b["time"] - a["time"] for a, b in pairwise(lines) if b["epoch"] > a["epoch"]]
        if gaps:
            each.append(median(gaps))
            data = records.storage.get(f"{member.name}/metrics.jsonl") or b""
            sizes.append(len(data) / len(lines))
    if not each:
        return None
    count = f"{len(each)} run{'s' if len(each) > 1 else ''}"
    return Pace(sum(each) / len(each), f"{source}, {count}", sum(sizes) / len(sizes))
