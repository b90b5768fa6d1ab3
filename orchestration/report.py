"""A finished study as pages: python -m orchestration.report runs/utkface"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.report_build import Report
    from orchestration.storage import Storage

FORMATS = ("md", "html", "latex")


def main() -> int:
    """Write the tables and figures of a study from what its folder holds; nothing is trained."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.report",
        description="Tables and figures of a search, an ablation or single runs, from the study's folder.",
    )
    parser.add_argument("study", metavar="STUDY", help="the study's folder, such as runs/utkface")
    parser.add_argument(
        "--format", default="md,html,latex", metavar="LIST", help="of md, html, latex; default all"
    )
    parser.add_argument(
        "--faces", action="store_true", help="show faces, in the HTML alone: do not publish it"
    )
    parser.add_argument("--out", metavar="FOLDER", help="default STUDY/report")
    return report(parser.parse_args())


def report(arguments: argparse.Namespace) -> int:
    """Write the report that the arguments ask for, and say where it is."""
    from orchestration import report_build, report_study
    from orchestration.storage import Storage

    formats = _formats(arguments.format, arguments.faces)
    reading = report_study.read(arguments.study)
    made = report_build.build(reading, arguments.faces)
    out = Storage(str(Path(arguments.out) if arguments.out else reading.root / "report"))
    for name in _write(made, formats, out):
        print(f"{out.root}/{name}")
    if arguments.faces:
        print("the HTML holds pictures of people: do not publish it")
    return cli.DONE


def _formats(given: str, faces: bool) -> list[str]:
    from orchestration.errors import UserError, nearest

    wanted = [name.strip() for name in given.split(",") if name.strip()]
    for name in wanted:
        if name not in FORMATS:
            raise UserError(f"--format: {name!r} is none of {', '.join(FORMATS)}.{nearest(name, FORMATS)}")
    if not wanted:
        raise UserError(f"--format: give one or more of {', '.join(FORMATS)}")
    if faces and "html" not in wanted:
        raise UserError("--faces shows them in the HTML alone; add html to --format")
    return wanted


def _write(made: Report, formats: list[str], out: Storage) -> list[str]:
    """Every file, whole; the names of the pages."""
    from orchestration import report_html, report_latex, report_markdown

    for drawn in [figure for part in made.parts for figure in part.figures]:
        out.put(f"figures/{drawn.name}.svg", drawn.svg.encode())
        out.put(f"figures/{drawn.name}.png", drawn.png)
    written = []
    if "md" in formats:
        out.put("report.md", report_markdown.page(made, "figures").encode())
        written.append("report.md")
    if "html" in formats:
        name = "report-do-not-publish.html" if made.sheets else "report.html"
        out.put(name, report_html.page(made).encode())
        written.append(name)
    if "latex" in formats:
        out.put("report.tex", report_latex.document(made, "figures").encode())
        written.append("report.tex")
    return written


if __name__ == "__main__":
    cli.run(main)
