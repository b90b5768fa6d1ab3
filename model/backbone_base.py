"""What every backbone shares: colour and scale of its input, and how a checkpoint is fitted to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from model.errors import WeightsError
from model.settings import Settings

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


class BackboneSettings(Settings):
    """Input conventions and weights; mean, std and colour belong to the checkpoint, not to taste."""

    mean: Triple = Field(
        default=IMAGENET_MEAN, description="subtracted per channel, in [0, 1], in the order of `colour`"
    )
    std: Triple = Field(
        default=IMAGENET_STD, description="divides per channel, > 0, in the order of `colour`"
    )
    colour: Literal["rgb", "bgr"] = Field(
        default="rgb", description="channel order that the weights were trained with"
    )
    weights: str | None = Field(
        default=None, description="checkpoint file to start from; none = random initialisation"
    )

    @field_validator("mean")
    @classmethod
    def _in_unit_range(cls, mean: Triple) -> Triple:
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"every mean must lie in [0, 1], as images do. Received: {mean}")
        return mean

    @field_validator("std")
    @classmethod
    def _positive(cls, std: Triple) -> Triple:
        if not all(0 < value <= 1 for value in std):
            raise ValueError(f"every std must lie in (0, 1]. Received: {std}")
        return std


class Backbone(nn.Module):
    """Images to a feature map of `channels` channels; subclasses define `forward`, some `rename`."""

    channels: int

    def __init__(self, config: BackboneSettings) -> None:
        super().__init__()
        self.bgr = config.colour == "bgr"
        # Not persistent: they are settings, and a trunk's state dict holds the public checkpoint's keys only.
        self.register_buffer("channel_mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("channel_std", torch.tensor(config.std).view(3, 1, 1), persistent=False)
        self.channel_mean: Tensor
        self.channel_std: Tensor

    def normalise(self, images: Tensor) -> Tensor:
        """images: [b, 3, h, w] RGB in [0, 1] → (x − mean) / std in the backbone's colour order."""
        ordered = images.flip(1) if self.bgr else images
        return (ordered - self.channel_mean) / self.channel_std

    def rename(self, state: dict[str, Any]) -> dict[str, Any]:
        """A published checkpoint's entries under this module's names, without its unused layers."""
        return state

    def load_pretrained(self, state: Mapping[str, Any]) -> None:
        """Replace all weights by a checkpoint's.

        Args:
            state: the checkpoint as loaded; nesting under `state_dict` or `model` and the prefixes `module.`
                and `backbone.` are removed, and of a whole network only `backbone.*` is read.

        Raises:
            WeightsError: if a key is missing, unexpected or wrongly shaped; no weight has changed then.
        """
        fit(self, self.rename(unwrap(state)))


def unwrap(state: Mapping[str, Any]) -> dict[str, Any]:
    """The flat entries of a trunk inside the wrappers that training scripts put around it."""
    for key in ("state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            return unwrap(state[key])
    if state and all(key.startswith("module.") for key in state):
        return unwrap({key.removeprefix("module."): value for key, value in state.items()})
    trunk = {key.removeprefix("backbone."): v for key, v in state.items() if key.startswith("backbone.")}
    return unwrap(trunk) if trunk else dict(state)


def fit(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Load `state` into `module`, all or nothing.

    Files written by torch < 0.4.1 have no `num_batches_tracked`; with a fixed momentum that counter is
    unused, so its absence is accepted.

    Raises:
        WeightsError: listing missing, unexpected and wrongly shaped keys.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} {_shape(state[key])} instead of {_shape(value)}"
        for key, value in own.items()
        if key in state and _shape(state[key]) != _shape(value)
    ]
    if missing or unexpected or misshapen:
        raise WeightsError.of(missing, unexpected, misshapen)
    module.load_state_dict({**own, **state})


def _shape(value: object) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__
