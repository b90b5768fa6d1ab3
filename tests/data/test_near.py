"""Near-duplicates: against all pairs in float64, and on real photographs."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from data import near
from data.faces import Faces


def _pictures(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random pictures, every third a faint change of the one before it."""
    draw = np.random.default_rng(seed)
    small = draw.integers(0, 256, (count, 5, 5, 3)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(s).resize((side, side), Image.Resampling.BICUBIC)) for s in small]
    pictures = np.stack(large).astype(np.float64)
    for i in range(2, count, 3):
        pictures[i] = pictures[i - 1] + draw.normal(0, 3 * (i % 12), pictures[i].shape)
    return pictures.clip(0, 255).astype(np.uint8)


def _naive_hash(image: NDArray[np.uint8]) -> list[bool]:
    """Signs of the lowest 8 × 8 cosine coefficients around their median, but for the mean: by the formula."""
    side = len(image)
    grey = [[(77 * int(r) + 150 * int(g) + 29 * int(b) + 128) // 256 for r, g, b in row] for row in image]
    place = (2 * np.arange(side) + 1) / (2 * side)
    cosines = [np.rint(1024 * np.cos(np.pi * k * place)) for k in range(8)]
    waves = [float((np.outer(u, v) * grey).sum()) for u in cosines for v in cosines][1:]
    return [wave > sorted(waves)[31] for wave in waves]


def _naive_likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Correlation of 16 × 16 grey thumbnails whose sides are a multiple of 16."""
    cells = []
    for image in (first, second):
        grey = np.floor((image.astype(np.float64) @ [77, 150, 29] + 128) / 256)
        step = len(image) // 16
        cells.append(grey.reshape(16, step, 16, step).mean(axis=(1, 3)).ravel())
    return float(np.corrcoef(cells)[0, 1])


def _naive_pairs(images: NDArray[np.uint8], others: NDArray[np.uint8] | None = None) -> list[list[int]]:
    codes = [_naive_hash(image) for image in images]
    if others is None:
        candidates = list(itertools.combinations(range(len(images)), 2))
        second, other_codes = images, codes
    else:
        candidates = list(itertools.product(range(len(images)), range(len(others))))
        second, other_codes = others, [_naive_hash(image) for image in others]
    return [
        [i, j]
        for i, j in candidates
        if sum(a != b for a, b in zip(codes[i], other_codes[j], strict=True)) <= near.BITS
        and _naive_likeness(images[i], second[j]) >= near.LIKENESS
    ]


@pytest.mark.parametrize("seed", [0, 1])
def test_near_pairs_are_those_of_all_pairs_compared_one_by_one(seed: int) -> None:
    pictures = _pictures(60, 32, seed)
    expected = _naive_pairs(pictures)
    assert 5 <= len(expected) < 20  # some changes are too strong, none by chance
    assert near.near_pairs(pictures).tolist() == expected


def test_pairs_between_two_sets_are_those_of_all_pairs_even_of_another_size() -> None:
    ours, theirs = _pictures(30, 32), _pictures(30, 48)[::-1]
    expected = _naive_pairs(ours, theirs)
    assert len(expected) >= 10
    assert near.shared_pairs(ours, theirs).tolist() == expected


def test_a_hash_does_not_depend_on_what_lies_beside_a_picture() -> None:
    pictures = _pictures(300, 32)
    order = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(near.hashes(pictures[order])[0], near.hashes(pictures)[0][order])


def test_pictures_that_show_nothing_are_near_to_none() -> None:
    grey = np.full((3, 32, 32, 3), 128, np.uint8)
    grey[1] += 1
    assert near.hashes(grey)[1].all()
    assert len(near.near_pairs(grey)) == 0


def test_near_images_of_near_images_are_one_group() -> None:
    pairs = np.array([[4, 5], [0, 3], [3, 4]])
    assert near.groups(7, pairs).tolist() == [0, 1, 2, 0, 0, 0, 6]


def test_one_photograph_saved_or_toned_again_is_found_and_other_people_are_not(real_faces: Path) -> None:
    """Of 200 faces of UTKFace: JPEG of quality 40, half the contrast; none is mistaken for another."""
    paths = sorted((real_faces / "utkface").glob("3*_0_0_*"))[:200]
    originals = np.stack([np.asarray(Image.open(p).convert("RGB").resize((112, 112))) for p in paths])
    known = set(map(tuple, near.near_pairs(originals).tolist()))
    for changed in (_saved(originals, 40), (originals * 0.5 + 60).astype(np.uint8)):
        found = near.shared_pairs(originals, changed)
        same = found[:, 0] == found[:, 1]
        assert same.sum() >= 0.95 * 200
        assert {tuple(sorted(pair)) for pair in found[~same].tolist()} <= known


def _saved(images: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    found = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        found.append(np.asarray(Image.open(file)))
    return np.stack(found)


def test_near_pairs_of_a_data_set_are_found_once_and_kept_beside_it(small: Faces) -> None:
    pairs = small.near_pairs()
    (path,) = (small.root / "near").iterdir()
    path.write_text(path.read_text().replace(f'"pairs": {pairs.tolist()}', '"pairs": [[0, 7]]'))
    assert small.near_pairs().tolist() == [[0, 7]]
    assert small.near_groups()[[0, 7]].tolist() == [0, 0]
    path.write_text("{")  # damaged: found again
    assert small.near_pairs().tolist() == pairs.tolist()
