"""What each figure of a report shows. A painter returns False where the study has no data for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from orchestration import report_numbers
from orchestration.comparisons import Comparison
from orchestration.confidence import confidence
from orchestration.report_study import Section

# Mid tones, which read on white and on black (after Okabe & Ito); dashes tell more than eight apart.
COLOURS = ("#2a7fc9", "#d55e00", "#009e73", "#c45fa0", "#b8860b", "#7a6ff0", "#c0392b", "#7f8c8d")
DASHES = ("-", "--", ":", "-.")
INK = "#0a0b0c"  # replaced by the page's text colour where the SVG lies in a page


def style(index: int) -> dict[str, Any]:
    """Colour and dashes of the variant at `index`."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}


def forest(axes: Axes, compared: Mapping[str, Comparison]) -> bool:
    """Differences to the base with both intervals, a row each."""
    drawn = {name: c for name, c in compared.items() if c.interval is not None}
    for place, (_, c) in enumerate(reversed(drawn.items())):
        if c.interval is not None:
            ends = [c.interval.low, c.interval.high]
            axes.plot(ends, [place, place], lw=7, color=COLOURS[0], solid_capstyle="butt")
        if c.headline is not None:
            axes.plot([c.headline.low, c.headline.high], [place, place], "|-", lw=1.2, ms=9, color=INK)
        axes.plot(c.difference, place, "o", color=COLOURS[1], ms=6, zorder=3)
    axes.axvline(0, color=INK, lw=0.8)
    _rows(axes, list(drawn))
    axes.set_xlabel("difference of test MAE to the base, years")
    return bool(drawn)


def dots(axes: Axes, section: Section) -> bool:
    """Test MAE of every run, a row for each variant."""
    count = len(section.variants)
    for row, variant in enumerate(section.variants):
        place = count - 1 - row
        maes = [row["age_mae"] for row in variant.metrics]
        axes.plot(maes, [place] * len(maes), "o", ms=5, alpha=0.65, color=style(row)["color"])
        axes.plot([np.mean(maes)] * 2, [place - 0.3, place + 0.3], color=INK, lw=1.6)
    _rows(axes, [v.name for v in section.variants])
    axes.set_xlabel("test MAE, years")
    return True


def _rows(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names[::-1])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.tick_params(axis="y", length=0)


def scores(axes: Axes, section: Section) -> bool:
    """CS@l for l = 0 … 15 years, mean over runs."""
    for index, variant in enumerate(section.variants):
        errors = [report_numbers.errors(test) for test in variant.tests.values()]
        curves = [report_numbers.cumulative_scores(error) for error in errors]
        if curves:
            levels = list(report_numbers.CS_LEVELS)
            axes.plot(levels, np.mean(curves, 0), label=variant.name, **style(index))
    axes.set(xlabel="l, years", ylabel="CS, %", xlim=(0, 15), ylim=(0, 100))
    return legend(axes)


def bias(axes: Axes, section: Section) -> bool:
    """Mean signed error by true age, mean over runs."""
    for index, variant in enumerate(section.variants):
        found = variant.errors()
        if found is not None:
            ages, means = report_numbers.bias_by_age(found[0], found[1].mean(0))
            if len(ages):
                axes.plot(ages, means, marker="o", ms=3, label=variant.name, **style(index))
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(xlabel="true age, years", ylabel="bias, years")
    return legend(axes)


def learning(axes: Axes, section: Section) -> bool:
    """Validation MAE by epoch: mean over runs, and from the lowest to the highest."""
    for index, variant in enumerate(section.variants):
        curves = [[line["val/age_mae"] for line in run.lines] for run in variant.runs]
        length = min(map(len, curves))
        values = np.array([curve[:length] for curve in curves])
        epochs = np.arange(1, length + 1)
        axes.plot(epochs, values.mean(0), label=variant.name, **style(index))
        axes.fill_between(epochs, values.min(0), values.max(0), color=style(index)["color"], alpha=0.15, lw=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel="validation MAE, years")
    return legend(axes)


def agreement(axes: Axes, section: Section) -> bool:
    """Confidence score (eq. 12) of each variant's first run, with its interval over images."""
    for index, variant in enumerate(section.variants):
        kept = next(iter(variant.tests.values()), None)
        agreeing = None if kept is None else report_numbers.agreement(kept)
        if kept is None or agreeing is None:
            continue
        rows = confidence(agreeing, len(kept))
        low, score, high = ([row[name] for row in rows] for name in ("low", "score", "high"))
        tolerances = list(report_numbers.TOLERANCES)
        axes.plot(tolerances, score, label=variant.name, **style(index))
        axes.fill_between(tolerances, low, high, color=style(index)["color"], alpha=0.15, lw=0)
    axes.set(xlabel="tolerance t, years", ylabel="confidence score, %", xlim=(0, 10), ylim=(0, 102))
    return legend(axes)


def legend(axes: Axes) -> bool:
    """Name the lines; False where there is none to name."""
    handles, _ = axes.get_legend_handles_labels()
    if len(handles) > 1:
        axes.legend(fontsize=9)
    return bool(handles)
