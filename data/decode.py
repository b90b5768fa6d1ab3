"""Images to prepared pixels, in parallel, each at its row of one raw file.

Workers on this machine write where they decode, so no image travels between processes, and with plain
writes: a full disk is then an error that can be reported, where a memory map would be killed by a bus error.
Workers elsewhere send the pixels here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from data.align import align
from data.errors import Unusable
from data.journal import Decoded, Journal
from data.progress import Progress
from data.raw import Raw
from data.schema import Preparation, Record
from data.spread import Executor

_CHUNK = 64  # images per task: some 50 ms of work
_ALIGNED_CHUNK = 16  # a detector takes longer
_AT_ONCE = 1 << 24  # bytes of a file read at once


@dataclass(frozen=True)
class Chunk:
    """Consecutive records, the first of them row `start`."""

    start: int
    records: list[Record]


def decode_all(
    records: Sequence[Record],
    preparation: Preparation,
    raw: Raw,
    journal: Journal,
    executor: Executor,
    progress: Progress,
) -> list[Decoded]:
    """Write the pixels of each record at its row of `raw`; return one result per row.

    A row that can't be decoded is zeros. What `journal` notes as done stays. Raises MachineError when a
    worker is lost.
    """
    raw.path.touch()
    size = _ALIGNED_CHUNK if preparation.align else _CHUNK
    done = journal.done(raw)
    chunks = [Chunk(start, list(records[start : start + size])) for start in range(0, len(records), size)]
    left = [chunk for chunk in chunks if len(done.get(chunk.start, ())) != len(chunk.records)]
    progress.skip(len(records) - sum(len(chunk.records) for chunk in left))
    work = partial(_decode_here, raw=raw) if executor.here else _decode_chunk
    with closing(executor.map(partial(work, preparation=preparation), left)) as results:
        for start, rows, pixels in results:
            if not executor.here:
                raw.write(start, pixels)
            journal.add(start, rows)
            done[start] = rows
            progress.advance(len(rows))
    progress.close()
    return [row for chunk in chunks for row in done[chunk.start]]


def _decode_here(
    chunk: Chunk, preparation: Preparation, raw: Raw
) -> tuple[int, list[Decoded], NDArray[np.uint8]]:
    start, rows, pixels = _decode_chunk(chunk, preparation)
    raw.write(start, pixels)
    return start, rows, pixels[:0]


def _decode_chunk(chunk: Chunk, preparation: Preparation) -> tuple[int, list[Decoded], NDArray[np.uint8]]:
    size = preparation.size
    pixels = np.empty((len(chunk.records), size, size, 3), np.uint8)
    rows = [_decode(record, preparation, out) for record, out in zip(chunk.records, pixels, strict=True)]
    return chunk.start, rows, pixels


def _decode(record: Record, preparation: Preparation, out: NDArray[np.uint8]) -> Decoded:
    """Put the pixels of an image in `out` [size, size, 3], zeros without any; return what came of it."""
    size, note = preparation.size, ""
    try:
        picture = _picture(record)
        if preparation.align is None:
            out[:] = whole(picture, size)
        else:
            out[:], note = align(picture, size, preparation.align, record.landmarks, record.box)
    except Unusable as reason:
        out[:] = 0
        return Decoded(0, str(reason))
    return Decoded(zlib.crc32(out.data), "", note)


def _picture(record: Record) -> Image.Image:
    """Return the picture of a record, upright and RGB; raises Unusable."""
    if record.pixels is not None:
        return Image.fromarray(record.pixels)
    assert record.path is not None, f"{record.source} has neither path nor pixels"
    return opened(record.path)


def whole(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return a picture as it is prepared without alignment: all of it, [size, size, 3]."""
    pixels = picture.resize((size, size), Image.Resampling.BILINEAR).tobytes()
    return np.frombuffer(pixels, np.uint8).reshape(size, size, 3)


def opened(source: Path | BytesIO) -> Image.Image:
    """Return the picture in a file, upright and RGB; raises Unusable."""
    try:
        with Image.open(_at_once(source) if isinstance(source, Path) else source) as image:
            image.load()
            if image.format != "JPEG" or {"exif", "xmp"} & image.info.keys():  # where a turn may be noted
                ImageOps.exif_transpose(image, in_place=True)  # in place and `_rgb`: a copy less each
            return _rgb(image)
    except UnidentifiedImageError:
        raise Unusable("file is empty" if _empty(source) else "file is not an image") from None
    except Image.DecompressionBombError:
        raise Unusable("image has too many pixels to be opened safely") from None
    except (OSError, ValueError, SyntaxError):
        raise Unusable("image is truncated or damaged") from None


def _at_once(path: Path) -> BytesIO | Path:
    """Return a file's bytes, or the path of a large file: pieces read by Pillow take longer than one."""
    file = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(file).st_size
        content = os.read(file, min(size, _AT_ONCE))
        return BytesIO(content) if len(content) == size else path
    finally:
        os.close(file)


def _empty(source: Path | BytesIO) -> bool:
    with suppress(OSError):  # removed meanwhile
        return isinstance(source, Path) and source.stat().st_size == 0
    return False


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise Unusable("pixels are fractions, and nothing says what is white")
    if image.mode.startswith("I"):  # grey of 16 bits, which `convert` would clip to white
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
