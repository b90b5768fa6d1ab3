"""Claim: preparing a data set costs a core little more than decoding and resizing its images.

    python benchmarks/prepare.py --source DIR [--reader utkface] [--images 4000] [--rounds 5]

prints images a second and core of data.prepare, of a bare Pillow loop over the same files, and their ratio.
Both take turns; a round has a process of its own, since one and the same loop may run a tenth slower in the
next: where Pillow's buffer for a row happens to lie at a multiple of 32 bytes, libjpeg-turbo writes it around
the cache. Seconds are CPU seconds; rates and ratio are the rounds' medians. Preparing also reads names,
hashes files and pixels, finds copies and writes the file.
"""

import argparse
import contextlib
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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


def _prepared(source: Path, reader: str) -> float:
    """Return the CPU seconds of data.prepare, without removing what it made."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        return _seconds(lambda: prepare(reader, source, out, size=SIZE, workers=1, progress=False))


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _round(source: Path, reader: str) -> tuple[float, float]:
    """Return CPU seconds of the bare loop and of data.prepare over the images in `source`."""
    paths = jpegs(source)
    _bare(paths)  # the files into memory
    _prepared(source, reader)  # what is imported once, whatever the number of images
    return _seconds(lambda: _bare(paths)), _prepared(source, reader)


@contextlib.contextmanager
def _some(source: Path, images: int) -> Iterator[Path]:
    """Yield a folder with copies of `images` of the images in `source`; itself where it has no more."""
    every = jpegs(source)
    if len(every) <= images:
        yield source
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in every[:: len(every) // images][:images]:
            shutil.copyfile(path, Path(folder) / path.name)
        yield Path(folder)


def main() -> None:
    """Print images a second and core of both, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="the data set as distributed")
    parser.add_argument("--reader", default="utkface", help="as data.prepare takes it")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with _some(args.source, args.images) as source:
        count, rounds = len(jpegs(source)), []
        for _ in range(args.rounds):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                rounds.append(process.submit(_round, source, args.reader).result())
    bare, prepared = zip(*rounds, strict=True)
    for name, seconds in (("bare Pillow loop", bare), ("data.prepare", prepared)):
        print(f"{name:18} {count / median(seconds):7,.0f} images/s a core  {median(seconds):.2f} s CPU")
    ratios = sorted(b / p for b, p in rounds)
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"speed of data.prepare / bare loop: {median(ratios):.2f}  (rounds: {shown})")


if __name__ == "__main__":
    main()
