"""Which face of a picture is meant, whether it is large enough, and the face brought to its place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data import detect, warp
from data.errors import DataError, Unusable, nearest
from data.schema import Alignment

# Raised when code changes the pixels of aligned faces: prepared again, they are then another data set.
VERSION = 1
METHODS = ("mtcnn", "landmarks")
SEVERAL = ("central", "largest", "reject")
_OVERLAP = 0.3  # intersection over union from which a found face is the one of the data set's box

Box = tuple[float, float, float, float]
Points = Sequence[tuple[float, float]]


def alignment(method: str, margin: str | None, several: str | None, min_face: int | None) -> Alignment | None:
    """Return the choices of the command line, None for "none"; DataError where one is wrong or has no effect.

    None is the default: margin arcface, several central, min_face 32 pixels.
    """
    given = {"--margin": margin, "--several": several, "--min-face": min_face}
    _check("--align", method, ("none", *METHODS))
    idle = [name for name, value in given.items() if value is not None and method == "none"]
    if several is not None and method == "landmarks":
        idle.append("--several")
    if idle:
        raise DataError(f"{', '.join(idle)}: has no effect with --align {method}")
    if method == "none":
        return None
    margin, several = margin or "arcface", several or "central"
    min_face = 32 if min_face is None else min_face
    _check("--margin", margin, tuple(warp.MARGINS))
    _check("--several", several, SEVERAL)
    if min_face < 1:
        raise DataError(f"--min-face must be at least 1 pixel. Received: {min_face}")
    if method == "landmarks":
        return Alignment(method, margin, min_face, version=VERSION)
    return Alignment(method, margin, min_face, several, detect.package(), VERSION)


def _check(option: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise DataError(
            f"{option} must be one of {', '.join(allowed)}. Received: {value!r}.{nearest(value, allowed)}"
        )


def align(
    image: Image.Image, size: int, choices: Alignment, landmarks: Points | None, box: Box | None
) -> tuple[NDArray[np.uint8], str]:
    """Return the face [size, size, 3] in its place, and what is worth counting, in words or empty.

    `image` is upright RGB; `landmarks` and `box` are the data set's own, where it has them.
    Raises Unusable.
    """
    note = ""
    if choices.method == "landmarks":
        if landmarks is None:
            raise Unusable("no landmarks")
        points = np.asarray(landmarks, np.float64)
        if not np.all((points.mean(0) >= 0) & (points.mean(0) <= image.size)):
            raise Unusable("landmarks lie outside the picture")
    else:
        face, note = _meant(detect.faces(np.asarray(image)), image.size, choices.several, box)
        points = face.landmarks
    return placed(image, size, points, warp.template(size, choices.margin), choices.min_face), note


def placed(
    image: Image.Image,
    size: int,
    points: NDArray[np.float64],
    target: NDArray[np.float64],
    min_face: int,
) -> NDArray[np.uint8]:
    """Return the face [size, size, 3] whose landmarks [5, 2] lie at `target` [5, 2].

    Raises Unusable where they are one point, or the side of ArcFace's square in the picture is less than
    `min_face` pixels.
    """
    try:
        matrix = warp.similarity(points, target)
    except ValueError:
        raise Unusable("landmarks are one point") from None
    if warp.side(points) < min_face:
        raise Unusable(f"face is smaller than {min_face} pixels")
    return warp.warp(image, matrix, size)


def _meant(
    faces: Sequence[detect.Face], size: tuple[int, int], several: str, box: Box | None
) -> tuple[detect.Face, str]:
    """Return the face that is meant in a picture of `size`, and how it was chosen, if it was."""
    if not faces:
        raise Unusable("no face found")
    if box is not None:
        best = max(faces, key=lambda face: _overlap(face.box, box))
        if _overlap(best.box, box) < _OVERLAP:
            raise Unusable("no face found in the data set's box")
        return best, "several faces, the one in the data set's box is taken" if len(faces) > 1 else ""
    if len(faces) == 1:
        return faces[0], ""
    if several == "reject":
        raise Unusable("several faces")
    if several == "largest":
        return max(faces, key=lambda face: _area(face.box)), "several faces, the largest is taken"
    return max(faces, key=lambda face: _central(face.box, size)), "several faces, the most central is taken"


def _central(box: Box, size: tuple[int, int]) -> float:
    """Return area less twice the squared distance from the centre (facenet's align_dataset_mtcnn)."""
    away = ((box[0] + box[2] - size[0]) / 2, (box[1] + box[3] - size[1]) / 2)
    return _area(box) - 2 * (away[0] ** 2 + away[1] ** 2)


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(a: Box, b: Box) -> float:
    """Return intersection over union."""
    shared = _area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0
