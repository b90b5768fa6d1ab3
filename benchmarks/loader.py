"""Claim: a prepared data set feeds training many times faster than decoding its JPEGs would.

    python benchmarks/loader.py --data faces/utkface --source DIR

prints images a second of gathering random batches of uint8 from the mapped Arrow file, of decoding the same
faces from --source with Pillow and resizing them to the prepared size, and the ratio; one thread each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from shared import command

from data.errors import DataError
from data.faces import Faces, epoch_batches


def gather(faces: Faces, batch: int, epoch: int) -> float:
    """Images a second of one epoch over all faces in random order."""
    start = time.perf_counter()
    for rows in epoch_batches(np.arange(len(faces)), batch, seed=0, epoch=epoch):
        faces.gather(rows)
    return len(faces) / (time.perf_counter() - start)


def decode(faces: Faces, source: Path, rows: NDArray[np.int64]) -> float:
    """Images a second of the same faces from their JPEGs."""
    size = (faces.image_size, faces.image_size)
    out = np.empty((len(rows), *size, 3), np.uint8)
    start = time.perf_counter()
    for place, row in enumerate(rows):
        with Image.open(source / faces.sources[row]) as image:
            out[place] = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
    return len(rows) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="Gathering prepared faces against decoding JPEGs")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--source", type=Path, required=True, help="the folder that data.prepare read")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--decoded", type=int, default=1000, help="JPEGs to decode a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    faces = Faces.open(args.data)
    if not (args.source / faces.sources[0]).is_file():
        raise DataError(f"--source {args.source}: has no {faces.sources[0]}, which {args.data} was made from")
    gather(faces, args.batch, 0)  # first touch brings the file into the page cache
    gathered, decoded = [], []
    for turn in range(args.rounds):
        gathered.append(gather(faces, args.batch, turn))
        rows = epoch_batches(np.arange(len(faces)), args.decoded, seed=1, epoch=turn)[0]
        decoded.append(decode(faces, args.source, rows))
    fast, slow = median(gathered), median(decoded)
    print(f"gather from Arrow        {fast:9,.0f} images/s")
    print(f"decode JPEG with Pillow  {slow:9,.0f} images/s")
    print(f"ratio                    {fast / slow:9.0f}")


if __name__ == "__main__":
    command(main)
