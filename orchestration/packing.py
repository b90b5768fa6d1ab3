"""How many runs fit by memory: measured in the first one, shown, and used where `pack: measured`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from orchestration.cluster import Capacity
from orchestration.memory import GIB
from orchestration.placement import Placement, fit

SPARE = 1.1  # over the peak that was seen
CONTEXT_GIB = 0.6  # of GPU memory for CUDA itself, per process: not part of the tensors' peak
GPU_PARTS = 10_000  # Ray cuts a GPU no finer


@dataclass(frozen=True)
class Peak:
    """Most memory of a worker of a run in GiB. On the host mapped files count too, which workers share."""

    host: float
    gpu: float = 0.0


def peak_of(lines: Sequence[Mapping[str, Any]]) -> Peak | None:
    """The peak over a run's metrics; None where the machine did not tell it."""
    host = [float(line["train/memory_gib"]) for line in lines if "train/memory_gib" in line]
    gpu = [float(line["train/gpu_memory_gib"]) for line in lines if "train/gpu_memory_gib" in line]
    return Peak(max(host), max(gpu, default=0.0)) if host else None


def per_gpu(peak: Peak, gpu_gib: float) -> int:
    """Workers that a GPU of `gpu_gib` holds; 0 where that is not known or not even one fits."""
    return int(gpu_gib / (peak.gpu * SPARE + CONTEXT_GIB)) if peak.gpu and gpu_gib else 0


def packed(placement: Placement, peak: Peak, gpu_gib: float, capacity: Capacity) -> Placement:
    """The placement with each worker asking for the memory it was seen to take.

    A GPU (the smallest has `gpu_gib`) is cut into as many shares as it holds workers. A stated `concurrent`
    stays the most.
    """
    asks = replace(placement, memory=math.ceil(peak.host * SPARE * GIB))
    holds = per_gpu(peak, gpu_gib)
    if holds and placement.gpus <= 1:
        asks = replace(asks, gpus=math.floor(GPU_PARTS / holds) / GPU_PARTS)
    most = fit(asks, capacity)
    if most == 0:  # one runs, as was just seen: what Ray calls memory is less than what there is
        return replace(placement, concurrent=1, follows=False)
    return replace(asks, concurrent=most if placement.follows else min(most, placement.concurrent))


def advice(placement: Placement, peak: Peak, gpu_gib: float, capacity: Capacity) -> str:
    """A line: what a worker took, and how many runs the memory holds beside how many go."""
    most = packed(replace(placement, follows=True), peak, gpu_gib, capacity).concurrent
    gpu = f" and {peak.gpu:.2f} GiB on its GPU" if peak.gpu else ""
    words = f"a worker took up to {peak.host:.2f} GiB (mapped files included){gpu}"
    if most > placement.concurrent:
        return f"{words}; {most} runs would fit where {placement.concurrent} go: resources.pack=measured"
    if most < placement.concurrent:
        return f"{words}; only {most} runs fit by memory, {placement.concurrent} go: resources.pack=measured"
    return f"{words}; by memory {most} fit, and so many go"
