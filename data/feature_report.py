"""Tell what a file or folder of features holds.

python -m data.features show PATH [--json]
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def text(found: dict[str, Any]) -> str:
    """Return a summary (data/feature_summary.py) as lines for a reader, ending with what to type next."""
    import shlex

    shape = " × ".join(f"{n:,}" for n in found["shape"])
    lines = [
        found["kind"],
        _line("format", found["format"]),
        _line("shape", f"{shape} {found['dtype']}"),
        _line("on disk", f"{found['bytes'] / 1e6:,.1f} MB"),
        _line("fingerprint", found["fingerprint"] or "none"),
        *(_frozen_lines(found) if "views" in found else _pass_lines(found)),
        "",
        f"where: {found['path']}",
        f"next:  python -m data.features show {shlex.quote(found['path'])} --json",
    ]
    return "\n".join(lines)


def _frozen_lines(found: dict[str, Any]) -> list[str]:
    norms = (f"{view} {_number(norm)}" for view, norm in found["mean_norm"].items())
    return [
        _line("views", ", ".join(found["views"])),
        _line("mean norm", ", ".join(norms)),
        *(_line(key, _plain(value)) for key, value in found["metadata"].items() if key != "channels"),
    ]


def _pass_lines(found: dict[str, Any]) -> list[str]:
    workers = f"{found['workers']} worker{'s' if found['workers'] > 1 else ''}"
    lines = [
        _line("pass", f"epoch {found['epoch']}, attempt {found['attempt']}, {found['source']}, {workers}")
    ]
    if found["repeats"]:
        lines.append(_line("repeats", f"{found['repeats']:,} (of a sample seen twice the last counts)"))
    lines.append(_line("gender", ", ".join(f"{name} {count:,}" for name, count in found["gender"].items())))
    strange = found["errors_not_finite"]
    note = f" ({strange:,} not finite, left out)" if strange else ""
    lines.append(_line("mean error", f"{_number(found['mean_error'])} years{note}"))
    ages = found["ages"]
    if ages:
        missing = _ranges(found["missing_ages"]) or "none"
        span = f"{len(ages)} from {ages[0]['age']} to {ages[-1]['age']}, missing between them: {missing}"
        lines += [_line("ages", span), "", *_table(ages)]
    if found["not_shown"]:
        lines += ["", _line("there too", found["not_shown"])]
    return lines


def _table(ages: list[dict[str, Any]]) -> list[str]:
    """Age, count and mean error in years, downwards in up to four columns."""
    height = max(10, -(-len(ages) // 4))
    cells = [f"{row['age']:>4} {row['count']:>8,} {_number(row['mean_error']):>7}" for row in ages]
    columns = [cells[i : i + height] for i in range(0, len(cells), height)]
    head = "   ".join([f"{'age':>4} {'count':>8} {'error':>7}"] * len(columns))
    rows = ("   ".join(column[i] for column in columns if i < len(column)) for i in range(len(columns[0])))
    return [head, *rows]


def _plain(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(label: str, value: str) -> str:
    return f"{label:<12} {value}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _ranges(numbers: list[int]) -> str:
    """`2, 5–7` of [2, 5, 6, 7]."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.features", description=(__doc__ or "").splitlines()[0]
    )
    show = parser.add_subparsers(dest="command", required=True).add_parser(
        "show", help="format, shape, fingerprint, ages, errors, genders"
    )
    show.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="feature file of a frozen backbone, folder of a pass (epoch-0007), or a run's features folder",
    )
    show.add_argument("--json", action="store_true", help="every number, as one JSON object")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 the user's mistake, 130 Ctrl-C."""
    args = _parser().parse_args(arguments)
    import json

    from data.errors import DataError
    from data.feature_summary import summary

    try:
        found = summary(args.path)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    try:
        print(json.dumps(found, indent=2, ensure_ascii=False) if args.json else text(found), flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
