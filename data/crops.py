"""Any picture to faces as a model's training set has them: the whole picture, or every face that is found.

Stores nothing. What a picture becomes is what data.prepare makes of it, to the pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data import detect, warp
from data.align import placed
from data.decode import opened, whole
from data.errors import DataError, Unusable
from data.schema import Preparation

# Where the landmarks lie in the data set's own aligned pictures, in shares of the side: medians over the
# faces that MTCNN found in 400 of UTKFace's chips (398; sd 0.015 to 0.040).
CHIPS = {
    "utkface": np.array(
        [[0.2975, 0.2875], [0.6925, 0.2925], [0.4925, 0.5225], [0.3225, 0.6925], [0.6675, 0.6925]]
    )
}
MIN_FACE = 32  # pixels, where the training set names no bound of its own


@dataclass(frozen=True)
class Crop:
    """A face of a picture. `pixels` [size, size, 3] or None, then `problem` says why.

    `box` is left, top, right, bottom in pixels of the upright picture; None is the whole picture.
    """

    pixels: NDArray[np.uint8] | None
    box: tuple[float, float, float, float] | None = None
    problem: str = ""


@dataclass(frozen=True)
class Picture:
    """Something to look for faces in: a file, or its bytes."""

    name: str
    content: Path | bytes

    def open(self) -> Image.Image:
        """Return it upright and RGB; raises Unusable."""
        return opened(self.content if isinstance(self.content, Path) else BytesIO(self.content))


@dataclass(frozen=True)
class Cutter:
    """Cuts the faces out of pictures: the whole picture if `target` is None, else every face found.

    target: [5, 2] pixels, where the landmarks go (data/warp.py) in a crop of `size` pixels a side.
    """

    size: int
    target: NDArray[np.float64] | None
    min_face: int = MIN_FACE

    @classmethod
    def like(cls, size: int, preparation: Preparation | None, reader: str, detecting: bool) -> Cutter:
        """Return the cutter whose faces look like those of a training set, which `reader` read.

        Raises DataError where `detecting` needs a package that is not there.
        """
        if not detecting:
            return cls(size, None)
        detect.package()
        aligned = None if preparation is None else preparation.align
        if aligned is not None:
            return cls(size, warp.template(size, aligned.margin), aligned.min_face)
        if reader in CHIPS:
            return cls(size, CHIPS[reader] * size - 0.5)
        return cls(size, warp.template(size, "arcface"))

    def crops(self, picture: Picture) -> tuple[list[Crop], str]:
        """Return the faces of a picture from left to right, or none and the reason."""
        try:
            image = picture.open()
            if self.target is None:
                return [Crop(whole(image, self.size))], ""
            found = detect.faces(np.asarray(image))
        except Unusable as reason:
            return [], str(reason)
        crops = [self._crop(image, face) for face in sorted(found, key=lambda face: face.box)]
        return crops, "" if crops else "no face found"

    def _crop(self, image: Image.Image, face: detect.Face) -> Crop:
        assert self.target is not None
        try:
            return Crop(placed(image, self.size, face.landmarks, self.target, self.min_face), face.box)
        except Unusable as reason:
            return Crop(None, face.box, str(reason))


def pictures(given: str, stdin: Callable[[], bytes]) -> tuple[list[Picture], int]:
    """Return the pictures that a path names and how many other files its folder holds; `-` is stdin's bytes.

    Raises DataError for a path that is not there, or a folder without a picture.
    """
    from data.cache import local

    if given == "-":
        return [Picture("-", stdin())], 0
    path = local(given)
    if path.is_file():
        return [Picture(given, path)], 0
    # What Pillow knows by its name.
    suffixes = {name for name, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    found = [Picture(str(p.relative_to(path)), p) for p in files if p.suffix.lower() in suffixes]
    if not found:
        raise DataError(f"{path} holds no picture; it has {len(files):,} other files")
    return found, len(files) - len(found)
