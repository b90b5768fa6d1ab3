"""A finished study as pages: python -m orchestration.report runs/utkface"""

from __future__ import annotations

import argparse
from typing import Any

from orchestration import cli

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
    from orchestration import report_build, report_files, report_study
    from orchestration.errors import UserError
    from orchestration.storage import Storage

    formats = cli.formats(arguments.format, FORMATS)
    if arguments.faces and "html" not in formats:
        raise UserError("--faces shows them in the HTML alone; add html to --format")
    reading = report_study.read(arguments.study)
    made = report_build.build(reading, arguments.faces)
    out = Storage(arguments.out) if arguments.out else reading.root.child("report")
    names = report_files.write(made, formats, out)
    for name in names:
        print(out.address(name))
    if arguments.faces:
        print("the HTML holds pictures of people: do not publish it; it is not sent to MLflow")
        return cli.DONE
    from orchestration import mlflow_runs

    def log(client: Any, run: str) -> None:
        figures = [f"figures/{name}" for name in out.list("figures")]
        with out.on_disk(*names, *figures) as paths:
            for path in paths:
                drawn = path.parent.name == "figures"
                client.log_artifact(run, str(path), "report/figures" if drawn else "report")

    print(f"report: {mlflow_runs.add(reading.root, 'study', log)}")
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
