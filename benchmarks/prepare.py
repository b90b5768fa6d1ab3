"""Claim: preparing a data set costs a core little more than decoding and resizing its images.

    python benchmarks/prepare.py --source DIR [--images 4000] [--rounds 3]

prints images a second and core of data.prepare on UTKFace, of a bare Pillow loop over the same files, and
their ratio. Both run in one process, taking turns; seconds are CPU seconds of the least disturbed round, the
ratio is the median of the rounds', since other work on the machine then weighs on both. Preparing also reads
names, hashes files and pixels, finds copies, writes and checks the file.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from data.prepare import prepare
from data.readers.layout import jpegs

SIZE = 112


def _bare(paths: list[Path]) -> None:
    for path in paths:
        with Image.open(path) as image:
            np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def _prepared(source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepare("utkface", source, Path(folder) / "out", size=SIZE, workers=1, progress=False)


def _seconds(work: Callable[[], None]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print images a second and core of both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="UTKFace as distributed")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    every = jpegs(args.source)
    paths = every[:: max(1, len(every) // args.images)][: args.images]
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            with contextlib.suppress(FileExistsError):
                (Path(folder) / path.name).symlink_to(path.absolute())
        _bare(paths)  # the files into memory
        bare, prepared = [], []
        for _ in range(args.rounds):
            bare.append(_seconds(lambda: _bare(paths)))
            prepared.append(_seconds(lambda: _prepared(Path(folder))))
    for name, seconds in (("bare Pillow loop", bare), ("data.prepare", prepared)):
        print(f"{name:18} {len(paths) / min(seconds):7,.0f} images/s a core  {min(seconds):.2f} s CPU")
    ratios = sorted(b / p for b, p in zip(bare, prepared, strict=True))
    rounds = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"speed of data.prepare / bare loop: {median(ratios):.2f}  (rounds: {rounds})")


if __name__ == "__main__":
    main()
