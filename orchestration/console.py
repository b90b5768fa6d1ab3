"""Numbers, durations and tables in the words of the console."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def labels(paths: Iterable[str]) -> dict[str, str]:
    """Each path's shortest ending that no other of them has; `.name` says nothing and is left out."""
    full = {path: path.removesuffix(".name").split(".") for path in paths}
    found = {}
    for path, parts in full.items():
        others = [other for key, other in full.items() if key != path]
        sizes = range(1, len(parts) + 1)
        unique = (n for n in sizes if all(other[-n:] != parts[-n:] for other in others))
        found[path] = ".".join(parts[-next(unique, len(parts)) :])
    return found


def short(params: Mapping[str, Any]) -> str:
    """Parameters in one line, each by the ending of its path that tells it from the others."""
    names = labels(params)
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


def size(count: float) -> str:
    """Bytes as `812 B`, `3.1 KiB`, `2.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines of a table with aligned columns, the last as wide as it likes."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return [
        (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in [head, *rows]
    ]
