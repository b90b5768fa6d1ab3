"""Question: do references matter? The best of each strategy in a search, and controls, on fresh seeds.

    python benchmarks/strategies.py --study runs/utkface_references

Takes every strategy's best trial by validation (the search tried some often, some rarely), trains it and the
controls on seeds that the search did not use, and prints mean ± sd of validation and test MAE at the best
validation epoch, and the paired difference to no position head.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from shared import command, spread

from orchestration import study_file
from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.session import open_study
from orchestration.training import Training

CONTROLS: dict[str, dict[str, Any]] = {
    "no position head": {"model.position_head.name": "none"},
    "aux_ce": {"model.position_head.name": "aux_ce"},
    "min_error (defaults)": {},
    "random (defaults)": {"references.name": "random"},
    "shuffled (defaults)": {"references.name": "shuffled"},
}


def best_of_each(folder: StudyFolder) -> dict[str, dict[str, Any]]:
    """The parameters of each strategy's best trial, best strategy first."""
    trials = sorted(
        (m for m in folder.members("trials") if m.value is not None), key=lambda m: m.value or 0.0
    )
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        found.setdefault(str(trial.params["references.name"]), trial.params)
    return found


def run(config: RunConfig, inputs: Inputs) -> tuple[float, float]:
    """Validation and test MAE at the best validation epoch."""
    torch.set_num_threads(1)
    training = Training(config, inputs, torch.device("cpu"))
    best, test = float("inf"), float("nan")
    while not training.finished:
        value = training.step()["val/age_mae"]
        if value < best:
            best, test = value, training.evaluate("test")["age_mae"]
    return best, test


def main() -> None:
    parser = argparse.ArgumentParser(description="Reference strategies and controls on fresh seeds")
    parser.add_argument("--study", type=Path, default=Path("runs/utkface_references"))
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    study = study_file.load(str(args.study / "study.yaml"))
    opened = open_study(study, [study.config()], None)
    opened.compute_features()
    inputs = opened.prepared.inputs(study.config())
    rows = {**best_of_each(opened.folder), **CONTROLS}
    seeds = range(study.config().seed + 1, study.config().seed + 1 + args.seeds)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = {
            name: [pool.submit(run, study.config(values, seed), inputs) for seed in seeds]
            for name, values in rows.items()
        }
        scores = {name: [job.result() for job in row] for name, row in jobs.items()}
    baseline = [test for _, test in scores["no position head"]]
    print(f"seeds {seeds.start} to {seeds.stop - 1}, MAE in years")
    print("references              validation     test           to no position head")
    for name, row in scores.items():
        tests = [test for _, test in row]
        pairs = [a - b for a, b in zip(tests, baseline, strict=True)]
        error = stdev(pairs) / len(pairs) ** 0.5
        print(f"{name:<22}  {spread([v for v, _ in row])}  {spread(tests)}  {mean(pairs):+.3f} ± {error:.3f}")


if __name__ == "__main__":
    command(main)
