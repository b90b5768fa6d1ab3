"""Images to prepared pixels, in parallel, each at its row of one raw file.

Workers write where they decode, so no image travels between processes, and with plain writes: a full
disk is then an error that can be reported, where a memory map would be killed by a bus error.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from data.errors import MachineError
from data.progress import Progress
from data.schema import Record

_CHUNK = 64  # images per task: some 50 ms of work
_INLINE = 256  # below this many images, starting processes costs more than it saves

Source = Path | NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """The SHA-256 of an image's prepared pixels, or the reason why there are none."""

    pixel_hash: str
    reason: str


def decode_all(
    records: Sequence[Record], size: int, raw: Path, workers: int, progress: Progress
) -> list[Decoded]:
    """Write the pixels [size, size, 3] uint8 of each record at its row of `raw`; return one result per row.

    A row that can't be decoded is zeros. Raises MachineError when a worker is killed.
    """
    sources: list[Source] = [_source(record) for record in records]
    starts = range(0, len(sources), _CHUNK)
    chunks = (sources[start : start + _CHUNK] for start in starts)
    work = partial(_decode_chunk, size=size, raw=raw)
    raw.touch()
    results: list[Decoded] = []
    if workers == 1 or len(records) < _INLINE:
        return _collect(map(work, starts, chunks), results, progress)
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of the caller's threads
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_enter_worker) as pool:
            try:
                return _collect(pool.map(work, starts, chunks), results, progress)
            except BaseException:  # Ctrl-C, full disk: don't decode the rest before saying so
                pool.shutdown(cancel_futures=True)
                raise
    except BrokenProcessPool:
        raise MachineError(
            f"a decoding process was killed after {len(results)} of {len(records)} images, as happens when "
            "memory runs out; try fewer --workers"
        ) from None


def _source(record: Record) -> Source:
    if record.pixels is not None:
        return record.pixels
    assert record.path is not None, f"{record.source} has neither path nor pixels"
    return record.path


def _collect(chunks: Iterator[list[Decoded]], results: list[Decoded], progress: Progress) -> list[Decoded]:
    for chunk in chunks:
        results += chunk
        progress.advance(len(chunk))
    progress.close()
    return results


def _enter_worker() -> None:
    """Leave Ctrl-C to the parent, and end when it does: a killed parent closes no queue."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent

    def end_with_parent() -> None:
        sentinel.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _decode_chunk(start: int, sources: list[Source], size: int, raw: Path) -> list[Decoded]:
    pixels = np.zeros((len(sources), size, size, 3), np.uint8)
    results = [_decode(source, row) for source, row in zip(sources, pixels, strict=True)]
    with raw.open("r+b") as file:
        file.seek(start * pixels[0].nbytes)
        file.write(pixels.data)
    return results


def _decode(source: Source, row: NDArray[np.uint8]) -> Decoded:
    """Fill `row` [size, size, 3] with the prepared image."""
    if isinstance(source, Path):
        if source.stat().st_size == 0:
            return Decoded("", "file is empty")
        try:
            with Image.open(source) as image:
                _fill(row, image)
        except UnidentifiedImageError:
            return Decoded("", "file is not an image")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return Decoded("", "image is truncated or damaged")
    else:
        _fill(row, Image.fromarray(source))
    return Decoded(hashlib.sha256(row.data).hexdigest(), "")


def _fill(row: NDArray[np.uint8], image: Image.Image) -> None:
    size = (row.shape[1], row.shape[0])
    upright = _rgb(ImageOps.exif_transpose(image))
    row[...] = np.asarray(upright.resize(size, Image.Resampling.BILINEAR))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # grey of 16 bits, which `convert` would clip to white
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
