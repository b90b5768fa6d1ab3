"""Five landmarks to a fixed place: template, least-squares similarity, warp.

Points are (x, y) in pixels, (0, 0) being the centre of the upper left pixel, as in ArcFace's template.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Centres of the left and the right eye (as seen), tip of the nose, left and right corner of the mouth in a
# picture of 112 × 112 pixels (Deng et al., ArcFace, CVPR 2019).
ARCFACE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_SIDE = 112

# How large a face is drawn, against ArcFace, around the picture's centre. The eyes of `wide` are 22 % of the
# side apart, not 31 %: hair, ears and chin are in the picture.
MARGINS = {"arcface": 1.0, "wide": 0.7}


def template(size: int, margin: str) -> NDArray[np.float64]:
    """Return where the five landmarks go, [5, 2], in a picture of `size` × `size` pixels.

    `margin` is one of MARGINS. Pictures of another size show the same part of the face.
    """
    middle = _SIDE / 2
    points = (ARCFACE + 0.5 - middle) * MARGINS[margin] + middle  # edges, not centres of pixels, scale
    return points * size / _SIDE - 0.5


def similarity(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the turn, scale and shift [2, 3] that bring `points` nearest to `target`, both [n, 2].

    Nearest by least squares, without mirroring (Umeyama, PAMI 1991). In the plane such a map is a complex
    product, so z = Σ conj(p)·t / Σ |p|² of the centred points. Raises ValueError where all points coincide.
    """
    p, t = (xy[:, 0] + 1j * xy[:, 1] for xy in (points, target))
    spread = np.sum(np.abs(p - p.mean()) ** 2)
    if not spread > 0:
        raise ValueError("the landmarks are one point")
    z = np.sum(np.conj(p - p.mean()) * (t - t.mean())) / spread
    shift = t.mean() - z * p.mean()
    return np.array([[z.real, -z.imag, shift.real], [z.imag, z.real, shift.imag]])


def scale(matrix: NDArray[np.float64]) -> float:
    """Return how many pixels of the result one pixel becomes under a similarity [2, 3]."""
    return math.hypot(matrix[0, 0], matrix[1, 0])


def side(points: NDArray[np.float64]) -> float:
    """Return the side of ArcFace's square around a face with these landmarks [5, 2], in its pixels."""
    return _SIDE / scale(similarity(points, ARCFACE))


def warp(image: Image.Image, matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Return the picture [size, size, 3] that `matrix` [2, 3] makes of an RGB image; black where it has none.

    Bilinear. What shrinks to less than half is first averaged over whole pixels, or it would alias.
    """
    turn, shift = matrix[:, :2], matrix[:, 2]
    back = np.linalg.inv(turn)
    origin = back @ (-0.5 - shift) + 0.5  # of the result's upper left corner, in pixels from the image's
    corners = origin + np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ back.T
    shrink = max(1, int(1 / scale(matrix)))
    left, top = np.maximum(np.floor(corners.min(0)).astype(int) - shrink, 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int) + shrink, image.size)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    image = image.reduce(shrink, (int(left), int(top), int(right), int(bottom)))
    origin, back = (origin - (left, top)) / shrink, back / shrink
    coefficients = (*back[0], origin[0], *back[1], origin[1])
    drawn = image.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(drawn)
