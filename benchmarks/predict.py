"""Claim: predicting a folder costs at most 15 % more than its backbone alone on faces that are cut already.

    python benchmarks/predict.py RUN --pictures faces/utkface/sources --count 1000

runs orchestration.predict's own path (files opened, faces cut, network, interval, a CSV line) and, in turns
with it, a bare loop: the same backbone over the same faces in memory, in the same batches and threads. It
prints images a second of both, medians over the turns, and the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from shared import command
from torch import Tensor

from data.crops import Cutter, pictures
from model.network import average_pool
from orchestration import shown
from orchestration.errors import UserError
from orchestration.estimates import see
from orchestration.estimator import load
from orchestration.frozen import CPU_BATCH
from orchestration.spread import spread


@torch.no_grad()
def bare(backbone: torch.nn.Module, faces: Tensor) -> None:
    """The backbone's pooled features of faces [n, size, size, 3] uint8."""
    for part in faces.split(CPU_BATCH):
        average_pool(backbone(part.permute(0, 3, 1, 2).float() / 255))


def main() -> None:
    parser = argparse.ArgumentParser(description="Throughput of predict against its backbone alone, on a CPU")
    parser.add_argument("model", metavar="MODEL", help="a run with a frozen backbone")
    parser.add_argument("--pictures", required=True, metavar="DIR", help="faces, one a picture")
    parser.add_argument("--count", type=int, default=1000, help="pictures")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--weights", metavar="FILE", help="the backbone of a frozen run, where it moved")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    estimator = load(args.model, device="cpu", weights=args.weights)
    backbone = estimator.members[0].backbone
    if backbone is None:
        raise UserError(f"{args.model}: its backbone was fine-tuned and is no module of its own")
    known = spread(estimator.folders, estimator.columns, estimator.flip)
    cutter = Cutter(estimator.size, None)
    found = pictures(str(Path(args.pictures)), bytes)[0][: args.count]
    cut = [crop.pixels for picture in found for crop in cutter.crops(picture)[0] if crop.pixels is not None]
    faces = torch.from_numpy(np.stack(cut))
    bare(backbone, faces[:64])
    ours, alone = [], []
    for _ in range(args.turns):
        start = time.perf_counter()
        lines = [shown.csv_lines(seen) for seen in see(estimator, known, cutter, found)]
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        bare(backbone, faces)
        alone.append(time.perf_counter() - start)
    ratio = median(b / o for o, b in zip(ours, alone, strict=True))
    print(f"{len(lines):,} pictures, {args.threads} thread(s) for the network, {args.turns} turns")
    print(
        f"predict {len(found) / median(ours):.1f} images/s, backbone alone {len(faces) / median(alone):.1f}"
    )
    print(f"ratio {ratio:.3f}")


if __name__ == "__main__":
    command(main)
