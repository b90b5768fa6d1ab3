"""Ages of the faces in pictures: python -m orchestration.predict runs/x/finals/0007-seed1 photo.jpg"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from collections.abc import Iterable

    from data.crops import Cutter
    from orchestration.estimates import Seen
    from orchestration.estimator import Estimator

ALIGN = ("none", "mtcnn")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(
        prog="python -m orchestration.predict",
        description="Estimate age and gender of the faces in pictures. Several models are an ensemble.",
        epilog="Estimates, not proof of age: do not decide about access, asylum, employment or policing with"
        " them alone. Gender is the training data's binary annotation. No picture is stored or logged but the"
        " copies that --draw asks for. Exit codes: 0 every picture gave an estimate, 1 some gave none,"
        " 2 a mistake in the command.",
    )
    made.add_argument(
        "model",
        nargs="+",
        metavar="MODEL",
        help="a run's folder, a checkpoint, or a name in MLflow's registry (models:/NAME/VERSION)",
    )
    made.add_argument("pictures", metavar="IMAGE|DIR|-", help="a picture, a folder of them, or - for stdin")
    made.add_argument(
        "--align",
        metavar="HOW",
        help="none: every picture is one face, cut as the training set's; mtcnn: find the faces"
        " (default: as the training set was prepared)",
    )
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON object a line and picture")
    form.add_argument("--csv", action="store_true", help="a line for every face, with a head")
    made.add_argument("--draw", metavar="DIR", help="write copies with boxes and ages into this folder")
    made.add_argument("--flip", action="store_true", help="average over each face and its mirror image")
    made.add_argument("--device", metavar="NAME", help="cpu or cuda (default: a GPU where there is one)")
    made.add_argument("--weights", metavar="FILE", help="the backbone of a frozen run, where it moved")
    return made


def main() -> int:
    """Print the estimates, then on stderr what was seen; 1 where a picture gave none."""
    arguments = parser().parse_intermixed_args()  # options may stand between MODEL and IMAGE
    from data.crops import pictures
    from orchestration.estimates import see
    from orchestration.estimator import load
    from orchestration.spread import spread

    _check(arguments.align)
    found, others = pictures(arguments.pictures, sys.stdin.buffer.read)
    estimator = load(
        *arguments.model, flip=arguments.flip, device=arguments.device, weights=arguments.weights
    )
    known = spread(estimator.folders, estimator.columns, estimator.flip)
    cutter = _cutter(estimator, arguments.align)
    print(f"interval: {known.claim}", file=sys.stderr)
    if others:
        print(f"{others:,} files of the folder are no pictures by their names", file=sys.stderr)
    start = time.monotonic()
    failed = _show(see(estimator, known, cutter, found), len(found), arguments)
    seconds = time.monotonic() - start
    count = f"{len(found):,} picture{'s' if len(found) > 1 else ''}"
    rate = f"{seconds:.1f} s, {len(found) / seconds:,.1f}/s"
    print(f"{count}, {len(found) - len(failed):,} with an estimate, {rate}", file=sys.stderr)
    for seen in failed[:20]:
        print(f"no estimate: {seen.picture.name}: {_reason(seen)}", file=sys.stderr)
    if len(failed) > 20:
        print(f"no estimate: {len(failed) - 20:,} more", file=sys.stderr)
    return cli.NOTHING if failed else cli.DONE


def _check(align: str | None) -> None:
    from orchestration.errors import UserError, nearest

    if align is not None and align not in ALIGN:
        raise UserError(
            f"--align must be one of {', '.join(ALIGN)}. Received: {align!r}.{nearest(align, ALIGN)}"
        )


def _cutter(estimator: Estimator, align: str | None) -> Cutter:
    """How faces are cut, with a word on stderr where that is not how the training set was prepared."""
    from data.crops import CHIPS, Cutter

    trained, reader = estimator.preparation, str(estimator.members[0].origin.get("reader"))
    aligned = trained is not None and trained.align is not None
    detecting = aligned if align is None else align == "mtcnn"
    if trained is None:
        print("warning: the checkpoint does not say how its training faces were prepared", file=sys.stderr)
    elif aligned != detecting and not (detecting and reader in CHIPS):
        how = "brought to their place by landmarks" if aligned else "taken as their data set has them"
        print(f"warning: the training faces were {how}; ages may be off", file=sys.stderr)
    return Cutter.like(estimator.size, trained, reader, detecting)


def _show(results: Iterable[Seen], count: int, arguments: argparse.Namespace) -> list[Seen]:
    """Print and draw every result as it comes; returns the pictures without an estimate."""
    from data.progress import Progress, Silent
    from orchestration import shown

    # Lines on a terminal show by themselves how far it is.
    quiet = count == 1 or sys.stdout.isatty()
    progress = (Silent if quiet else Progress)(count, "predict", "pictures")
    failed = []
    if arguments.csv:
        print(shown.csv_head())
    for seen in results:
        if arguments.json:
            print(shown.json_line(seen))
        elif arguments.csv:
            print(shown.csv_lines(seen))
        else:
            print("\n".join(shown.text(seen)))
        if arguments.draw is not None:
            shown.draw(seen, Path(arguments.draw))
        if seen.failed:
            failed.append(seen)
        progress.advance()
    progress.close()
    if arguments.draw is not None:
        print(f"drawn: {arguments.draw}", file=sys.stderr)
    return failed


def _reason(seen: Seen) -> str:
    return seen.problem or ", ".join(sorted({face.problem for face in seen.faces}))


if __name__ == "__main__":
    cli.run(main)
