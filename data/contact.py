"""The contact sheet: 64 faces of a data set in one picture, for a human look at how they were cut."""

import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CONTACT_FILE = "contact.png"
_ACROSS = 8


def write_contact(folder: Path, images: NDArray[np.uint8], rows: Sequence[int]) -> None:
    """Write contact.png in `folder`, readable by its owner: 64 random `rows` of `images` [n, size, size, 3].

    The same number of rows gives the same choice.
    """
    count, size = min(len(rows), _ACROSS**2), images.shape[1]
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), count, replace=False))
    down = -(-count // _ACROSS)
    sheet = np.zeros((down * _ACROSS, size, size, 3), np.uint8)
    sheet[:count] = images[np.asarray(rows)[chosen]]
    tiled = sheet.reshape(down, _ACROSS, size, size, 3).swapaxes(1, 2).reshape(down * size, _ACROSS * size, 3)
    path = folder / CONTACT_FILE
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    # A twentieth larger than by default, and six times faster.
    Image.fromarray(tiled).save(path, compress_type=zlib.Z_HUFFMAN_ONLY)
