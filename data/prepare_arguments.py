"""The arguments of `python -m data.prepare`, and the command to type after it. Imports argparse alone."""

from __future__ import annotations

import argparse
from pathlib import Path

# What fits each data set next: a space, and what its protocol or labels ask for. The paper's data set has
# the paper's set-up; the others begin with a frozen backbone.
_OFFICIAL = "utkface.yaml study={} data.protocol=official model.gender_head=false"
_PEOPLE = "utkface.yaml study={} data.protocol=subject_exclusive"
NEXT = {
    "agedb": "rapl.yaml",
    "afad": _PEOPLE,
    "cacd": _PEOPLE + " model.gender_head=false",
    "imdb_clean": "utkface.yaml study={} data.protocol=official",
    "utkface": "utkface.yaml",
    "fgnet": _PEOPLE,
    "morph": _PEOPLE,
    "appa_real": _OFFICIAL,
    "clap2016": _OFFICIAL,
    "table": "utkface.yaml study={}",
}
READERS = tuple(NEXT)


def _path(given: str) -> Path:
    """Return a path of this machine; a usage error for an address, and for what no path can be."""
    if "://" in given:
        raise argparse.ArgumentTypeError(
            f"{given!r} is an address; prepare on a disk of this machine, and copy the finished folder there"
        )
    try:
        return Path(given).expanduser()
    except RuntimeError as error:  # ~nobody
        raise argparse.ArgumentTypeError(f"{given!r}: {error}") from None


def parser(prog: str) -> argparse.ArgumentParser:
    """Return the arguments of the command called `prog`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Turn face images, in a folder or an archive, into one Arrow data set.",
        epilog="On a Ray cluster: python -m orchestration.prepare … --address auto. A run that was cut short "
        "(Ctrl-C, a kill, a reboot) goes on where it was when the same command is given again.",
    )
    parser.add_argument("reader", metavar="READER", help=f"layout of the source: {', '.join(READERS)}")
    parser.add_argument(
        "--source",
        required=True,
        type=_path,
        metavar="PATH",
        help="folder, archive or table file",
    )
    parser.add_argument("--out", required=True, type=_path, metavar="DIR", help="data set to write")
    parser.add_argument("--size", type=int, default=112, help="pixels a side (default 112)")
    parser.add_argument(
        "--duplicates",
        choices=("drop", "keep"),
        default="drop",
        help="copies of an image: drop them by the rules of data/duplicates.py, or keep all (default drop)",
    )
    parser.add_argument(
        "--align",
        default="none",
        metavar="HOW",
        help="none: the whole picture, resized; best for pictures cut close to the face (UTKFace's chips). "
        'mtcnn: faces are found and put in ArcFace\'s place; needs pip install ".[align]". landmarks: the '
        "same by the data set's own points (FG-NET). Pictures without a face, or with too small a one, are "
        "quarantined (default none)",
    )
    parser.add_argument(
        "--margin",
        metavar="HOW",
        help="aligned faces: arcface, eyes 31 %% of the side apart, chin and hair are cut; wide, 22 %%, the "
        "whole head (default arcface)",
    )
    parser.add_argument(
        "--several",
        metavar="WHICH",
        help="of several faces: central, the greatest area less twice the squared distance from the centre; "
        "largest; or reject the picture. Where the data set says where its face is, that one is taken "
        "(default central)",
    )
    parser.add_argument(
        "--min-face",
        type=int,
        metavar="PIXELS",
        help="least side of a face's ArcFace square in the source (default 32)",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    return parser
