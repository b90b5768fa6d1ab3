"""Claims: a prepared data set is mapped, so memory does not grow with it, the processes of a machine share
it, and a large one opens at once.

    python benchmarks/mapping.py --data faces/utkface [--large 165000]

prints what an epoch adds to a process's own memory, what several processes that have read all of it take
together, and, for a drawn set of --large faces of the same size, the seconds to open it in a new process and
the images a CPU second of gathering random batches from it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.duplicates import Copy
from data.faces import Faces, epoch_batches
from data.raw import Raw
from data.schema import FACES_FILE, MANIFEST_FILE, Counts, Manifest, Preparation, Record
from data.store import write_faces


@dataclass(frozen=True)
class Memory:
    """MiB of this process: all that is resident, its share of it (PSS), and what is no file's."""

    rss: float
    pss: float
    own: float

    @classmethod
    def now(cls) -> Memory:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        return cls(*(kib[name] / 1024 for name in ("Rss", "Pss", "Anonymous")))


def gather(faces: Faces, batches: list[NDArray[np.int64]]) -> None:
    """Copy every batch of faces out of the mapped file, as a training loop does."""
    for rows in batches:
        faces.gather(rows)


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU seconds of `work`: this process's, and those of processes that it started and that have ended."""
    before = sum(os.times()[:4])
    work()
    return sum(os.times()[:4]) - before


def reader(root: str, batch: int, barrier: Any, told: Any) -> None:
    """One process of several: gathers an epoch, waits for the others, tells its memory before and after."""
    faces = Faces.open(root)
    batches = epoch_batches(np.arange(len(faces)), batch, seed=os.getpid(), epoch=0)
    faces.gather(batches[0])
    before = Memory.now()
    gather(faces, batches)
    barrier.wait()
    told.put((before, Memory.now()))
    barrier.wait()


def together(root: Path, batch: int, processes: int) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(processes), context.Queue()
    started = [
        context.Process(target=reader, args=(str(root), batch, barrier, told)) for _ in range(processes)
    ]
    for process in started:
        process.start()
    pairs = [told.get() for _ in started]
    for process in started:
        process.join()
    grown = max(after.own - before.own for before, after in pairs)
    file = (root / FACES_FILE).stat().st_size / 2**20
    rss, pss = (sum(getattr(after, name) for _, after in pairs) for name in ("rss", "pss"))
    print(f"an epoch over {file:,.0f} MiB adds {grown:.1f} MiB to a process's own memory")
    print(f"{processes} processes that have read all: {rss:,.0f} MiB resident, {pss:,.0f} MiB together (PSS)")


def drawn(folder: Path, count: int, size: int) -> None:
    """Write a data set of `count` black faces whose labels are random."""
    rng = np.random.default_rng(0)
    ages, genders = rng.integers(15, 73, count), rng.choice(["M", "F"], count)
    records = [
        Record(f"{age}/{gender}/{i}.jpg", None, float(age), str(gender), f"person {i // 20}")
        for i, (age, gender) in enumerate(zip(ages.tolist(), genders.tolist(), strict=True))
    ]
    raw = Raw(folder / FACES_FILE, count, size)
    with raw.path.open("wb") as file:
        file.truncate(raw.at(count))
    digest = write_faces(raw, [Copy(i, record, f"{i:064x}", i) for i, record in enumerate(records)])
    labels = tuple(sorted(set(ages.tolist())))
    told = Manifest("drawn", "table", "0" * 64, digest, Counts(count, count), labels, size, Preparation(size))
    (folder / MANIFEST_FILE).write_text(told.to_json())


def opening(root: str, batch: int, told: Any) -> None:
    """In a process of its own: the first opening after the imports, then a round of gathering."""
    start = time.perf_counter()
    faces = Faces.open(root)
    opened = time.perf_counter() - start
    batches = epoch_batches(np.arange(len(faces)), batch, seed=0, epoch=0)
    gather(faces, batches)
    before = Memory.now()
    spent = cpu_seconds(lambda: gather(faces, batches))
    told.put((opened, len(faces) / spent, Memory.now().own - before.own))


def large(count: int, size: int, batch: int, folder: Path, rounds: int) -> None:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        drawn(Path(place), count, size)
        results = []
        for _ in range(rounds):
            told = context.Queue()
            process = context.Process(target=opening, args=(place, batch, told))
            process.start()
            results.append(told.get())
            process.join()
    opened, rate, grown = (sorted(values) for values in zip(*results, strict=True))
    print(f"{count:,} drawn faces of {size} pixels:")
    print(f"opened in {1000 * opened[0]:.0f} to {1000 * opened[-1]:.0f} ms, each time in a new process")
    print(f"gather {median(rate):,.0f} images/s a core; an epoch adds {grown[-1]:.1f} MiB of own memory")


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory and opening of mapped data sets")
    parser.add_argument("--data", type=Path, default=Path("faces/utkface"))
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--processes", type=int, default=4, help="how many share the file")
    parser.add_argument(
        "--large", type=int, default=0, help="also draw this many faces beside --data and open them"
    )
    parser.add_argument("--rounds", type=int, default=5, help="processes that open the drawn set, one by one")
    args = parser.parse_args()
    faces = Faces.open(args.data)
    together(faces.root, args.batch, args.processes)
    if args.large:
        large(args.large, faces.image_size, args.batch, faces.root.parent, args.rounds)


if __name__ == "__main__":
    from shared import command  # the processes that are started need no torch

    command(main)
