"""Augmentation presets, vectorised over a batch on the images' device.

Each sample's draws are a function of (seed, epoch, sample_id): it is augmented in the same way alone, in
any batch and on any worker. Images are [b, 3, h, w] float in [0, 1], before normalisation. Rotation is
bilinear with black corners (torchvision's default is nearest).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional

from data.rng import AUGMENT, uniforms

Probability = Annotated[float, Field(ge=0, le=1)]
Degrees = Annotated[float, Field(ge=0, le=180)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def grayscale(images: Tensor, chosen: Tensor) -> Tensor:
    """Return images [b, 3, h, w] with the `chosen` [b] ones made grey (ITU-R 601 luma, as PIL's)."""
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    return _where(chosen, (images * weights).sum(1, keepdim=True), images)


def flip_sides(images: Tensor, chosen: Tensor) -> Tensor:
    """Return images [b, 3, h, w] with left and right of the `chosen` [b] ones exchanged."""
    return _where(chosen, images.flip(-1), images)


def flip_upside(images: Tensor, chosen: Tensor) -> Tensor:
    """Return images [b, 3, h, w] with top and bottom of the `chosen` [b] ones exchanged."""
    return _where(chosen, images.flip(-2), images)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Return images [b, 3, h, w] turned counter-clockwise by `degrees` [b] about their centre."""
    height, width = images.shape[-2:]
    radians = degrees.to(images.dtype) * (math.pi / 180)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Grid coordinates run over [-1, 1] on both sides, so the sine is scaled by the sides' ratio.
    rows = [cos, -sin * height / width, zero, sin * width / height, cos, zero]
    theta = torch.stack(rows, 1).view(-1, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def sharpness(images: Tensor, chosen: Tensor, factor: float) -> Tensor:
    """Return the `chosen` [b] images blended with their smoothed versions: factor 0 smooths, 1 keeps.

    The kernel is PIL's and torchvision's, [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13; the border is kept.
    """
    # Sums of shifted views: half a grouped convolution's time on a CPU.
    columns = images[..., :-2] + images[..., 1:-1] + images[..., 2:]
    boxes = columns[..., :-2, :] + columns[..., 1:-1, :] + columns[..., 2:, :]
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = (boxes + 4 * images[..., 1:-1, 1:-1]) / 13
    return _where(chosen, (smooth + factor * (images - smooth)).clamp(0, 1), images)


def _where(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(chosen.view(-1, 1, 1, 1), changed, images)


def _draws(images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int, count: int) -> list[Tensor]:
    """Return `count` columns [b] of uniforms on the images' device."""
    table = torch.from_numpy(uniforms(seed, epoch, sample_ids, count, AUGMENT))
    return list(table.to(images.device).unbind(1))


class Preset(ABC):
    """What training images go through, and, where that is not nothing, evaluation's."""

    @abstractmethod
    def __call__(self, images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
        """Return the images [b, 3, h, w] as an epoch of training sees them."""

    def evaluation(self, images: Tensor) -> Tensor:
        """Return the images as validation and test see them."""
        return images


class NoAugment(Preset):
    """Images as they are."""

    class Config(_Config):
        name: Literal["none"] = "none"

        def build(self) -> NoAugment:
            return NoAugment()

    def __call__(self, images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
        """Return `images`."""
        return images


class Paper(Preset):
    """The augmentations of the RAPL paper, in its order."""

    class Config(_Config):
        name: Literal["paper"] = "paper"
        grayscale: Probability = 0.1
        flip_sides: Probability = 0.2
        rotation: Degrees = 30  # uniform from -rotation to +rotation
        sharpness: Probability = 0.5
        sharpness_factor: Annotated[float, Field(ge=0, le=2)] = 0.2
        flip_upside: Probability = 0.2

        def build(self) -> Paper:
            return Paper(self)

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
        """Return augmented images [b, 3, h, w]."""
        config = self.config
        grey, sides, angle, sharp, upside = _draws(images, sample_ids, seed, epoch, 5)
        images = grayscale(images, grey < config.grayscale)
        images = flip_sides(images, sides < config.flip_sides)
        images = rotate(images, (2 * angle - 1) * config.rotation)
        images = sharpness(images, sharp < config.sharpness, config.sharpness_factor)
        return flip_upside(images, upside < config.flip_upside)


class FaceSafe(Preset):
    """Changes that leave a face upright: what aligned faces may look like in another photograph."""

    class Config(_Config):
        name: Literal["face_safe"] = "face_safe"
        flip_sides: Probability = 0.5
        rotation: Degrees = 10  # uniform from -rotation to +rotation
        grayscale: Probability = 0.1

        def build(self) -> FaceSafe:
            return FaceSafe(self)

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(self, images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
        """Return augmented images [b, 3, h, w]."""
        config = self.config
        sides, angle, grey = _draws(images, sample_ids, seed, epoch, 3)
        images = flip_sides(images, sides < config.flip_sides)
        images = rotate(images, (2 * angle - 1) * config.rotation)
        return grayscale(images, grey < config.grayscale)


class RandomCrop(Preset):
    """A window at a random place in training, in the middle in evaluation (CORAL's recipe: 120 of 128)."""

    class Config(_Config):
        name: Literal["random_crop"] = "random_crop"
        size: Annotated[int, Field(ge=1, le=1024)] = 120  # pixels a side

        def build(self) -> RandomCrop:
            return RandomCrop(self)

    def __init__(self, config: Config) -> None:
        self.size = config.size

    def __call__(self, images: Tensor, sample_ids: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
        """Return windows [b, 3, size, size]; every place is equally likely.

        Raises ValueError for images smaller than the window.
        """
        spare = self._spare(images)
        down, right = _draws(images, sample_ids, seed, epoch, 2)
        window = torch.arange(self.size, device=images.device)
        rows = (down * (spare[0] + 1)).long().unsqueeze(1) + window
        columns = (right * (spare[1] + 1)).long().unsqueeze(1) + window
        sample = torch.arange(len(images), device=images.device).view(-1, 1, 1)
        return images[sample, :, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)

    def evaluation(self, images: Tensor) -> Tensor:
        """Return the windows [b, 3, size, size] in the middle."""
        top, left = (spare // 2 for spare in self._spare(images))
        return images[..., top : top + self.size, left : left + self.size]

    def _spare(self, images: Tensor) -> tuple[int, int]:
        height, width = images.shape[-2] - self.size, images.shape[-1] - self.size
        if min(height, width) < 0:
            raise ValueError(
                f"augment.size: a window of {self.size} pixels does not fit images of"
                f" {images.shape[-2]} × {images.shape[-1]}; prepare them larger (--size 128)"
            )
        return height, width


AugmentConfig = Annotated[
    NoAugment.Config | Paper.Config | FaceSafe.Config | RandomCrop.Config, Field(discriminator="name")
]
