"""Claim: choosing references costs next to nothing, and workers exchange ages × channels, not samples.

    python benchmarks/selection.py

165,000 features of 256 channels over 57 ages (the size of AFAD), one thread. Every strategy against
Algorithm 1 as printed (one pass over all samples per age, pure Python), the bytes that a worker sends per
refresh against gathering all features, and the memory that min_error takes beyond the features.
"""

from __future__ import annotations

import argparse
import resource
import time
from statistics import median
from typing import get_args

import torch
from shared import command
from torch import Tensor

from model.passes import Pass
from model.reference_base import Strategy, Tensors
from model.references import ReferencesConfig


def algorithm_1(ages: list[int], errors: list[float], features: Tensor, labels: list[int]) -> Tensor:
    """The paper's loop: for every age a pass over all samples."""
    rows = []
    for label in labels:
        best, index = float("inf"), -1
        for i, age in enumerate(ages):
            if age == label and errors[i] < best:
                best, index = errors[i], i
        rows.append(features[index])
    return torch.stack(rows)


def drawn(samples: int, channels: int, ages: int) -> Pass:
    """A pass of random features and errors."""
    torch.manual_seed(0)
    age = torch.randint(ages, (samples,)) + 15.0
    return Pass(
        torch.randperm(samples),
        (age - 15).long(),
        torch.randint(-1, 2, (samples,)),
        age,
        age + torch.randn(samples) * 4,
        torch.randn(samples, channels),
    )


def timed(strategy: Strategy, pass_: Pass, labels: Tensor, repeats: int) -> tuple[float, int]:
    """Median seconds of a selection, and the bytes this worker hands to the exchange."""
    seconds, sent = [], 0

    def exchange(mine: Tensors) -> list[Tensors]:
        nonlocal sent
        sent += sum(column.numel() * column.element_size() for column in mine)
        return [mine]

    for _ in range(repeats):
        sent, begun = 0, time.perf_counter()
        strategy.refresh(pass_, labels, exchange, 0, None)
        seconds.append(time.perf_counter() - begun)
    return median(seconds), sent


def main() -> None:
    parser = argparse.ArgumentParser(description="Reference selection: time, exchange, memory")
    parser.add_argument("--samples", type=int, default=165_000)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--ages", type=int, default=57)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    pass_ = drawn(args.samples, args.channels, args.ages)
    labels = torch.arange(15, 15 + args.ages, dtype=torch.float64)
    all_features = pass_.features.numel() * 4
    # The first strategy is min_error, so the largest size of the process is still that of the features.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = []
    for member in get_args(get_args(ReferencesConfig)[0]):
        seconds, sent = timed(member().build(), pass_, labels, args.repeats)
        if not rows:
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        rows.append((member().name, seconds, sent))
    begun = time.perf_counter()
    algorithm_1(pass_.age.int().tolist(), pass_.error.tolist(), pass_.features, labels.int().tolist())
    naive = time.perf_counter() - begun
    size = f"{args.samples:,} × {args.channels} features, {args.ages} ages"
    print(f"{size}; Algorithm 1 as printed: {naive:.2f} s")
    print("strategy           ms    Algorithm 1 / it   KiB sent   all features / sent")
    for name, seconds, sent in rows:
        times, share = naive / seconds, all_features / sent
        print(f"{name:<15} {1e3 * seconds:6.1f} {times:19.0f} {sent / 1024:10.0f} {share:21.0f}")
    print(f"min_error: {100 * more / all_features:.1f} % of the features' size in memory beyond them")


if __name__ == "__main__":
    command(main)
