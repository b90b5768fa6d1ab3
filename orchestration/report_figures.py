"""The figures of a report, as matplotlib draws them: an SVG that reads on light and dark, and a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cycler import cycler
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestration import report_paint
from orchestration.comparisons import Comparison
from orchestration.report_paint import COLOURS, INK
from orchestration.report_study import Section

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(color=COLOURS),
}
CAPTIONS = {
    "forest": (
        "Effects",
        "Difference of test MAE to the base: bars for new seeds on this test set, thin lines for new seeds"
        " and new people. Left of 0 is better.",
    ),
    "seeds": ("Every run", "Test MAE of each run; the bar is their mean."),
    "cs": (
        "Cumulative score",
        "Share of test images with an error of at most l years; predictions not rounded, mean over runs.",
    ),
    "bias": (
        "Bias by age",
        "Mean of predicted minus true age, in bins of five years with at least 20 images; mean over runs.",
    ),
    "learning": (
        "Learning curves",
        "Validation MAE by epoch: mean over runs, and the range from the lowest to the highest.",
    ),
    "confidence": (
        "Confidence score",
        "Eq. (12) over the whole test part: how often the age and the age of the predicted position are at"
        " most t years apart, in each variant's first run; band: 95 % of resamples of its images.",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A figure in two formats; `name` is its files', without an ending."""

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


def draw(section: Section, compared: Mapping[str, Comparison], prefix: str) -> list[Drawn]:
    """All figures that the section has data for; `prefix` begins their names."""
    rows = len(section.variants)
    painters: dict[str, tuple[Callable[[Axes], bool], float]] = {
        "forest": (lambda axes: report_paint.forest(axes, compared), 1.1 + 0.42 * len(compared)),
        "seeds": (lambda axes: report_paint.dots(axes, section), 1.1 + 0.42 * rows),
        "cs": (lambda axes: report_paint.scores(axes, section), 3.5),
        "bias": (lambda axes: report_paint.bias(axes, section), 3.5),
        "learning": (lambda axes: report_paint.learning(axes, section), 3.5),
        "confidence": (lambda axes: report_paint.agreement(axes, section), 3.5),
    }
    made = [
        drawn(f"{prefix}{name}", CAPTIONS[name], paint, height) for name, (paint, height) in painters.items()
    ]
    return [one for one in made if one is not None]


def drawn(
    name: str, words: tuple[str, str], paint: Callable[[Axes], bool], height: float = 3.5
) -> Drawn | None:
    """One figure with its title and caption; None where the painter has no data."""
    with rc_context(STYLE):
        # Without pyplot: no window system is asked for, and nothing stays open.
        figure = Figure(figsize=(5.2, max(1.9, height)), layout="constrained")
        return Drawn(name, *words, *_saved(figure)) if paint(figure.add_subplot()) else None


def _saved(figure: Figure) -> tuple[str, bytes]:
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=160, facecolor="white")
    return svg.getvalue(), png.getvalue()
