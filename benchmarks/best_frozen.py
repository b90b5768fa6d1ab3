"""Claim: our best recipe on frozen features is 0.25 years below a plain loop, an ensemble of its seeds 0.30.

Trains the recipe of search_spaces/utkface_best.yaml and the plain loop's `evr` (plain_heads.py, its own
settings) in turns on the same split. Both are tested at their best validation epoch.

    python benchmarks/best_frozen.py --data faces/utkface --features runs/features --weights W [OVERRIDE ...]

prints mean ± sd over seeds of validation and test MAE and the paired difference to the plain loop with its
standard error: of faces as they are and seen mirrored too, by the last and by the averaged weights, and
of the mean over all seeds' ages.
With --choose it trains one seed of every combination of the file's space and prints validation alone.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import plain_heads
import torch
from numpy.typing import NDArray
from shared import Part, command, load, spread
from torch import Tensor

from data.features import open_features
from model.network import Network
from orchestration import study_file
from orchestration.config import RunConfig
from orchestration.frozen import ensure
from orchestration.inputs import Inputs, resolve
from orchestration.space import grid
from orchestration.training import Training

WEIGHTS = ("last weights", "averaged weights")
VIEWS = ("as it is", "mirrored too")


Ages = dict[str, NDArray[np.float64]]  # [2, k] years by part, for each of VIEWS


@torch.no_grad()
def ages(network: Network, features: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """[2, k]: by VIEWS."""
    network.eval()
    views = [network.predict_age(network(torch.from_numpy(features[rows, view]))) for view in (0, 1)]
    return torch.stack([views[0], (views[0] + views[1]) / 2]).double().numpy()


def train(config: RunConfig, inputs: Inputs) -> dict[str, Ages]:
    """Ages of the val and the test part by the last and by the averaged weights, each at its best epoch.

    One run gives both, since an average does not change what is trained.
    """
    training = Training(config, inputs, torch.device("cpu"))
    best: dict[str, float] = dict.fromkeys(WEIGHTS, float("inf"))
    states: dict[str, dict[str, Tensor]] = {}
    while not training.finished:
        averaged = training.step()["val/age_mae"]
        for name, network in zip(WEIGHTS, (training.network, training.evaluated), strict=True):
            error = averaged if network is training.evaluated else last_mae(training)
            if error < best[name]:
                best[name], states[name] = error, copy.deepcopy(network.state_dict())
    features, split = open_features(Path(str(inputs.features))).array, training.batches.split
    found: dict[str, Ages] = {}
    for name, state in states.items():
        training.network.load_state_dict(state)
        parts = {"val": split.val, "test": split.test}
        found[name] = {part: ages(training.network, features, rows) for part, rows in parts.items()}
    return found


@torch.no_grad()
def last_mae(training: Training) -> float:
    """On the val part, of the weights that are trained."""
    network = training.network.eval()
    pairs = [(network.predict_age(network(b.inputs)), b.age) for b in training.batches.evaluation("val")]
    return float(torch.cat([(predicted - age).abs() for predicted, age in pairs]).mean())


def mae(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    return float(np.abs(predicted - true).mean())


def choose(args: argparse.Namespace, inputs: Inputs) -> None:
    space = study_file.load(args.space, args.overrides)
    for point in grid(space):
        begun = time.perf_counter()
        training = Training(space.config(point, args.first), inputs, torch.device("cpu"))
        values = [training.step()["val/age_mae"] for _ in range(space.config(point).train.epochs)]
        words = ", ".join(f"{k}={v}" for k, v in point.items())
        print(f"{words}: validation {min(values):.3f}, {time.perf_counter() - begun:.0f} s", flush=True)


def compare(args: argparse.Namespace, inputs: Inputs) -> None:
    space = study_file.load(args.space, args.overrides)
    parts, labels = load(args.data, args.features)
    true = {name: parts[name].age.double().numpy() for name in ("val", "test")}
    runs: list[dict[str, Ages]] = []
    plain: list[float] = []
    seeds = range(args.first, args.first + args.seeds)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.processes, context, torch.set_num_threads, (1,)) as pool:
        jobs = [
            pool.submit(both, space.config(seed=seed), inputs, parts, labels, args.init) for seed in seeds
        ]
        for job in as_completed(jobs):
            run, mine = job.result()
            runs.append(run)
            plain.append(mine)
            values = ", ".join(f"{mae(run[w]['val'][0], true['val']):.3f}" for w in WEIGHTS)
            print(f"a seed: validation {values}; plain test {mine:.3f}", flush=True)
            if len(runs) > 1:
                show(runs, plain, true)


def both(
    config: RunConfig, inputs: Inputs, parts: dict[str, Part], labels: Tensor, init: str
) -> tuple[dict[str, Ages], float]:
    """Our run and the plain loop's of one seed."""
    plain = plain_heads.run(parts, labels, "evr", config.seed, init=init)
    return train(config, inputs), plain.test_mae


def show(runs: list[dict[str, Ages]], plain: list[float], true: Ages) -> None:
    """The table over the seeds so far."""
    print(f"\nplain loop: test {spread(plain)} ({len(plain)} seeds)\n")
    print("| | validation | test | to the plain loop |\n|---|---|---|---|")
    for name, (i, view) in product(WEIGHTS, enumerate(VIEWS)):
        val, test = ([mae(run[name][part][i], true[part]) for run in runs] for part in ("val", "test"))
        pairs = [a - b for a, b in zip(test, plain, strict=True)]
        error = f" ± {stdev(pairs) / len(pairs) ** 0.5:.3f}" if len(pairs) > 1 else ""
        print(f"| one model, {name}, {view} | {spread(val)} | {spread(test)} | {mean(pairs):+.3f}{error} |")
    for name, (i, view) in product(WEIGHTS, enumerate(VIEWS)):
        together = {p: np.mean([run[name][p][i] for run in runs], 0) for p in ("val", "test")}
        v, t = (mae(together[part], true[part]) for part in ("val", "test"))
        print(f"| ensemble of {len(runs)}, {name}, {view} | {v:.3f} | {t:.3f} | {t - mean(plain):+.3f} |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="The best recipe on frozen features against a plain loop")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument(
        "--features", type=Path, default=Path("runs/features"), help="folder of feature files"
    )
    parser.add_argument("--weights", default="weights/mobilefacenet.pt", help="of the frozen backbone")
    parser.add_argument("--space", default="utkface_best.yaml")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument(
        "--init", choices=("default", "zeros"), default="default", help="of the plain age head"
    )
    parser.add_argument("--processes", type=int, default=1, help="seeds trained at once, a thread each")
    parser.add_argument("--choose", action="store_true", help="validation of every combination of the space")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="such as average.name=ema")
    args = parser.parse_args()
    torch.set_num_threads(1)
    own = [f"data.root={args.data}", f"model.backbone.weights={args.weights}", "average.name=ema"]
    args.overrides = [*own, *args.overrides]
    config = study_file.load(args.space, args.overrides).config()
    found = resolve(config)
    inputs = replace(found, features=str(ensure(config, found, args.features.resolve())))
    choose(args, inputs) if args.choose else compare(args, inputs)


if __name__ == "__main__":
    command(main)
