"""Published numbers with their protocols, from published.yaml; all of them as Markdown:

python -m orchestration.published
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from orchestration import cli

FILE = Path(__file__).with_suffix(".yaml")
HEADER = ("Method", "MAE", "CS5, other", "Protocol and split", "Trained on → tested on", "Ours", "Source")


class Published(BaseModel):
    """One published result. Ages in years, CS5 and gender accuracy in per cent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str = Field(pattern=r"^[a-z0-9_]+$", description="named as readers and study files name it")
    method: str
    mae: float = Field(gt=0)
    mae_sd: float | None = Field(None, description="over seeds or splits, as its source says")
    mae_to: float | None = Field(None, description="the other end where a source gives a range")
    rmse: float | None = None
    rmse_sd: float | None = None
    cs5: float | None = None
    gender_accuracy: float | None = None
    protocol: Literal[
        "image_random",
        "subject_exclusive",
        "folds",
        "leave_one_identity_out",
        "official",
        "zero_shot",
        "other",
    ]
    split: str = "not recorded"
    trained_on: str
    tested_on: str
    ours: str | None = Field(None, description="the study file that trains the same row")
    mismatch: str | None = Field(
        None, description="first respect in which that file, or the defaults, differ; none = comparable"
    )
    tables: tuple[int, ...] = Field((), description="tables of the RAPL paper that print it")
    source: str
    checked: bool = Field(True, description="read in the source; else recalled")


@lru_cache(maxsize=1)
def load() -> tuple[Published, ...]:
    """All published numbers, in the file's order: a group's values lie below its rows'."""
    groups: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(
        Published.model_validate({**{k: v for k, v in group.items() if k != "rows"}, **row})
        for group in groups
        for row in group["rows"]
    )


def of(dataset: str) -> tuple[Published, ...]:
    """The published numbers of one data set, the lowest MAE first."""
    return tuple(sorted((row for row in load() if row.dataset == dataset), key=lambda row: row.mae))


def cells(row: Published) -> tuple[str, ...]:
    """One result under HEADER, as text."""
    mae = f"{row.mae:.2f}" if round(row.mae, 2) == row.mae else f"{row.mae:.3f}"
    mae += f" ± {row.mae_sd:g}" if row.mae_sd is not None else ""
    mae += f" to {row.mae_to:.2f}" if row.mae_to is not None else ""
    other = [f"{row.cs5:.2f}"] if row.cs5 is not None else []
    if row.gender_accuracy is not None:
        other.append(f"gender {row.gender_accuracy:.2f}")
    if row.rmse is not None:
        other.append(f"RMSE {row.rmse:.2f}" + (f" ± {row.rmse_sd:g}" if row.rmse_sd is not None else ""))
    tables = f"; in RAPL's table {' and '.join(map(str, row.tables))}" if row.tables else ""
    recalled = "" if row.checked else "; recalled, not checked"
    return (
        row.method,
        mae,
        ", ".join(other),
        f"{row.protocol}: {row.split}",
        f"{row.trained_on} → {row.tested_on}",
        f"{row.ours + ': ' if row.ours else ''}{row.mismatch or 'comparable'}",
        f"{row.source}{tables}{recalled}",
    )


def tables() -> list[str]:
    """Markdown lines: a table for every data set."""
    lines: list[str] = []
    for dataset in dict.fromkeys(row.dataset for row in load()):
        lines += [f"### {dataset}", "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
        lines += [f"| {' | '.join(cells(row))} |" for row in of(dataset)]
        lines.append("")
    return lines[:-1]


def main() -> int:
    """Print all of them."""
    argparse.ArgumentParser(
        prog="python -m orchestration.published", description="Print all published numbers as Markdown."
    ).parse_args()
    print("\n".join(tables()))
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
