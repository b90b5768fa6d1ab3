"""The reference point of every accuracy target: a plain PyTorch loop over frozen features.

Claim: none; it gives the number others are compared with. Shares nothing with `model` and `orchestration`
but the data room's files: the same features, split and ages.

    python benchmarks/plain_heads.py --data faces/utkface --heads evr evr+gp+rapl --study runs/utkface

prints per head mean ± sd over seeds of the test MAE at the best validation epoch, the seconds of a run, and
images per second of training alone; with --study also the study's final seeds and their difference to evr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional

from data import splits
from data.errors import DataError
from data.faces import Faces
from data.features import open_features

HEADS = ("fc_norm", "evr", "evr+gp", "evr+rapl", "evr+gp+rapl")
EPOCHS, BATCH, WIDTH, RATE, NOISE = 20, 256, 256, 3e-3, 0.1


@dataclass
class Part:
    """x: standardised features [k, c]; age: [k] years; gender: [k] codes, -1 unknown."""

    x: Tensor
    age: Tensor
    gender: Tensor


@dataclass
class Result:
    """One run; `train_seconds` leaves out validation, testing and the choice of references."""

    test_mae: float
    seconds: float
    images_per_second: float


class Rapl(nn.Module):
    """Eq. 4-7 with the sum over ages pulled into the gate. R [n, c] is set from outside."""

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.p, self.over_ages, self.fc = nn.Parameter(torch.ones(n)), nn.Linear(n, 1), nn.Linear(width, n)
        self.R = torch.zeros(n, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.over_ages.weight @ torch.sigmoid(self.R * self.p[:, None])
        return self.fc(x * gate + self.over_ages.bias)


def run(parts: dict[str, Part], labels: Tensor, head: str, seed: int, epochs: int = EPOCHS) -> Result:
    """Train one head from one seed."""
    torch.manual_seed(seed)
    train, n, begun, spent = parts["train"], len(labels), time.perf_counter(), 0.0
    center, scale = train.age.mean(), train.age.std()
    body = nn.Sequential(nn.Linear(train.x.shape[1], WIDTH), nn.PReLU(WIDTH))
    age_head = nn.Linear(WIDTH, 1 if head == "fc_norm" else n)
    gender_head, position_head = nn.Linear(WIDTH, 2), Rapl(WIDTH, n)
    position = torch.searchsorted(labels, train.age)
    parameters = [p for m in (body, age_head, gender_head, position_head) for p in m.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    steps = epochs * -(-len(train.age) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)

    def estimate(features: Tensor) -> Tensor:
        out = age_head(features)
        return out[:, 0] * scale + center if head == "fc_norm" else out.softmax(1) @ labels

    @torch.no_grad()
    def mae(part: Part) -> float:
        return float((estimate(body(part.x)) - part.age).abs().mean())

    best, test = float("inf"), float("nan")
    for epoch in range(epochs):
        start, order = time.perf_counter(), torch.randperm(len(train.age))
        errors, features = torch.empty(len(order)), torch.empty(len(order), WIDTH)
        for rows in order.split(BATCH):
            x = train.x[rows]
            hidden = body(x + NOISE * torch.randn_like(x))
            error = (estimate(hidden) - train.age[rows]).abs()
            loss = error.mean()
            if "gp" in head:
                loss = loss + functional.cross_entropy(gender_head(hidden), train.gender[rows], ignore_index=-1)
            if "rapl" in head:
                errors[rows], features[rows] = error.detach(), hidden.detach()
                if epoch > 0:  # the first epoch has no references yet
                    loss = loss + functional.cross_entropy(position_head(hidden), position[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        spent += time.perf_counter() - start
        if "rapl" in head:  # per age, the features of the smallest error of the pass
            for k in range(n):
                of_age = (position == k).nonzero()[:, 0]
                position_head.R[k] = features[of_age[errors[of_age].argmin()]]
        if (value := mae(parts["val"])) < best:
            best, test = value, mae(parts["test"])
    return Result(test, time.perf_counter() - begun, epochs * len(train.age) / spent)


def find_features(faces: Faces, given: Path) -> Path:
    """The feature file `given`, or the one of this data set in the folder `given`."""
    candidates = [given] if given.is_file() else sorted(given.glob("*.arrow"))
    fitting = [p for p in candidates if open_features(p).metadata.get("fingerprint") == faces.fingerprint]
    if not fitting:
        raise DataError(f"{given}: no features of {faces.root}; `orchestration.train --space utkface` makes them")
    return fitting[0]


def load(data: Path, features: Path) -> tuple[dict[str, Part], Tensor]:
    """The three parts of the fixed image_random split, standardised by train, and the labels [n]."""
    faces = Faces.open(data)
    split = splits.load(faces, "image_random", 0)
    array = open_features(find_features(faces, features)).array[:, 0]
    mean_, sd = array[split.train].mean(0), array[split.train].std(0)
    x = torch.from_numpy((array - mean_) / sd.clip(1e-12))
    age, gender = torch.tensor(faces.ages), torch.tensor(faces.genders).long()
    parts = {n: torch.from_numpy(getattr(split, n)) for n in splits.PARTS}
    labels = torch.tensor(faces.labels, dtype=torch.float32)
    return {name: Part(x[rows], age[rows], gender[rows]) for name, rows in parts.items()}, labels


def spread(values: list[float]) -> str:
    """`mean ± sd` over seeds."""
    return f"{mean(values):.3f} ± {stdev(values) if len(values) > 1 else float('nan'):.3f}"


def final_scores(study: Path, fingerprint: str) -> dict[str, list[float]]:
    """Test MAE of a study's final seeds, by trial. Raises DataError where there are none of this data set."""
    scores: dict[str, list[float]] = defaultdict(list)
    for path in sorted(study.glob("finals/*/state.json")):
        state = json.loads(path.read_text())
        if state["fingerprint"] == fingerprint and state.get("test"):
            scores[path.parent.name.split("-")[0]].append(state["test"]["age_mae"])
    if not scores:
        raise DataError(f"{study}: no finished final seeds of this data set; run orchestration.tune first")
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--features", type=Path, default=Path("runs/features"), help="a file or its folder")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=list(HEADS))
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--study", type=Path, help="a study folder whose finals are compared with evr")
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        parts, labels = load(args.data, args.features)
        finals = final_scores(args.study, Faces.open(args.data).fingerprint) if args.study else {}
    except DataError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    heads = ["evr", *args.heads] if finals and "evr" not in args.heads else args.heads
    results: dict[str, list[Result]] = {head: [] for head in heads}
    for seed in range(args.seeds):  # heads take turns, so that a busy machine slows all alike
        for head in heads:
            results[head].append(run(parts, labels, head, seed))
    print(f"{args.data}: {args.seeds} seeds, train/val/test {[len(p.age) for p in parts.values()]}")
    print("head          test MAE (years)  s/run   images/s")
    for head, runs in results.items():
        seconds, speed = median(r.seconds for r in runs), median(r.images_per_second for r in runs)
        print(f"{head:<12}  {spread([r.test_mae for r in runs]):<16}  {seconds:5.1f}  {speed:9,.0f}")
    for trial, scores in finals.items():
        difference = mean(scores) - mean(r.test_mae for r in results["evr"])
        print(f"finals of {trial}: {spread(scores)} ({len(scores)} seeds), {difference:+.3f} to plain evr")


if __name__ == "__main__":
    main()
