"""The files of a report in the formats that are asked for, each written whole."""

from __future__ import annotations

from collections.abc import Sequence

from orchestration import report_html, report_latex, report_markdown
from orchestration.report_build import Report
from orchestration.storage import Storage


def write(made: Report, wanted: Sequence[str], out: Storage, name: str = "report") -> list[str]:
    """Every page and figure of a report; returns the pages' names. Raises MachineError."""
    for drawn in [figure for part in made.parts for figure in part.figures]:
        out.put(f"figures/{drawn.name}.svg", drawn.svg.encode())
        out.put(f"figures/{drawn.name}.png", drawn.png)
    written = []
    if "md" in wanted:
        out.put(f"{name}.md", report_markdown.page(made, "figures").encode())
        written.append(f"{name}.md")
    if "html" in wanted:
        page = f"{name}-do-not-publish.html" if made.sheets else f"{name}.html"
        out.put(page, report_html.page(made).encode())
        written.append(page)
    if "latex" in wanted:
        out.put(f"{name}.tex", report_latex.document(made, "figures").encode())
        written.append(f"{name}.tex")
    return written
