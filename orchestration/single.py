"""One run outside a search: in this process, or in Ray Train workers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import torch

from data.progress import Progress
from orchestration import kernels
from orchestration.console import duration, number
from orchestration.failures import failure, halved
from orchestration.records import Member
from orchestration.run import Run
from orchestration.session import Opened, one_thread_pool
from orchestration.tracking import Tracker
from orchestration.training import Training


class EpochLines:
    """A console that prints a line for every epoch of one run."""

    def __init__(self, epochs: int, metric: str) -> None:
        self.epochs = epochs
        self.metric = metric
        self._start = time.monotonic()
        self._first: int | None = None

    def started(self, member: Member) -> None:
        """The run begins, or goes on."""

    def say(self, line: str) -> None:
        """A line beside the epochs."""
        print(line, file=sys.stderr, flush=True)

    def progress(self, training: Training) -> Progress:
        """Of the epoch that begins: nothing is said of short ones in a log."""
        images = len(training.batches.split.train)
        return Progress(images, f"epoch {training.epoch + 1}/{self.epochs}", "images", log_seconds=30)

    def epoch(self, member: Member, line: Mapping[str, Any]) -> None:
        """An epoch is over."""
        epoch = int(line["epoch"])
        self._first = epoch - 1 if self._first is None else self._first
        pace = (time.monotonic() - self._start) / (epoch - self._first)
        losses = "  ".join(
            f"{key[6:-5]} {number(line[key])}"
            for key in ("train/age_loss", "train/gender_loss", "train/position_loss")
            if key in line
        )
        print(
            f"epoch {epoch}/{self.epochs}  loss: {losses}  {self.metric} {number(line[self.metric])}"
            f"  best {number(line['best'])}  {line['train/images_per_second']:,.0f} images/s"
            f"  {duration(pace * (self.epochs - epoch))} left",
            file=sys.stderr,
            flush=True,
        )

    def ended(self, member: Member) -> None:
        """The run is over; the command's summary says how."""


def run_here(opened: Opened, member: Member, tracker: Tracker) -> Member:
    """Train in this process, on its GPU if torch sees one and the study wants it."""
    folder = opened.folder
    config = folder.config_of(member)
    resources = opened.study.resources
    inputs = opened.prepared.inputs(config)
    use_gpu = torch.cuda.is_available() and resources.device != "cpu" and resources.gpus_per_worker != 0
    device = "cuda" if use_gpu else "cpu"
    chosen = kernels.chosen(resources)
    if not config.frozen:
        kernels.require(chosen, device)
    member = folder.start(member, config, inputs)
    lines = EpochLines(config.train.epochs, opened.study.objective.metric)
    again = None
    with one_thread_pool(resources.cpus_per_worker):
        try:
            task = folder.task(member, config, inputs, test=True)
            run = Run(task, torch.device(device), chosen)
            while not run.finished:
                progress = lines.progress(run.training)
                line = run.step(progress)
                progress.wipe()
                lines.epoch(member, line)
                tracker.wake()
            run.conclude()
        except (RuntimeError, ValueError) as error:  # a diverged loss, or memory
            known = failure(error)
            again = halved(opened.study, member, known["cause"])
            if again is None:
                value = best(folder.lines(member))
                return folder.fail(member, known["failed"], known["cause"], known["trace"], value=value)
    if again is not None:
        print("out of memory: once more, with each batch in two halves", file=sys.stderr)
        return run_here(opened, folder.begin_again(again), tracker)
    return folder.end(member, "complete", value=best(run.lines), test=folder.test_scores(member))


def best(lines: list[dict[str, Any]]) -> float | None:
    """The best value of a run's lines."""
    return float(lines[-1]["best"]) if lines else None


def run_in_workers(
    opened: Opened, member: Member, tracker: Tracker, address: str | None, verbose: bool
) -> Member:
    """Train in a Ray Train group: the engine of the search, with one member."""
    from orchestration import placement
    from orchestration.engine import Engine
    from orchestration.members import Listed

    config = opened.configs[0]
    with placement.placed(opened, address, verbose) as place:
        lines = EpochLines(config.train.epochs, opened.study.objective.metric)
        engine = Engine(opened.folder, opened.prepared, place, lines, tracker)
        engine.run(Listed([member]), test=True)
    return opened.folder.member(member.name) or member
