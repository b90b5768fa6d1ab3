"""A trained model for use elsewhere: python -m orchestration.export MODEL --to onnx --out DIR"""

from __future__ import annotations

import argparse
from pathlib import Path

from orchestration import cli

FORMATS = ("onnx", "torch", "safetensors")


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(
        prog="python -m orchestration.export",
        description="Write a trained model, without the position head of its training, with its model card;"
        " what was written is compared with the model on real faces.",
    )
    made.add_argument("model", metavar="MODEL", help="a run's folder, a checkpoint, or models:/NAME/VERSION")
    made.add_argument("--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    made.add_argument("--out", required=True, metavar="DIR", help="a new or empty folder")
    made.add_argument(
        "--faces",
        metavar="DIR",
        help="faces to compare on: a prepared data set or a folder of pictures (default: the training set)",
    )
    made.add_argument("--weights", metavar="FILE", help="the backbone of a frozen run, where it moved")
    return made


def main() -> int:
    """Write, compare, and say where it is."""
    arguments = parser().parse_args()
    from orchestration import exported
    from orchestration.errors import UserError, nearest
    from orchestration.estimator import load

    if arguments.to not in FORMATS:
        hint = nearest(arguments.to, FORMATS)
        raise UserError(f"--to must be one of {', '.join(FORMATS)}. Received: {arguments.to!r}.{hint}")
    out = Path(arguments.out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out {out} exists and is not an empty folder; choose another")
    estimator = load(arguments.model, device="cpu", weights=arguments.weights)
    faces = exported.faces_to_compare(estimator, arguments.faces)
    written, difference = exported.write(estimator, arguments.to, out, faces)
    print(f"{written}: {written.stat().st_size / 2**20:.1f} MiB; model card: {out / 'README.md'}")
    print(
        f"compared on {len(faces)} faces: ages differ by at most {difference:.2g} years"
        f" (allowed: {exported.TOLERANCE:g})"
    )
    print(exported.USE[arguments.to].format(file=written))
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
