"""The figure of an audit: faces by age and gender."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw(audit: dict[str, Any], path: Path) -> None:
    """Write the histogram of ages, M above the line and F below, those without gender on top, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    ages = audit["ages"]
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    axes.bar(ages["age"], ages["M"], width=1, color="#3b6ea5", label="M")
    axes.bar(ages["age"], [-count for count in ages["F"]], width=1, color="#c0622d", label="F")
    if any(ages["unknown"]):
        axes.bar(
            ages["age"], ages["unknown"], width=1, bottom=ages["M"], color="#999999", label="gender unknown"
        )
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axvline(audit["constant"]["age"], color="black", linestyle=":", linewidth=1, label="median age")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):,.0f}"))
    axes.set_xlabel("age (years)")
    axes.set_ylabel("faces")
    axes.set_title(f"{audit['name']}: {audit['faces']:,} faces")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120, format="png")
