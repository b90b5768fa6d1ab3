"""The reference point of every accuracy target: a plain PyTorch loop over frozen features.

It shares nothing with `model` and `orchestration` but the data: same features, split and ages.

    python benchmarks/plain_heads.py --data faces/utkface --heads evr evr+gp+rapl --study runs/utkface

prints for each head mean ± sd over seeds of the test MAE at the best validation epoch, the seconds of a run
and the images a second of training alone; with --study also the study's finals and their difference to evr.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import torch
from shared import Part, command, final_scores, load, spread
from torch import Tensor, nn
from torch.nn import functional

from data.faces import Faces

HEADS = ("fc_norm", "evr", "evr+gp", "evr+rapl", "evr+gp+rapl")
EPOCHS, BATCH, WIDTH, RATE, NOISE = 20, 256, 256, 3e-3, 0.1


@dataclass(frozen=True)
class Result:
    """One run; `images_per_second` is of training without validation and the choice of references."""

    test_mae: float
    seconds: float
    images_per_second: float


class Rapl(nn.Module):
    """Position logits from references R [n, c] (eq. 4-7, the sum over ages pulled into the gate)."""

    def __init__(self, width: int, n: int) -> None:
        super().__init__()
        self.P, self.over_ages, self.fc = nn.Parameter(torch.ones(n)), nn.Linear(n, 1), nn.Linear(width, n)
        self.R = torch.zeros(n, width)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.over_ages.weight @ torch.sigmoid(self.R * self.P[:, None])
        return self.fc(x * gate + self.over_ages.bias)

    def choose(self, labels: Tensor, ages: Tensor, errors: Tensor, features: Tensor) -> None:
        """R[k]: features of the smallest error at age k; an age without faces lies between its neighbours."""
        known = [k for k, label in enumerate(labels) if (ages == label).any()]
        for k in known:
            of_age = (ages == labels[k]).nonzero()[:, 0]
            self.R[k] = features[of_age[errors[of_age].argmin()]]
        for k in set(range(len(labels))) - set(known):
            low = max((j for j in known if j < k), default=known[0])
            high = min((j for j in known if j > k), default=known[-1])
            share = (labels[k] - labels[low]) / (labels[high] - labels[low]) if high > low else 0.0
            self.R[k] = torch.lerp(self.R[low], self.R[high], share)


def run(
    parts: dict[str, Part], labels: Tensor, head: str, seed: int, epochs: int = EPOCHS, init: str = "default"
) -> Result:
    """Train one head from one seed; `init` is torch's for every layer, or zeros for the age head."""
    begun, training = time.perf_counter(), 0.0
    torch.manual_seed(seed)
    train, n = parts["train"], len(labels)
    body = nn.Sequential(nn.Linear(train.x.shape[1], WIDTH), nn.PReLU(WIDTH))
    age_head = nn.Linear(WIDTH, 1 if head == "fc_norm" else n)
    if init == "zeros":
        nn.init.zeros_(age_head.weight)
        nn.init.zeros_(age_head.bias)
    gender_head, rapl = nn.Linear(WIDTH, 2), Rapl(WIDTH, n)
    used = [body, age_head, *[gender_head] * ("gp" in head), *[rapl] * ("rapl" in head)]
    optimizer = torch.optim.Adam([p for module in used for p in module.parameters()], lr=RATE)
    steps = epochs * -(-len(train.age) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    position = torch.searchsorted(labels, train.age)
    center, scale = train.age.mean(), train.age.std()

    def estimate(hidden: Tensor) -> Tensor:
        out = age_head(hidden)
        return out[:, 0] * scale + center if head == "fc_norm" else out.softmax(1) @ labels

    @torch.no_grad()
    def mae(part: Part) -> float:
        return float((estimate(body(part.x)) - part.age).abs().mean())

    best, test = float("inf"), float("nan")
    errors, features = torch.empty(len(train.age)), torch.empty(len(train.age), WIDTH)
    for epoch in range(epochs):
        start = time.perf_counter()
        for rows in torch.randperm(len(train.age)).split(BATCH):
            x = train.x[rows]
            hidden = body(x + NOISE * torch.randn_like(x))
            error = (estimate(hidden) - train.age[rows]).abs()
            loss = error.mean()
            if "gp" in head:
                loss = loss + functional.cross_entropy(
                    gender_head(hidden), train.gender[rows], ignore_index=-1
                )
            if "rapl" in head:
                errors[rows], features[rows] = error.detach(), hidden.detach()
                if epoch > 0:  # the first epoch has no references yet
                    loss = loss + functional.cross_entropy(rapl(hidden), position[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        training += time.perf_counter() - start
        if "rapl" in head:
            rapl.choose(labels, train.age, errors, features)
        if (value := mae(parts["val"])) < best:
            best, test = value, mae(parts["test"])
    return Result(test, time.perf_counter() - begun, epochs * len(train.age) / training)


def main() -> None:
    parser = argparse.ArgumentParser(description="Plain PyTorch heads on frozen features")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--features", type=Path, default=Path("runs/features"), help="a file or its folder")
    parser.add_argument("--heads", nargs="+", choices=HEADS, default=HEADS)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--init", choices=("default", "zeros"), default="default", help="of the age head")
    parser.add_argument("--study", type=Path, help="folder of a study whose finals are compared with evr")
    args = parser.parse_args()
    torch.set_num_threads(1)
    parts, labels = load(args.data, args.features)
    finals = final_scores(args.study, Faces.open(args.data).fingerprint) if args.study else {}
    heads = dict.fromkeys([*args.heads, *["evr"] * bool(finals)])
    results: dict[str, list[Result]] = {head: [] for head in heads}
    for seed in range(args.seeds):  # heads take turns, so that a busy machine slows all of them
        for head, runs in results.items():
            runs.append(run(parts, labels, head, seed, init=args.init))
    print("head         test MAE       s/run  images/s")
    for head, runs in results.items():
        seconds, speed = median(r.seconds for r in runs), median(r.images_per_second for r in runs)
        print(f"{head:<11}  {spread([r.test_mae for r in runs])}  {seconds:5.1f}  {speed:8,.0f}")
    for trial, scores in finals.items():
        difference = mean(scores) - mean(r.test_mae for r in results["evr"])
        print(f"finals of {trial}: {spread(scores)} ({len(scores)} seeds), {difference:+.3f} to plain evr")


if __name__ == "__main__":
    command(main)
