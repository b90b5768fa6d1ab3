"""Claim: our training loop costs nothing against a plain one: test MAE within 0.02, speed at least 0.9 of it.

Both train the heads of search_spaces/utkface.yaml on the same features and split, the age head from zeros, on
one thread, and take turns; the other initial weights, order of batches and noise differ.

    python benchmarks/ours_against_plain.py --data faces/utkface --heads evr evr+gp+rapl

prints for each head the test MAE of both, their difference with its standard error, and two ratios ours/plain
of medians: images a second of training alone, and of whole runs (with validation and choice of references).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean, median, stdev

import plain_heads
import torch
from plain_heads import Result
from shared import command, find_features, load, spread

from data import splits
from data.faces import Faces
from data.protocols import Spec
from orchestration import study_file
from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.training import Training

OVERRIDES = {
    "evr": ["model.gender_head=false", "model.position_head.name=none"],
    "evr+gp": ["model.gender_head=true", "model.position_head.name=none"],
    "evr+rapl": ["model.gender_head=false", "model.position_head.name=rapl"],
    "evr+gp+rapl": ["model.gender_head=true", "model.position_head.name=rapl"],
}


def run(config: RunConfig, inputs: Inputs) -> Result:
    """Train with our loop; test at the best validation epoch, as single runs and finals do."""
    begun, seconds = time.perf_counter(), 0.0
    training = Training(config, inputs, torch.device("cpu"))
    best, test = float("inf"), float("nan")
    while not training.finished:
        line = training.step()
        seconds += line["train/seconds"]
        if line["val/age_mae"] < best:
            best, test = line["val/age_mae"], training.evaluate("test")["age_mae"]
    images = config.train.epochs * len(training.batches.split.train)
    return Result(test, time.perf_counter() - begun, images / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Our training loop against a plain one")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--features", type=Path, default=Path("runs/features"), help="a file or its folder")
    parser.add_argument("--heads", nargs="+", choices=OVERRIDES, default=["evr", "evr+gp+rapl"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=plain_heads.EPOCHS)
    parser.add_argument("--verbose", action="store_true", help="print every seed's test MAE")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts, labels = load(args.data, args.features)
    faces = Faces.open(args.data)
    inputs = Inputs(
        data=str(args.data.resolve()),
        fingerprint=faces.fingerprint,
        split_hash=splits.load(faces, Spec()).hash,
        labels=faces.labels,
        features=str(find_features(faces, args.features).resolve()),
    )
    print("head         ours           plain          difference      images/s       speed  whole run")
    for head in args.heads:
        values = [f"data.root={inputs.data}", f"train.epochs={args.epochs}", *OVERRIDES[head]]
        space = study_file.load("utkface", values)
        ours, plain = [], []
        for seed in range(args.seeds):
            ours.append(run(space.config(seed=seed), inputs))
            plain.append(plain_heads.run(parts, labels, head, seed, args.epochs, "zeros"))
        print(f"{head:<11}  {compared(ours, plain)}", flush=True)
        if args.verbose:
            print("  ours ", *(f"{r.test_mae:.3f}" for r in ours))
            print("  plain", *(f"{r.test_mae:.3f}" for r in plain))


def compared(ours: list[Result], plain: list[Result]) -> str:
    """One row of the table."""
    a, b = [r.test_mae for r in ours], [r.test_mae for r in plain]
    pairs = [x - y for x, y in zip(a, b, strict=True)]
    error = stdev(pairs) / len(pairs) ** 0.5 if len(pairs) > 1 else float("nan")
    ours_speed, plain_speed = (median(r.images_per_second for r in side) for side in (ours, plain))
    whole = median(r.seconds for r in plain) / median(r.seconds for r in ours)
    difference = f"{mean(pairs):+.3f} ± {error:.3f}"
    speeds = f"{ours_speed:6,.0f} {plain_speed:6,.0f}"
    return f"{spread(a)}  {spread(b)}  {difference}  {speeds}  {ours_speed / plain_speed:5.2f}  {whole:9.2f}"


if __name__ == "__main__":
    command(main)
