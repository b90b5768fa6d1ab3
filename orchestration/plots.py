"""Pictures of a search's trials, as matplotlib figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import matplotlib
import optuna
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from orchestration.console import number
from orchestration.importance import Importance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DONE, STOPPED = "#1b6ca8", "#b9bec4"
ALL = (TrialState.COMPLETE, TrialState.PRUNED)


def history(finished: list[FrozenTrial], metric: str, direction: object) -> Figure:
    """Finished trials in their order, and the best so far."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    better = min if direction == optuna.study.StudyDirection.MINIMIZE else max
    numbers = [_number(t) for t in finished]
    values = [float(t.value or 0.0) for t in finished]
    best = [better(values[: i + 1]) for i in range(len(values))]
    axes.scatter(numbers, values, s=22, color=DONE, label="finished trial", zorder=3)
    axes.step(numbers, best, where="post", color="#c2452d", linewidth=1.4, label="best so far")
    axes.set(xlabel="trial", ylabel=f"{metric} (best epoch)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def curves(study: optuna.Study, metric: str) -> Figure:
    """Every trial's best value so far against epochs; where a stopped one ends is marked."""
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.add_subplot()
    labelled = set()
    shown = [t for t in study.get_trials(deepcopy=False, states=ALL) if t.intermediate_values]
    for trial in sorted(shown, key=lambda t: t.state == TrialState.COMPLETE):
        epochs, values = zip(*sorted(trial.intermediate_values.items()), strict=True)
        done = trial.state == TrialState.COMPLETE
        name = "finished" if done else "stopped early"
        label = name if name not in labelled else None
        labelled.add(name)
        color = DONE if done else STOPPED
        axes.plot(epochs, values, color=color, linewidth=1.3 if done else 0.8, label=label)
        if not done:
            axes.plot(epochs[-1], values[-1], "x", color="#80868c", markersize=4)
    lowest, highest = inner(shown)
    axes.set(xlabel="epoch", ylabel=f"{metric}, best so far", ylim=(lowest, highest))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    return figure


def inner(trials: list[FrozenTrial]) -> tuple[float, float]:
    """Limits that show where curves end; first epochs far off would flatten everything else."""
    ends = sorted(t.intermediate_values[max(t.intermediate_values)] for t in trials)
    starts = sorted(t.intermediate_values[min(t.intermediate_values)] for t in trials)
    low, high = min(ends[0], starts[0]), max(ends[-1], starts[len(starts) // 2])
    margin = 0.05 * (high - low) or 0.1
    return low - margin, high + margin


def slices(finished: list[FrozenTrial], metric: str) -> Figure:
    """Finished trials against each parameter, later ones brighter."""
    names = sorted({name for t in finished for name in t.params})
    columns = min(4, len(names)) or 1
    rows = -(-len(names) // columns) or 1
    figure = Figure(figsize=(2.6 * columns, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < len(names))
        if index < len(names):
            _slice(axes, finished, names[index])
    for row in grid:
        row[0].set_ylabel(metric)
    return figure


def _slice(axes: Axes, finished: list[FrozenTrial], name: str) -> None:
    having = [t for t in finished if name in t.params]
    kind = having[0].distributions[name]
    colors = [_number(t) for t in having]
    if isinstance(kind, CategoricalDistribution):
        at = [kind.choices.index(t.params[name]) for t in having]
        axes.set_xticks(range(len(kind.choices)), [str(choice) for choice in kind.choices])
        axes.set_xlim(-0.5, len(kind.choices) - 0.5)
        if max(len(str(choice)) for choice in kind.choices) * len(kind.choices) > 24:
            axes.tick_params(axis="x", rotation=30)
    else:
        at = [t.params[name] for t in having]
        if getattr(kind, "log", False):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        low, high = float(getattr(kind, "low", 0.0)), float(getattr(kind, "high", 1.0))
        if getattr(kind, "log", False) and high < 30 * low:  # hardly a power of ten lies within
            axes.set_xticks([low, math.sqrt(low * high), high])
            axes.set_xticklabels([number(low), number(round(math.sqrt(low * high), 3)), number(high)])
        axes.set_xlim(low, high)
    axes.scatter(at, [t.value for t in having], c=colors, cmap="viridis", s=18, clip_on=False, zorder=3)
    axes.set_xlabel(name)


def parallel(finished: list[FrozenTrial], metric: str, direction: object) -> Figure:
    """Each trial a line over its parameters, scaled to their ranges; the best are dark and on top."""
    names = sorted(set.intersection(*(set(t.params) for t in finished)))
    figure = Figure(figsize=(max(6.4, 1.25 * (len(names) + 1)), 3.8))
    axes = figure.add_subplot()
    values = [float(t.value or 0.0) for t in finished]
    low, high = min(values), max(values)
    color = matplotlib.colormaps["viridis"]
    worst_first = sorted(finished, key=lambda t: float(t.value or 0.0))
    if direction == optuna.study.StudyDirection.MINIMIZE:
        worst_first.reverse()
    for rank, trial in enumerate(worst_first):
        share = (float(trial.value or 0.0) - low) / ((high - low) or 1.0)
        axes.plot(
            [share, *(_place(trial, n) for n in names)],
            color=color(1 - (rank + 1) / len(finished)),
            linewidth=1.2,
            alpha=0.8,
        )
    axes.set_xticks(range(len(names) + 1), [metric, *names], rotation=20, ha="right")
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    for column, (bottom, top) in enumerate(
        [(number(low), number(high)), *(_ends(finished, n) for n in names)]
    ):
        axes.axvline(column, color="#d5d8db", linewidth=0.8, zorder=0)
        axes.text(column, -0.02, bottom, ha="center", va="top", fontsize=7)
        axes.text(column, 1.02, top, ha="center", va="bottom", fontsize=7)
    return figure


def _place(trial: FrozenTrial, name: str) -> float:
    """Where a value lies in its range, from 0 to 1, in logarithms where the search draws so."""
    kind, value = trial.distributions[name], trial.params[name]
    if isinstance(kind, CategoricalDistribution):
        return float(kind.choices.index(value)) / max(1, len(kind.choices) - 1)
    value = float(value)
    low, high = float(getattr(kind, "low", 0.0)), float(getattr(kind, "high", 1.0))
    if getattr(kind, "log", False):
        low, high, value = math.log(low), math.log(high), math.log(value)
    return (value - low) / ((high - low) or 1.0)


def _ends(finished: list[FrozenTrial], name: str) -> tuple[str, str]:
    kind = finished[0].distributions[name]
    if isinstance(kind, CategoricalDistribution):
        return str(kind.choices[0]), str(kind.choices[-1])
    return number(getattr(kind, "low", 0.0)), number(getattr(kind, "high", 1.0))


def shares(found: Importance) -> Figure:
    """How much each parameter explains, with the spread over refits."""
    ascending = found.shares[::-1]
    figure = Figure(figsize=(6.4, 0.8 + 0.32 * len(ascending)))
    axes = figure.add_subplot()
    axes.barh(
        [name for name, _, _ in ascending],
        [share for _, share, _ in ascending],
        xerr=[sd for _, _, sd in ascending],
        color=DONE,
        error_kw={"ecolor": "#5a6066", "capsize": 3, "linewidth": 1},
    )
    axes.set_xlim(left=0)
    axes.set_xlabel(f"importance (fANOVA over {found.finished} finished trials, ± sd over refits)")
    return figure


def _number(trial: FrozenTrial) -> int:
    return int(str(trial.user_attrs["trial"]).rsplit("/", 1)[-1])
