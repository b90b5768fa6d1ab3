"""What search_efficiency.py prints and draws of its searches."""

from __future__ import annotations

import itertools
from pathlib import Path
from statistics import median

from virtual_search import Trace

NEAR = 0.02  # years; as near to the target as counts as there
HEAD = """| | searches | over the target after 1/3 of the epochs | epochs to the target + 0.02 | to it |
|---|---|---|---|---|"""


def reached(trace: Trace, value: float) -> float:
    """Epochs until a finished trial was at most `value`; infinite where none was."""
    return next((float(spent) for spent, best in trace if best <= value), float("inf"))


def at(trace: Trace, epochs: float) -> float:
    """Best value of the trials that had finished by so many epochs."""
    return next((best for spent, best in reversed(trace) if spent <= epochs), float("inf"))


def row(name: str, traces: list[Trace], epochs: int, target: float) -> str:
    """One line of the table: medians over searches, and the worst of few."""
    gaps = sorted(at(trace, epochs / 3) - target for trace in traces)
    shares = [[reached(trace, level) / epochs for trace in traces] for level in (target + NEAR, target)]
    near, there = (f"{median(share):.2f} ({max(share):.2f})" for share in shares)
    return f"| {name} | {len(traces)} | {median(gaps):+.3f} ({gaps[-1]:+.3f}) | {near} | {there} |"


def figure(arms: dict[str, list[Trace]], epochs: int, target: float, path: Path) -> None:
    """Median and middle half of each arm's best finished value against epochs."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(6.8, 4.0), layout="constrained")
    axes = drawn.add_subplot()
    colors = ["#8a8f98", "#c2452d", "#3f8f5f", "#1b6ca8", "#7a4fa3", "#c98a1b"]
    for (name, traces), color in zip(arms.items(), itertools.cycle(colors)):
        ended = max(trace[-1][0] for trace in traces) / epochs
        shares = [i / 200 for i in range(1, 201) if i / 200 <= ended]
        bands = [sorted(at(trace, share * epochs) for trace in traces) for share in shares]
        middle = [median(band) for band in bands]
        quarter = len(traces) // 4
        low, high = ([band[i] for band in bands] for i in (quarter, len(traces) - 1 - quarter))
        axes.plot(shares, middle, color=color, label=f"{name} ({len(traces)})")
        axes.fill_between(shares, low, high, color=color, alpha=0.15, linewidth=0)
    axes.axhline(target, color="#444", linewidth=0.8)
    axes.axhline(target + NEAR, color="#444", linewidth=0.8, linestyle=":")
    axes.axvline(1 / 3, color="#444", linewidth=0.8, linestyle=":")
    axes.set(xlabel="epochs, in shares of the random full trials'", ylabel="best finished trial, val/age_mae")
    axes.set(xlim=(0, 1), ylim=(target - 0.06, target + 0.3))
    axes.legend(frameon=False, title="median and middle half (searches)")
    drawn.savefig(path, dpi=150)
