"""One run and its folder: steps a Training, writes metrics and checkpoints, goes on after a kill.

A run's folder has one writer of `metrics.jsonl`, `last.pt` and `best.pt`: rank 0 of the run.
`state.json` is the driver's.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from data.progress import Progress
from orchestration import checkpoint, predictions
from orchestration.confidence import confidence
from orchestration.config import RunConfig, identity
from orchestration.errors import UserError
from orchestration.inputs import Inputs
from orchestration.kept import KeptFeatures
from orchestration.kernels import PLAIN, Kernels
from orchestration.memory import PeakMemory
from orchestration.prediction_pass import PredictionPass
from orchestration.records import read_metrics
from orchestration.scores import Scores
from orchestration.storage import Storage
from orchestration.training import Diverged, Training

CHECKPOINT_SECONDS = 30.0


class Superseded(RuntimeError):
    """Another driver took this run over; its leftover worker must stop writing."""


@dataclass(frozen=True)
class Task:
    """What a worker is told: which run, where its folder is, what it reads, and its attempt."""

    config: RunConfig
    inputs: Inputs
    folder: str
    attempt: int
    metric: str = "val/age_mae"
    mode: str = "min"
    test: bool = False  # keep the best epoch and score the test part with it


class Run:
    """A Training with its folder. `step()` is one epoch, recorded."""

    def __init__(self, task: Task, device: torch.device, kernels: Kernels = PLAIN) -> None:
        self.task = task
        self.storage = Storage(task.folder)
        self.training = Training(task.config, task.inputs, device, kernels)
        self.kept = KeptFeatures(task.config, task.folder, task.attempt, task.inputs.fingerprint)
        self.lines: list[dict[str, Any]] = []
        self._memory = PeakMemory(device)
        self._saved_at = time.monotonic()
        self._require_current()
        self._resume()

    @property
    def writes(self) -> bool:
        """Whether this worker is the one that writes."""
        return self.training.workers.rank == 0

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.training.finished

    def _resume(self) -> None:
        state = checkpoint.get(self.storage, "last.pt")
        if state is not None:
            self.training.load(state)
        self.lines = read_metrics(self.storage)[: self.training.epoch]
        if self.writes:
            self.kept.drop_after(self.training.epoch)

    def step(self, progress: Progress | None = None) -> dict[str, Any]:
        """Train an epoch, write its line, and the checkpoint when it is due. Returns the line."""
        self._memory.begin()
        report: dict[str, Any] = {**self.training.step(progress), **self._memory.read()}
        if not math.isfinite(report[self.task.metric]):
            raise Diverged(f"{self.task.metric} is not finite in epoch {self.training.epoch}")
        report["best"] = self._best(report)
        best = report["best"] == report[self.task.metric]
        training = self.training
        kept = self.kept.after_epoch(training.epoch, best, training.position, training.workers)
        if kept is not None:
            report["features/kept_mib"] = kept * training.workers.count
        report["time"] = time.time()
        self.lines.append(report)
        if self.writes:
            self._write(report, best)
        return report

    def _best(self, report: dict[str, Any]) -> float:
        values = [line[self.task.metric] for line in self.lines] + [report[self.task.metric]]
        return float(min(values) if self.task.mode == "min" else max(values))

    def _write(self, report: dict[str, Any], best: bool) -> None:
        self._require_current()
        # Lines first: those past the checkpoint are cut on going on, a missing one could not be made up.
        put_metrics(self.storage, self.lines)
        best = best and self.task.test
        if best:
            checkpoint.put(self.storage, "best.pt", self.training.state())
        due = time.monotonic() - self._saved_at >= CHECKPOINT_SECONDS
        # With every best one, so that a run that goes on never finds a best epoch that it did not see.
        if due or best or (self.finished and self.task.test):
            checkpoint.put(self.storage, "last.pt", self.training.state())
            self._saved_at = time.monotonic()

    def _require_current(self) -> None:
        state = self.storage.get_json("state.json") or {}
        if (state.get("attempt"), state.get("status")) != (self.task.attempt, "running"):
            raise Superseded(f"{self.task.folder}: ended, or continued by another driver")

    def conclude(self) -> None:
        """After the last epoch: score the test part with the best epoch, where the task asks for it.

        Only finals and single runs ask. Every worker calls this; one writes `predictions/` and then
        `result.json`, from which the driver makes the run's end and its entry in the study's test ledger.
        """
        if not self.task.test or self.storage.exists("result.json"):
            return
        # Rank 0 may still be writing what the others would read: an older best epoch's network.
        self.training.workers.wait()
        state = checkpoint.get(self.storage, "best.pt")
        if state is None:
            raise UserError(f"{self.task.folder}/best.pt is gone; train the run again (--fresh)")
        self.training.evaluated.load_state_dict(state["network"])
        best_epoch = int(state["epoch"])
        self._predict("val", best_epoch)
        if self.task.config.data.calibration:
            self._predict("calibration", best_epoch)
        scores = self._predict("test", best_epoch)
        if self.writes:
            self._require_current()
            where = {"device": self.training.device.type, "workers": self.training.workers.count}
            self.storage.put_json("result.json", {**_result(best_epoch, scores), **where})

    def _predict(self, part: str, epoch: int) -> Scores:
        """Score a part, and keep what was predicted of it in the run's folder."""
        training, config, inputs = self.training, self.task.config, self.task.inputs
        kept = PredictionPass(training.evaluated)
        scores = training.score(part, kept)
        batches = training.batches
        columns = kept.columns(getattr(batches.split, part), training.workers)
        if self.writes:
            self._require_current()
            origin = predictions.Origin(
                part=part,
                data=batches.faces.name,
                fingerprint=inputs.fingerprint,
                protocol=config.data.spec().used(),
                split_hash=inputs.split_hash,
                age_head=config.model.age_head.model_dump(mode="json"),
                identity=identity(config, inputs.for_identity()),
                seed=config.seed,
                epoch=epoch,
            )
            predictions.write(self.storage, predictions.from_columns(origin, columns))
        return scores


def _result(best_epoch: int, scores: Scores) -> dict[str, Any]:
    """What `result.json` holds: test metrics, and the confidence score where the position head is trained."""
    test = scores.metrics()
    agreeing = scores.agreeing()
    rows = [] if agreeing is None else confidence(agreeing, int(test["count"]))
    test.update({f"confidence_{row['tolerance']:.0f}": row["score"] for row in rows})
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
    return {"best_epoch": best_epoch, "test": test, "confidence": rows or None, "time": stamp}


def put_metrics(storage: Storage, lines: list[dict[str, Any]]) -> None:
    """Replace `metrics.jsonl` whole."""
    storage.put("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode())
