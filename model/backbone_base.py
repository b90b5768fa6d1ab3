"""What every backbone shares: colour and scale of its input, and how a checkpoint is fitted to it."""

from __future__ import annotations

import json
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

    name: str
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
        self.settings = config
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
            state: the checkpoint as loaded; nesting under `state_dict`, `model` or `network` and the prefixes
                `module.` and `backbone.` are removed, and of a whole network only `backbone.*` is read.

        Raises:
            WeightsError: if a key is missing, unexpected or wrongly shaped, or if a run's checkpoint was
                trained with another backbone or another normalisation; no weight has changed then.
        """
        self._require_convention(state)
        fit(self, self.rename(trunk(state)))

    def _require_convention(self, state: Mapping[str, Any]) -> None:
        """A run's checkpoint says what its backbone is and which images it was given."""
        told = run_config(state)
        if told is None:
            return
        if not told["model"]["train_backbone"]:
            raise WeightsError(
                "the checkpoint of a run with a fixed backbone holds no backbone; give the file that its"
                " backbone came from"
            )
        asked = self.settings.model_dump(mode="json")
        for name in ("name", "mean", "std", "colour"):
            theirs = told["model"]["backbone"][name]
            if theirs != asked[name]:
                raise WeightsError(
                    f"the checkpoint was trained with model.backbone.{name} {theirs}; received {asked[name]}"
                )


def run_config(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The configuration in a checkpoint of one of our runs; none for any other file."""
    if "network" not in state or not isinstance(state.get("config"), str):
        return None
    config: dict[str, Any] = json.loads(state["config"])
    return config


def flat(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's entries without the wrappers that training scripts put around a state dict."""
    for key in ("state_dict", "model", "network"):
        if isinstance(state.get(key), Mapping):
            return flat(state[key])
    if state and all(key.startswith("module.") for key in state):
        return flat({key.removeprefix("module."): value for key, value in state.items()})
    return dict(state)


def trunk(state: Mapping[str, Any]) -> dict[str, Any]:
    """The flat entries of a backbone, alone or inside a whole network."""
    entries = flat(state)
    inner = {key.removeprefix("backbone."): v for key, v in entries.items() if key.startswith("backbone.")}
    return trunk(inner) if inner else entries


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
