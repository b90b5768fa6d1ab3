"""Pictures that are nearly the same: one photograph saved or toned twice.

Two pictures are near when their 63-bit perceptual hashes (signs of the lowest cosine coefficients around
their median) differ in at most BITS bits and their 16 × 16 grey thumbnails correlate with at least LIKENESS.
Both limits were set by looking at pairs of UTKFace (docs/log.md): all 29 pairs at 6 bits within them are one
photograph, while below 0.96, or at 8 bits, different people begin. Other crops are missed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BITS = 6
LIKENESS = 0.97
FLAT = 4.0  # standard deviation of grey values, of 255, under which a picture shows nothing to compare
BANDS = 7  # hashes that differ in at most 6 bits agree in one of 7 bands
_CHUNK = 256
_LUMA = (77, 150, 29)  # ITU-R 601 in 256ths, as PIL's grey
_WAVE = 1024  # cosines are rounded to this fraction

Images = NDArray[np.uint8]
Hashes = NDArray[np.uint64]
Pairs = NDArray[np.int64]


def hashes(images: Images) -> tuple[Hashes, NDArray[np.bool_]]:
    """Return the perceptual hash of each image [n, h, w, 3], and which show nothing (flat): [n] each."""
    rows, columns = (_cosines(side) for side in images.shape[1:3])
    found = np.zeros(len(images), np.uint64)
    flat = np.zeros(len(images), np.bool_)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        grey = _grey(images[part])
        flat[part] = grey.std(axis=(1, 2)) < FLAT
        waves = (rows @ grey @ columns.T).reshape(len(grey), -1)[:, 1:]  # without the mean
        bits = waves > np.median(waves, axis=1, keepdims=True)
        found[part] = np.packbits(np.pad(bits, ((0, 0), (0, 1))), axis=1).view(np.uint64).ravel()
    return found, flat


def _grey(images: Images) -> NDArray[np.float64]:
    """Return grey values [n, h, w], whole numbers 0…255."""
    wide = images.astype(np.uint16)
    red, green, blue = (wide[..., channel] * np.uint16(weight) for channel, weight in enumerate(_LUMA))
    grey: NDArray[np.float64] = ((red + green + blue + np.uint16(128)) >> np.uint16(8)).astype(np.float64)
    return grey


def _cosines(side: int) -> NDArray[np.float64]:
    """Return the lowest 8 waves of the discrete cosine transform over `side` pixels: [8, side].

    Whole numbers, so that products and sums below are exact up to 1,024 pixels a side: the same hash on
    every machine, in every order.
    """
    place = (2 * np.arange(side) + 1) / (2 * side)
    waves: NDArray[np.float64] = np.rint(_WAVE * np.cos(np.pi * np.arange(8)[:, None] * place))
    return waves


def near_pairs(images: Images) -> Pairs:
    """Return all pairs of near images as row numbers [k, 2], the lower first; flat images have none."""
    codes, flat = hashes(images)
    shown = np.flatnonzero(~flat)
    return _alike(images, images, shown[_close(codes[shown])])


def shared_pairs(images: Images, others: Images) -> Pairs:
    """Return the pairs of near images between two sets of one size: [k, 2] rows of the first and second."""
    codes, flat = zip(*(hashes(given) for given in (images, others)), strict=True)
    rows = np.concatenate([np.flatnonzero(~given) for given in flat])
    first = int((~flat[0]).sum())
    pairs = _close(np.concatenate(codes)[~np.concatenate(flat)])
    across = pairs[(pairs[:, 0] < first) & (pairs[:, 1] >= first)]
    return _alike(images, others, rows[across])


def groups(count: int, pairs: Pairs) -> NDArray[np.int64]:
    """Return a group number for each of `count` images: those of a pair, and of its pairs, share theirs."""
    parent = np.arange(count)

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = int(parent[row])
        return row

    for low, high in pairs.tolist():
        a, b = sorted((root(low), root(high)))
        parent[b] = a
    return np.array([root(row) for row in range(count)], np.int64)


def _close(codes: Hashes) -> Pairs:
    """Return the pairs [k, 2] of hashes that differ in at most BITS bits.

    Each shares one of the bands, so only hashes with an equal band are compared.
    """
    found = [np.empty((0, 2), np.int64)]
    edges = np.linspace(0, 64, BANDS + 1).astype(np.int64)
    for low, high in pairwise(edges.tolist()):
        band = (codes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        for first, second in _neighbours(band[order]):
            a, b = order[first], order[second]
            near = np.bitwise_count(codes[a] ^ codes[b]) <= BITS
            found.append(np.sort(np.stack([a[near], b[near]], 1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _neighbours(keys: Hashes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the places of equal keys among sorted `keys`: all that are 1 apart, then 2, until none is."""
    places = np.arange(len(keys))
    for apart in range(1, len(keys)):
        places = places[: np.searchsorted(places, len(keys) - apart)]
        places = places[keys[places] == keys[places + apart]]
        if not len(places):
            return
        yield places, places + apart


def _alike(images: Images, others: Images, pairs: Pairs) -> Pairs:
    """Return the pairs whose thumbnails correlate."""
    kept = [
        pairs[start : start + _CHUNK][
            (_thumbnails(images, pairs[start : start + _CHUNK, 0])
             * _thumbnails(others, pairs[start : start + _CHUNK, 1])).sum(1) >= LIKENESS
        ]
        for start in range(0, len(pairs), _CHUNK)
    ]  # fmt: skip
    return np.concatenate([np.empty((0, 2), np.int64), *kept])


def _thumbnails(images: Images, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the 16 × 16 grey thumbnails of rows, centred and of length 1: [len(rows), 256]."""
    down, across = (_averages(side) for side in images.shape[1:3])
    small = (down @ _grey(images[rows]) @ across.T).reshape(len(rows), 256)
    small -= small.mean(axis=1, keepdims=True)
    unit: NDArray[np.float64] = small / np.linalg.norm(small, axis=1, keepdims=True).clip(1e-12)
    return unit


def _averages(side: int) -> NDArray[np.float64]:
    """Return the weights [16, side] with which 16 equal cells average `side` pixels."""
    edges = np.linspace(0, side, 17)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    cells: NDArray[np.float64] = overlap.clip(0) / (side / 16)
    return cells
