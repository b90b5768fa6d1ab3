"""What a person sees while runs go: a line for every end, one live line on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from orchestration.records import Member


def short(params: Mapping[str, Any]) -> str:
    """Parameters in one line, each by the last part of its path that says something."""
    names = {key: key.removesuffix(".name").rsplit(".", 1)[-1] for key in params}
    return ", ".join(f"{names[key]}={number(value)}" for key, value in sorted(params.items()))


def number(value: Any) -> str:
    """A float with four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def scores(metrics: Mapping[str, float]) -> str:
    """The metrics of a part in one line, with their units."""
    rounded = f"rounded ages {metrics['age_cs5_rounded']:.1f} %"
    gender = f", gender {metrics['gender_accuracy']:.1f} %" if "gender_accuracy" in metrics else ""
    agreement = ""
    if "confidence_1" in metrics:
        shares = " / ".join(f"{metrics[f'confidence_{t}']:.1f}" for t in (1, 2, 3))
        agreement = f", age and position within 1 / 2 / 3 years in {shares} %"
    return (
        f"MAE {metrics['age_mae']:.3f} years, RMSE {metrics['age_rmse']:.2f},"
        f" bias {metrics['age_bias']:+.2f}, CS5 {metrics['age_cs5']:.1f} % ({rounded}){gender}{agreement},"
        f" {metrics['count']:.0f} faces"
    )


def duration(seconds: float) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `2 h 04 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:02.0f} min"


class Console:
    """Counts ends and says how far a phase is. Output goes to `stderr`; results go to stdout."""

    def __init__(self, total: int, metric: str, mode: str, done: int = 0, best: float | None = None) -> None:
        self.total = total
        self.metric = metric
        self.better = min if mode == "min" else max
        self.done = done
        self.best = best
        self.tally = {"complete": 0, "pruned": 0, "failed": 0}
        self.running: dict[str, str] = {}
        self._terminal = sys.stderr.isatty()
        self._first = done
        self._start = time.monotonic()

    def started(self, member: Member) -> None:
        """A member begins."""
        self.running[member.name] = ""
        self._live()

    def epoch(self, member: Member, line: Mapping[str, Any]) -> None:
        """An epoch of a member is over."""
        self.running[member.name] = f"epoch {line['epoch']}: {number(float(line['best']))}"
        self._live()

    def ended(self, member: Member) -> None:
        """A member is over: one line, with what it reached or why it failed."""
        self.running.pop(member.name, None)
        self.done += 1
        self.tally[member.status] += 1
        if member.value is not None and member.status == "complete":
            self.best = member.value if self.best is None else self.better(self.best, member.value)
        reached = f"{self.metric} {number(member.value)}" if member.value is not None else ""
        reason = f" ({member.reason})" if member.reason else ""
        words = " ".join(filter(None, [member.name, f"{member.status:8}", reached]))
        self._print(f"[{self.done}/{self.total}] {words}{reason}  {short(member.params)}  {self._pace()}")
        self._live()

    def _pace(self) -> str:
        elapsed = time.monotonic() - self._start
        finished = self.done - self._first
        left = elapsed / max(1, finished) * (self.total - self.done)
        best = f"best {number(self.best)}, " if self.best is not None else ""
        return f"| {best}{finished / elapsed * 60:.1f}/min, {duration(left)} left"

    def _live(self) -> None:
        if self._terminal:
            names = "  ".join(f"{k.split('/')[1]} {v}" for k, v in sorted(self.running.items()))
            print(f"\r\x1b[K[{self.done}/{self.total}] {names}"[:160], end="", file=sys.stderr, flush=True)

    def _print(self, text: str) -> None:
        start = "\r\x1b[K" if self._terminal else ""
        print(f"{start}{text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the live line."""
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
