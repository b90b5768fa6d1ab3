"""The figures of an evaluation on one data set, models side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from orchestration import report_figures, report_numbers
from orchestration.evaluation import Evaluation
from orchestration.report_figures import Drawn
from orchestration.report_paint import INK, legend, style

RELIABILITY = (
    "Reliability of gender",
    "Share of women among faces by tenths of P(female), of ten or more faces; on the line it is true.",
)
LEAST = 10  # faces in a drawn bin


def draw(found: Sequence[Evaluation], prefix: str) -> list[Drawn]:
    """All figures there are data for; `prefix` begins their names."""
    cs = (report_figures.CAPTIONS["cs"][0], "Share of images with an error of at most l years, not rounded.")
    bias = (
        report_figures.CAPTIONS["bias"][0],
        "Mean of predicted minus true age, in bins of five years with at least 20 images.",
    )
    drawn = [
        report_figures.drawn(f"{prefix}cs", cs, lambda axes: _cumulative(axes, found)),
        report_figures.drawn(f"{prefix}bias", bias, lambda axes: _bias(axes, found)),
        report_figures.drawn(f"{prefix}reliability", RELIABILITY, lambda axes: _reliability(axes, found)),
    ]
    return [one for one in drawn if one is not None]


def _cumulative(axes: Axes, found: Sequence[Evaluation]) -> bool:
    for index, one in enumerate(found):
        axes.plot(list(report_numbers.CS_LEVELS), one.cumulative["raw"], label=one.model, **style(index))
    axes.set(xlabel="l, years", ylabel="CS, %", xlim=(0, 15), ylim=(0, 100))
    return legend(axes)


def _bias(axes: Axes, found: Sequence[Evaluation]) -> bool:
    for index, one in enumerate(found):
        age = one.kept.column("age")
        ages, means = report_numbers.bias_by_age(age, report_numbers.errors(one.kept))
        if len(ages):
            axes.plot(ages, means, marker="o", ms=3, label=one.model, **style(index))
    axes.axhline(0, color=INK, lw=0.8)
    axes.set(xlabel="true age, years", ylabel="bias, years")
    return legend(axes)


def _reliability(axes: Axes, found: Sequence[Evaluation]) -> bool:
    axes.plot([0, 1], [0, 1], color=INK, lw=0.8)
    for index, one in enumerate(found):
        bins = [b for b in one.reliability if b.images >= LEAST]
        if bins:
            points = np.array([[b.probability, b.share] for b in bins])
            axes.plot(points[:, 0], points[:, 1], marker="o", ms=3, label=one.model, **style(index))
    axes.set(xlabel="P(female)", ylabel="share of women", xlim=(0, 1), ylim=(0, 1))
    return legend(axes)
