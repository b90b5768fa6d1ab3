"""Claim: a prepared data set feeds training many times faster than its JPEGs would.

    python benchmarks/loader.py --data faces/utkface --source DIR

prints images a CPU second, all measured in one job and taking turns: gathering batches of uint8 from the
mapped Arrow file, at random and in its order; PyTorch's DataLoader over the mapped file; a Pillow loop and
the DataLoader over the same faces in --source, decoded and resized to the prepared size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mapping import cpu_seconds, gather
from numpy.typing import NDArray
from PIL import Image
from shared import command
from torch.utils.data import DataLoader, Dataset

from data.errors import DataError
from data.faces import Faces, epoch_batches


class Jpegs(Dataset[torch.Tensor]):
    """The source files of faces, decoded and resized as they are asked for: [size, size, 3] uint8."""

    def __init__(self, faces: Faces, source: Path) -> None:
        self.paths = [source / name for name in faces.sources]
        self.size = (faces.image_size, faces.image_size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            pixels = image.convert("RGB").resize(self.size, Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(pixels))


class Mapped(Dataset[torch.Tensor]):
    """The prepared faces one by one, as most training code would read them."""

    def __init__(self, faces: Faces) -> None:
        self.images = faces.images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.images[index].copy())


def in_order(batches: list[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """As many rows one after the other: what copying the file's bytes costs however they are chosen."""
    return [np.arange(rows.size) + batches[0].size * i for i, rows in enumerate(batches)]


def loop(jpegs: Jpegs, batches: list[NDArray[np.int64]]) -> None:
    for rows in batches:
        for row in rows:
            jpegs[row]


def load(dataset: Dataset[torch.Tensor], batches: list[NDArray[np.int64]], workers: int) -> None:
    """What a training loop gets from PyTorch's loader: batches in the given order."""
    order = [rows.tolist() for rows in batches]
    for _ in DataLoader(dataset, batch_sampler=order, num_workers=workers):
        pass


def rates(faces: Faces, source: Path, batch: int, decoded: int, rounds: int) -> None:
    jpegs, mapped = Jpegs(faces, source), Mapped(faces)
    ways: dict[str, tuple[int, Callable[[list[NDArray[np.int64]]], None]]] = {
        "gather from Arrow": (len(faces), lambda order: gather(faces, order)),
        "the same, in file order": (len(faces), lambda order: gather(faces, in_order(order))),
        "DataLoader over Arrow": (len(faces), lambda order: load(mapped, order, 0)),
        "JPEG, Pillow loop": (decoded, lambda order: loop(jpegs, order)),
        "JPEG, DataLoader": (decoded, lambda order: load(jpegs, order, 0)),
        "JPEG, DataLoader, 2 workers": (decoded, lambda order: load(jpegs, order, 2)),
    }
    gather(
        faces, in_order(epoch_batches(np.arange(len(faces)), batch, seed=0, epoch=0))
    )  # into the page cache
    found: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name, (images, work) in ways.items():
            order = epoch_batches(np.arange(len(faces)), batch, seed=0, epoch=turn)[: -(-images // batch)]
            total = sum(map(len, order))
            found[name].append(total / cpu_seconds(lambda order=order, work=work: work(order)))  # type: ignore[misc]
    fastest = median(found["gather from Arrow"])
    print(f"{len(faces):,} faces of {faces.image_size} pixels, batches of {batch}, {rounds} rounds")
    for name, values in found.items():
        middle = median(values)
        print(
            f"{name:28} {middle:9,.0f} images/s a core ({min(values):,.0f} to {max(values):,.0f})"
            f"   gather is {fastest / middle:.0f} times as fast"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Prepared faces against JPEGs")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--source", type=Path, required=True, help="the folder that data.prepare read")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--decoded", type=int, default=2048, help="JPEGs to decode a round")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    faces = Faces.open(args.data)
    if not (args.source / faces.sources[0]).is_file():
        raise DataError(f"--source {args.source}: has no {faces.sources[0]}, which {args.data} was made from")
    rates(faces, args.source, args.batch, args.decoded, args.rounds)


if __name__ == "__main__":
    command(main)
