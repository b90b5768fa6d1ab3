"""Each transform against a naive reference; each preset keyed by sample, not by batch."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from data.augment import (
    AugmentConfig,
    FaceSafe,
    NoAugment,
    Paper,
    RandomCrop,
    grayscale,
    rotate,
    sharpness,
)

PRESETS = [NoAugment.Config(), Paper.Config(), FaceSafe.Config(), RandomCrop.Config(size=4)]
NOTHING = {"grayscale": 0, "flip_sides": 0, "rotation": 0, "sharpness": 0, "flip_upside": 0}
ALL = torch.ones(4, dtype=torch.bool)


def _images(height: int = 20, width: int = 20) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 3, height, width))).float() / 255


def _smooth_images(height: int, width: int) -> Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 5, height), torch.linspace(0, 5, width), indexing="ij")
    waves = torch.stack([(x + y).sin(), (x - y).cos(), (2 * x).sin()]) / 2 + 0.5
    return ((waves * 255).round() / 255).expand(4, 3, height, width)


def _pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).float() / 255


def test_grayscale_agrees_with_pil() -> None:
    images = _images()
    for image, grey in zip(images, grayscale(images, ALL), strict=True):
        assert (grey - _tensor(_pil(image).convert("L"))).abs().max() <= 1.01 / 255


@pytest.mark.parametrize("factor", [0.0, 0.2, 1.0])
def test_sharpness_agrees_with_pil(factor: float) -> None:
    images = _images()
    for image, blended in zip(images, sharpness(images, ALL, factor), strict=True):
        expected = _tensor(ImageEnhance.Sharpness(_pil(image)).enhance(factor))
        assert (blended - expected).abs().max() <= 1.51 / 255  # PIL rounds twice


def test_only_the_chosen_change() -> None:
    images = _images()
    chosen = torch.tensor([True, False, True, False])
    for changed in (grayscale(images, chosen), sharpness(images, chosen, 0.2)):
        assert torch.equal(changed[1::2], images[1::2])
        assert (changed[::2] != images[::2]).any()


@pytest.mark.parametrize("turns", [-1, 0, 1, 2])
def test_right_angles_are_exact(turns: int) -> None:
    images = _images()
    turned = rotate(images, torch.full((4,), 90.0 * turns))
    torch.testing.assert_close(turned, torch.rot90(images, turns, (-2, -1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(40, 40), (40, 56)])
def test_rotation_agrees_with_pil_away_from_the_border(shape: tuple[int, int]) -> None:
    images = _smooth_images(*shape)
    angles = torch.tensor([-30.0, -7.0, 11.0, 25.0])
    middle = (slice(None), slice(12, -12), slice(12, -12))
    for image, angle, turned in zip(images, angles.tolist(), rotate(images, angles), strict=True):
        expected = _tensor(_pil(image).rotate(angle, Image.Resampling.BILINEAR))
        assert (turned[middle] - expected[middle]).abs().max() < 2 / 255


def test_corners_turned_in_are_black() -> None:
    turned = rotate(torch.ones(1, 3, 20, 20), torch.tensor([45.0]))
    assert turned[0, :, 0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("field", "axis"), [("flip_sides", -1), ("flip_upside", -2)])
def test_flips_are_exact(field: str, axis: int) -> None:
    images = _images()
    flipped = Paper.Config(**{**NOTHING, field: 1}).build()(images, np.arange(4), 0, 0)
    torch.testing.assert_close(flipped, images.flip(axis), atol=1e-5, rtol=0)


def test_paper_without_chances_changes_nothing() -> None:
    images = _images()
    torch.testing.assert_close(
        Paper.Config(**NOTHING).build()(images, np.arange(4), 0, 0), images, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("config", PRESETS, ids=lambda c: c.name)
def test_a_sample_is_augmented_the_same_alone_and_in_any_batch(config: AugmentConfig) -> None:
    augment = config.build()
    images, ids = _images().repeat(8, 1, 1, 1), np.arange(100, 132)
    batch = augment(images, ids, 3, 5)
    order = np.random.default_rng(1).permutation(32)
    torch.testing.assert_close(augment(images[order], ids[order], 3, 5), batch[order], atol=1e-6, rtol=0)
    for i in range(0, 32, 5):
        torch.testing.assert_close(
            augment(images[i : i + 1], ids[i : i + 1], 3, 5)[0], batch[i], atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("config", PRESETS[1:], ids=lambda c: c.name)
def test_another_epoch_or_seed_or_sample_is_augmented_otherwise(config: AugmentConfig) -> None:
    augment, images, ids = config.build(), _images(), np.arange(4)
    first = augment(images, ids, 0, 0)
    for other in (augment(images, ids, 0, 1), augment(images, ids, 1, 0), augment(images, ids + 4, 0, 0)):
        assert (first - other).abs().flatten(1).max(1).values.min() > 0.01


@pytest.mark.parametrize("config", PRESETS[:3], ids=lambda c: c.name)
def test_images_stay_in_range_and_type(config: AugmentConfig) -> None:
    images = _images(24, 18).repeat(16, 1, 1, 1).double()
    augmented = config.build()(images, np.arange(64), 0, 0)
    assert augmented.shape == images.shape
    assert augmented.dtype == images.dtype
    assert augmented.min() >= 0
    assert augmented.max() <= 1 + 1e-9


def test_chances_are_those_of_the_paper() -> None:
    # A colour ramp that tells which transforms were applied, at no rotation.
    ramp = torch.linspace(0.2, 0.8, 9)
    image = torch.stack([ramp.expand(9, 9), ramp.view(9, 1).expand(9, 9), torch.zeros(9, 9)])
    count = 4000
    out = Paper.Config(rotation=0).build()(image.expand(count, 3, 9, 9), np.arange(count), 0, 0)
    grey = (out[:, 0] - out[:, 1]).abs().amax((1, 2)) < 1e-4
    coloured = out[~grey]
    shares = {
        "grayscale": grey.double().mean().item(),
        "flip_sides": (coloured[:, 0, 4, 0] > coloured[:, 0, 4, 8]).double().mean().item(),
        "flip_upside": (coloured[:, 1, 0, 4] > coloured[:, 1, 8, 4]).double().mean().item(),
    }
    expected = {"grayscale": 0.1, "flip_sides": 0.2, "flip_upside": 0.2}
    for name, share in shares.items():
        assert abs(share - expected[name]) < 0.03, name


def test_face_safe_never_turns_a_face_upside_down() -> None:
    image = torch.zeros(1, 3, 30, 30)
    image[:, :, :10] = 1  # light from above
    out = FaceSafe.Config().build()(image.expand(500, 3, 30, 30), np.arange(500), 0, 0)
    assert (out[:, :, 3:8, 10:20].mean((1, 2, 3)) > out[:, :, -8:-3, 10:20].mean((1, 2, 3))).all()


def test_the_name_chooses_the_preset_and_its_fields_are_checked() -> None:
    adapter: TypeAdapter[AugmentConfig] = TypeAdapter(AugmentConfig)
    assert adapter.validate_python({"name": "paper", "rotation": 15}) == Paper.Config(rotation=15)
    for wrong in ({"name": "papper"}, {"name": "none", "rotation": 3}, {"name": "paper", "grayscale": 1.5}):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_a_random_window_is_a_part_of_its_image_and_every_place_comes_up() -> None:
    image = torch.arange(7 * 6).float().view(1, 1, 7, 6).expand(600, 3, 7, 6)
    crop = RandomCrop.Config(size=4).build()
    windows = crop(image, np.arange(600), seed=1, epoch=2)
    corners = windows[:, 0, 0, 0]
    places = {(int(c) // 6, int(c) % 6) for c in corners.tolist()}
    assert places == {(top, left) for top in range(4) for left in range(3)}
    for window, corner in zip(windows, corners.long().tolist(), strict=True):
        top, left = corner // 6, corner % 6
        assert torch.equal(window, image[0, :, top : top + 4, left : left + 4])


def test_evaluation_sees_the_middle_and_other_presets_leave_images_alone() -> None:
    image = torch.arange(8 * 8).float().view(1, 1, 8, 8).expand(1, 3, 8, 8)
    crop = RandomCrop.Config(size=4).build()
    assert torch.equal(crop.evaluation(image), image[..., 2:6, 2:6])
    assert torch.equal(FaceSafe.Config().build().evaluation(image), image)


def test_a_window_larger_than_the_images_is_refused() -> None:
    crop = RandomCrop.Config(size=120).build()
    with pytest.raises(ValueError, match="window of 120 pixels does not fit images of 112 × 112"):
        crop.evaluation(torch.zeros(1, 3, 112, 112))
