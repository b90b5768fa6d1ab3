"""Question: how many epochs does each way to search train until it has what 64 random full trials find?

    python benchmarks/search_efficiency.py --data faces/utkface --storage runs --random 32 --faces 2300 \\
        train.epochs=12 train.batch_size=128 model.neck.width=128

Searches the space of a study file with random draws and with TPE, each with and without ASHA, in virtual time
(two trials at once, every epoch equally long). The target is the median best validation value of so many
random full trials; random searches are resampled from all random trials of all repeats, and TPE's train what
they suggest. Prints a table in shares of the epochs of the random full trials, writes curves, results.json
and a figure to STORAGE/search_efficiency, and goes on from what is there. `--rules` compares ASHA's settings
on the random trials, `--also search.startup=16` runs TPE + ASHA once more with other settings.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import json
import random
import sys
import time
from pathlib import Path
from statistics import median

import torch
from search_table import HEAD, figure, row
from shared import command
from virtual_search import Curves, Drawn, Live, Trace, search

from data import splits
from data.faces import Faces
from data.progress import Progress
from data.protocols import Spec
from orchestration import space, study_file
from orchestration.layers import Flat
from orchestration.session import open_study
from orchestration.study import Study

RESAMPLED = 200
SCRATCH = "search_efficiency.scratch"
RANDOM, TPE = "random", "TPE"
ASHA = " + ASHA"


class Comparison:
    """Searches of one space against so many random full trials."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.home = args.storage / "search_efficiency"
        self.home.mkdir(parents=True, exist_ok=True)
        opened = open_study(study := self.study(0, []), space.input_variants(study), None)
        opened.compute_features()
        self.prepared = opened.prepared
        self.curves = Curves(self.home / "curves.jsonl", study.objective.metric, self.prepared)
        self.epochs = args.trials * study.config().train.epochs
        self.target = float("-inf")
        self.pool: list[Flat] = []
        found = self.home / "searches.json"
        self.done: dict[str, Trace] = json.loads(found.read_text()) if found.exists() else {}

    def study(self, repeat: int, values: list[str]) -> Study:
        """The study of one repeat; its samplers' seed is the repeat's number."""
        own = [f"study={SCRATCH}", f"storage={self.args.storage}"]
        own += [f"search.seed={repeat}", "search.start_from=none"]
        data = [f"data.root={self.args.data}"]
        if self.args.faces:
            data += ["data.protocol=listed", f"data.listing={self._listing()}"]
        return study_file.load(self.args.space, [*data, *self.args.overrides, *own, *values])

    def _listing(self) -> Path:
        """A split with so many training faces of image_random's and as many of its validation part.

        All others are called test, which no search reads.
        """
        path = self.home / f"listing_{self.args.faces}.csv"
        if not path.exists():
            faces = Faces.open(self.args.data)
            split = splits.load(faces, Spec())
            part: dict[int, str] = {}
            for name in ("train", "val"):
                rows = getattr(split, name).tolist()
                rows.sort(key=lambda row: hashlib.sha256(faces.sources[row].encode()).digest())
                part |= dict.fromkeys(rows[: self.args.faces], name)
            text = io.StringIO()
            lines = [(source, part.get(row, "test")) for row, source in enumerate(faces.sources)]
            csv.writer(text).writerows([("path", "split"), *lines])
            path.write_text(text.getvalue())
        return path

    def live(self, name: str, values: list[str]) -> list[Trace]:
        """Searches that train what they suggest, one for each repeat; they end once they have the target."""
        traces = []
        for repeat in range(self.args.repeats):
            key = json.dumps([values, repeat, self.target, self.args.until])
            if key not in self.done:
                begun = time.monotonic()
                study = self.study(repeat, [*values, f"search.trials={100 * self.args.trials}"])
                self.done[key] = search(study, Live(study, self.prepared), self.curves, self._enough)
                spent, best = self.done[key][-1]
                words = f"{name}, repeat {repeat + 1}: {best:.3f} with {spent} epochs"
                print(f"{words}, {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
                (self.home / "searches.json").write_text(json.dumps(self.done))
            traces.append(self.done[key])
        return traces

    def _enough(self, trace: Trace, spent: int) -> bool:
        found = bool(trace) and trace[-1][1] <= self.target
        return spent >= self.epochs * self.args.until or (found and spent >= self.epochs / 3)

    def random_trials(self) -> None:
        """Train the random trials of all repeats, and set the target by them.

        A repeat's are those that TPE of the same seed begins with, so that these are trained once.
        """
        for repeat in range(self.args.repeats):
            study = self.study(repeat, ["search.sampler=random", f"search.trials={self.args.random}"])
            self.pool += Live(study, self.prepared).points()
        progress = Progress(len(self.pool), "random trials", "trials")
        for point in self.pool:
            known = self.curves.full(point, study)
            progress.skip(1) if known else progress.advance(1)
        progress.close()
        self.target = median(trace[-1][1] for trace in self.resampled(["search.scheduler=none"]))

    def resampled(self, values: list[str]) -> list[Trace]:
        """Random searches over the random trials that were trained, in other orders, no trial twice."""
        study = self.study(0, values)
        return [
            search(
                study,
                Drawn(random.Random(i).sample(self.pool, len(self.pool))),
                self.curves,
                lambda _, spent: spent >= self.epochs,
            )
            for i in range(RESAMPLED)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Epochs that ways to search need for one result")
    parser.add_argument("--space", default="utkface", help="a study file, or a name in search_spaces/")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--storage", type=Path, default=Path("runs"), help="with features/")
    parser.add_argument("--faces", type=int, help="so many train, as many validate (default: all)")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--random", type=int, default=64, help="random trials drawn with each repeat's seed")
    parser.add_argument(
        "--until", type=float, default=1.0, help="end TPE's searches at this share of the epochs"
    )
    parser.add_argument("--rules", action="store_true", help="compare ASHA's settings on the random trials")
    parser.add_argument("--also", nargs="+", action="append", default=[], metavar="path=value")
    parser.add_argument("overrides", nargs="*", metavar="path=value")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    made = Comparison(args)
    made.random_trials()
    print(f"target {made.target:.3f}, {made.epochs} epochs", file=sys.stderr)
    none, tpe = ["search.scheduler=none"], ["search.sampler=tpe"]
    if args.rules:
        print(HEAD)
        epochs = made.epochs // args.trials
        graces = sorted({1, *(max(1, epochs // part) for part in (6, 4, 3, 2))})
        for grace, reduction in itertools.product(graces, (2, 3, 4)):
            traces = made.resampled([f"search.grace={grace}", f"search.reduction={reduction}"])
            print(row(f"grace {grace}, 1 in {reduction}", traces, made.epochs, made.target), flush=True)
        return
    arms = {RANDOM: made.resampled(none), RANDOM + ASHA: made.resampled([])}
    arms[TPE + ASHA] = made.live(TPE + ASHA, tpe)
    for also in args.also:
        name = f"{TPE}{ASHA}, {' '.join(also)}"
        arms[name] = made.live(name, [*tpe, *also])
    arms[TPE] = made.live(TPE, [*tpe, *none])
    (made.home / "results.json").write_text(
        json.dumps({"target": made.target, "epochs": made.epochs, "arms": arms})
    )
    print(HEAD)
    for name, traces in arms.items():
        print(row(name, traces, made.epochs, made.target))
    figure(arms, made.epochs, made.target, made.home / "search_efficiency.png")
    print(f"curves, results and figure: {made.home}")


if __name__ == "__main__":
    command(main)
