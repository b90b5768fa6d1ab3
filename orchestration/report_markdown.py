"""A report as Markdown; figures are PNG files beside it."""

from __future__ import annotations

from orchestration.report_build import Report
from orchestration.report_tables import Table


def page(report: Report, figures: str) -> str:
    """The page; `figures` is the folder of the PNGs as seen from it."""
    lines = [f"# {report.title}", "", *report.summary, ""]
    for part in report.parts:
        lines += [f"## {part.title}", ""] if part.title else []
        for table in part.tables:
            lines += _table(table)
        for drawn in part.figures:
            lines += [
                f"### {drawn.title}",
                "",
                f"![{drawn.title}]({figures}/{drawn.name}.png)",
                "",
                drawn.caption,
                "",
            ]
    return "\n".join(lines)


def _table(table: Table) -> list[str]:
    rule = ["---"] + ["---" if table.text else "---:"] * (len(table.columns) - 1)
    rows = [" | ".join(_cell(cell) for cell in row) for row in (table.columns, rule, *table.rows)]
    notes = [line for note in table.notes for line in (note, "")]
    return [f"### {table.title}", "", *(f"| {row} |" for row in rows), "", *notes]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
