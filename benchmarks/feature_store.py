"""Claim: a pass's features are written as fast as the file system takes them, and opened without being read.

    python benchmarks/feature_store.py [--folder DIR]

writes and reads 165,000 samples with 256 float32 channels and their ages, errors, genders and ids: as a shard
of data/feature_store.py, with pickle (protocol 5), torch.save and Parquet. Reading is opening the file and
summing all features once. Every repeat takes the formats in another order; printed are medians over the
repeats, their range, and how much longer each format takes than the store. Files stay in the page cache, so
what is measured is the format and not the disk.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from shared import command

from data.feature_store import Shard, open_pass, write_shard

Columns = dict[str, NDArray[Any]]
Seconds = defaultdict[tuple[str, str], list[float]]
NAMES = ("sample_id", "age", "predicted_age", "error", "gender", "feature")


class Format(NamedTuple):
    """`write` stores a shard in a folder; `read` opens it and returns its features [n, c]."""

    write: Callable[[Path, Shard], object]
    read: Callable[[Path], NDArray[np.float32]]


def drawn(samples: int, channels: int) -> Shard:
    """A shard of random values."""
    random = np.random.default_rng(0)
    age = random.uniform(1, 100, samples).astype(np.float32)
    return Shard(
        epoch=0,
        attempt=0,
        worker=0,
        workers=1,
        fingerprint="0" * 64,
        source="train_pass",
        sample_id=random.permutation(samples),
        age=age,
        predicted_age=age + random.normal(0, 5, samples).astype(np.float32),
        gender=random.integers(-1, 2, samples).astype(np.int8),
        feature=random.standard_normal((samples, channels), np.float32),
    )


def columns(shard: Shard) -> Columns:
    """The shard as a dict of arrays, as the store's file has them."""
    return {name: getattr(shard, name) for name in NAMES}


def _pickle(folder: Path, shard: Shard) -> None:
    with (folder / "pass.pickle").open("wb") as file:
        pickle.dump(columns(shard), file, protocol=5)


def _unpickle(folder: Path) -> NDArray[np.float32]:
    with (folder / "pass.pickle").open("rb") as file:
        content: Columns = pickle.load(file)
    return content["feature"]


def _torch_save(folder: Path, shard: Shard) -> None:
    torch.save({k: torch.from_numpy(v) for k, v in columns(shard).items()}, folder / "pass.pt")


def _torch_load(folder: Path, mmap: bool = False) -> NDArray[np.float32]:
    content = torch.load(folder / "pass.pt", mmap=mmap, weights_only=True)
    features: NDArray[np.float32] = content["feature"].numpy()
    return features


def _parquet_write(folder: Path, shard: Shard) -> None:
    arrays = columns(shard)
    feature = arrays.pop("feature")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(feature.reshape(-1)), feature.shape[1])
    pq.write_table(pa.table({**arrays, "feature": lists}), folder / "pass.parquet")


def _parquet_read(folder: Path) -> NDArray[np.float32]:
    column = pq.read_table(folder / "pass.parquet")["feature"].combine_chunks()
    features: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
    return features


FORMATS = {
    "store": Format(write_shard, lambda folder: open_pass(folder, 0).shards[0].feature),
    "pickle": Format(_pickle, _unpickle),
    "torch": Format(_torch_save, _torch_load),
    "torch mmap": Format(_torch_save, lambda folder: _torch_load(folder, mmap=True)),
    "parquet": Format(_parquet_write, _parquet_read),
}


def measured(shard: Shard, folder: Path, order: Iterable[str], seconds: Seconds) -> None:
    """Add one repeat of every format in this order: seconds to write, to open, and to open and sum."""
    expected = float(shard.feature.sum(dtype=np.float64))
    for name in order:
        form = FORMATS[name]
        place = Path(tempfile.mkdtemp(dir=folder))
        start = time.perf_counter()
        form.write(place, shard)
        written = time.perf_counter()
        features = form.read(place)
        opened = time.perf_counter()
        total = features.sum()
        done = time.perf_counter()
        if abs(float(total) - expected) > 1e-3 * np.sqrt(features.size):
            raise SystemExit(f"{name}: the features' sum is {total}, not {expected}")
        seconds["write", name].append(written - start)
        seconds["open", name].append(opened - written)
        seconds["read", name].append(done - written)
        del features
        for file in sorted(place.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()


def report(seconds: Seconds, size: int) -> None:
    """Print GB/s, milliseconds and ratios; `size` in bytes."""
    print(f"{'':14}{'GB/s':>8}{'ms':>9}{'lowest–highest':>18}{'× the store':>14}")
    for task in ("write", "open", "read"):
        base = median(seconds[task, "store"])
        for name in FORMATS:
            times = seconds[task, name]
            middle = median(times)
            rate = "" if task == "open" else f"{size / middle / 1e9:.2f}"
            spread = f"{min(times) * 1e3:,.1f}–{max(times) * 1e3:,.1f}"
            print(
                f"{task:6}{name:<11}{rate:>5}{middle * 1e3:>9,.1f}{spread:>18}"
                f"{'' if name == 'store' else f'{middle / base:.2f}':>14}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description="The feature store against pickle, torch.save and Parquet")
    parser.add_argument("--folder", type=Path, help="where files are written (default: a temporary folder)")
    parser.add_argument("--samples", type=int, default=165_000)
    parser.add_argument("--channels", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    shard = drawn(args.samples, args.channels)
    size = sum(array.nbytes for array in columns(shard).values())
    seconds: Seconds = defaultdict(list)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        # The first round warms imports and allocators; its numbers are not kept.
        measured(shard, Path(folder), FORMATS, defaultdict(list))
        for turn in range(args.repeats):
            order = np.random.default_rng(turn).permutation(list(FORMATS)).tolist()
            measured(shard, Path(folder), order, seconds)
    print(f"{args.samples:,} × {args.channels}, {size / 1e6:,.0f} MB, {args.repeats} repeats")
    report(seconds, size)


if __name__ == "__main__":
    command(main)
