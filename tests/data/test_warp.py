"""Five points to their place: against float64 references, and what is seen where."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image

from data.warp import ARCFACE, MARGINS, scale, similarity, template, warp

POINTS = arrays(np.float64, (5, 2), elements=st.floats(-200, 200, width=32))


def umeyama(points: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Umeyama's equations (34) to (43) as printed, in the plane."""
    n = len(points)
    mean_x, mean_y = sum(points) / n, sum(target) / n
    variance = sum(np.dot(x - mean_x, x - mean_x) for x in points) / n
    covariance = sum(np.outer(y - mean_y, x - mean_x) for x, y in zip(points, target, strict=True)) / n
    u, d, vt = np.linalg.svd(covariance)
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ sign @ vt
    c = np.trace(np.diag(d) @ sign) / variance
    return np.column_stack([c * turn, mean_y - c * turn @ mean_x])


@given(POINTS)
def test_the_similarity_is_umeyamas(points: NDArray[np.float64]) -> None:
    target = template(112, "arcface")
    matrix = similarity(points + target, target)
    np.testing.assert_allclose(matrix, umeyama(points + target, target), atol=1e-8)


@given(
    POINTS, st.floats(0.01, 10), st.floats(-3.1, 3.1), st.tuples(st.floats(-500, 500), st.floats(-500, 500))
)
def test_a_face_that_was_turned_scaled_and_shifted_comes_back(
    noise: NDArray[np.float64], factor: float, angle: float, shift: tuple[float, float]
) -> None:
    turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(ARCFACE @ turn.T + shift, ARCFACE)
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-6)
    assert scale(matrix) == pytest.approx(1 / factor, rel=1e-6)


def test_a_mirrored_face_is_not_mirrored_back() -> None:
    matrix = similarity(ARCFACE * [-1, 1], ARCFACE)
    assert np.linalg.det(matrix[:, :2]) > 0


def test_one_point_five_times_is_no_face() -> None:
    with pytest.raises(ValueError, match="one point"):
        similarity(np.ones((5, 2)), ARCFACE)


def test_margins_in_numbers() -> None:
    np.testing.assert_allclose(template(112, "arcface"), ARCFACE)
    eyes = {name: np.ptp(template(112, name)[:2, 0]) / 112 for name in MARGINS}
    assert eyes == pytest.approx({"arcface": 0.3146, "wide": 0.2202}, abs=1e-4)
    # The middle of the picture is the middle of ArcFace's.
    np.testing.assert_allclose(template(112, "wide") - 55.5, 0.7 * (ARCFACE - 55.5), atol=1e-12)


def test_other_sizes_show_the_same_part_of_the_face() -> None:
    np.testing.assert_allclose((template(224, "wide") + 0.5) / 2, template(112, "wide") + 0.5)


def naive(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Bilinear in float64, one pixel after the other; outside the picture NaN."""
    height, width = pixels.shape[:2]
    inverse = np.linalg.inv(matrix[:, :2])
    out = np.full((size, size, 3), np.nan)
    for v in range(size):
        for u in range(size):
            x, y = inverse @ (np.array([u, v], float) - matrix[:, 2])
            left, top = int(np.floor(x)), int(np.floor(y))
            if not (0 <= left < width - 1 and 0 <= top < height - 1):
                continue
            fx, fy = x - left, y - top
            four = pixels[top : top + 2, left : left + 2].astype(float)
            out[v, u] = (four[0] * (1 - fy) + four[1] * fy)[0] * (1 - fx) + (
                four[0] * (1 - fy) + four[1] * fy
            )[1] * fx
    return out


@pytest.mark.parametrize("factor", [0.6, 1.0, 3.0])
def test_warping_is_bilinear(factor: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    turn = factor * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    matrix = np.column_stack([turn, np.array([20, 20]) - turn @ [41.3, 28.7]])
    expected = naive(pixels, matrix, 40)
    inside = ~np.isnan(expected)
    assert inside.mean() > 0.6
    assert np.abs(warp(Image.fromarray(pixels), matrix, 40) - expected)[inside].max() <= 1


def test_shrinking_averages_where_plain_bilinear_would_alias() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    matrix = np.array([[0.1, 0, 0], [0, 0.1, 0]])
    seen = warp(Image.fromarray(stripes), matrix, 40)[2:-2, 2:-2]
    assert np.abs(seen.astype(int) - 127).max() <= 2


def test_a_dot_lands_where_the_matrix_says_at_every_scale() -> None:
    for factor in (0.1, 0.3, 0.45, 1.0, 2.0):
        pixels = np.zeros((500, 700, 3), np.uint8)
        pixels[300:330, 420:450] = 255  # its centre is (434.5, 314.5)
        matrix = np.array([[factor, 0, 50 - factor * 434.5], [0, factor, 40 - factor * 314.5]])
        seen = warp(Image.fromarray(pixels), matrix, 100)[:, :, 0].astype(float)
        rows, columns = np.indices(seen.shape)
        assert np.average(columns, weights=seen) == pytest.approx(50, abs=0.05)
        assert np.average(rows, weights=seen) == pytest.approx(40, abs=0.05)


def test_what_lies_outside_the_picture_is_black() -> None:
    white = Image.new("RGB", (50, 50), "white")
    half = warp(white, np.array([[1.0, 0, 20], [0, 1, 0]]), 40)
    assert (half[:, :20] == 0).all()
    assert (half[:, 21:] == 255).all()
    assert not warp(white, np.array([[1.0, 0, 900], [0, 1, 0]]), 40).any()
