"""Claim: RAPL's collapsed gate is ten times faster than the equations, without their b × c × n memory.

    python benchmarks/rapl_head.py

Forward and backward of the position head, written straight from eq. (4)-(7), against model/rapl.py, on one
thread, taking turns: prints the ratio of medians. Then each side runs in a process of its own for growing
batches: prints by how much the process's largest size grew over a batch of one.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from statistics import median

import torch
from shared import command
from torch import Tensor, nn
from torch.nn import functional

from model.rapl import Rapl


class Literal(nn.Module):
    """Equations (4) to (7) as they stand: the features are repeated for every age."""

    def __init__(self, channels: int, ages: int) -> None:
        super().__init__()
        self.P, self.R = nn.Parameter(torch.ones(ages)), torch.randn(ages, channels)
        self.over_ages, self.over_channels = nn.Linear(ages, 1), nn.Linear(channels, ages)

    def forward(self, x: Tensor) -> Tensor:
        z = self.R.T * self.P  # (4): [c, n]
        w = torch.sigmoid(z)  # (5)
        reweighted = x.unsqueeze(2) * w  # (6): [b, c, n]
        return self.over_channels(self.over_ages(reweighted).squeeze(2))


def collapsed(channels: int, ages: int) -> nn.Module:
    """The project's head with references set."""
    head = Rapl.Config().build(channels, torch.arange(ages).float())
    head.set_references(torch.randn(ages, channels))
    return head


SIDES = {"literal": Literal, "collapsed": collapsed}


def steps(head: nn.Module, batch: int, channels: int, ages: int, count: int) -> float:
    """Seconds of a forward and backward, the median of `count`."""
    x = torch.randn(batch, channels, requires_grad=True)
    target = torch.randint(ages, (batch,))
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        functional.cross_entropy(head(x), target).backward()
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


def grown(side: str, batch: int, args: argparse.Namespace) -> float:
    """MiB that a process doing this side at `batch` became larger than one doing it at a batch of one."""
    sizes = []
    for size in (1, batch):
        call = [sys.executable, __file__, "--child", side, "--batch", str(size)]
        call += ["--channels", str(args.channels), "--ages", str(args.ages)]
        sizes.append(int(subprocess.run(call, check=True, capture_output=True, text=True).stdout))
    return (sizes[1] - sizes[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="RAPL's position head: collapsed against literal")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--ages", type=int, default=100)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shape = (args.channels, args.ages)
    if args.child:
        steps(SIDES[args.child](*shape), args.batch, *shape, 3)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    heads = {name: make(*shape) for name, make in SIDES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(10):
        for name, head in heads.items():
            seconds[name].append(steps(head, args.batch, *shape, 5))
    literal, ours = median(seconds["literal"]), median(seconds["collapsed"])
    print(f"b={args.batch} c={args.channels} n={args.ages}, forward and backward, one thread")
    print(f"literal    {1e3 * literal:8.2f} ms\ncollapsed  {1e3 * ours:8.2f} ms")
    print(f"ratio      {literal / ours:8.1f}")
    print("batch   MiB more than a batch of one: literal  collapsed   (one b*c*n tensor)")
    for batch in (args.batch, 4 * args.batch, 16 * args.batch):
        tensor = batch * args.channels * args.ages * 4 / 2**20
        used = [grown(side, batch, args) for side in SIDES]
        print(f"{batch:5}  {used[0]:37.1f}  {used[1]:9.1f}  {tensor:12.1f}")


if __name__ == "__main__":
    command(main)
