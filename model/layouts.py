"""Known checkpoint layouts: which file is this, what does it fit, and what may be fed to it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch
from pydantic import TypeAdapter

from model.backbone_base import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    BackboneSettings,
    Triple,
    flat,
    run_config,
    trunk,
)
from model.backbones import BackboneConfig, OnnxBackbone
from model.ir import IRConfig

HALF: Triple = (0.5, 0.5, 0.5)
RELEASED_KEYS = {"fc_age.weight", "fc_feature.weight", "fc_pos.weight", "parameter"}


@dataclass(frozen=True)
class Layout:
    """A kind of file; mean and std are none where its keys cannot tell how it was trained."""

    name: str
    mean: Triple | None = None
    std: Triple | None = None


@dataclass(frozen=True)
class Match:
    """How a checkpoint's entries compare with a backbone's."""

    settings: BackboneSettings
    matched: int
    missing: list[str]
    unexpected: list[str]

    @property
    def whole(self) -> bool:
        """Whether the checkpoint can be loaded into this backbone."""
        return not self.missing and not self.unexpected and self.matched > 0


def layout_of(state: Mapping[str, Any]) -> Layout:
    """What a state dict is, by its keys."""
    told = run_config(state)
    if told is not None:
        backbone = told["model"]["backbone"]
        return Layout("a run of this project", tuple(backbone["mean"]), tuple(backbone["std"]))
    entries = flat(state)
    if entries.keys() >= RELEASED_KEYS:
        return Layout("RAPL as released by its authors", IMAGENET_MEAN, IMAGENET_STD)
    keys = trunk(state).keys()
    if "body.0.res_layer.0.weight" in keys:
        return Layout("face.evoLVe IR trunk", HALF, HALF)
    if "body1.0.res_layer.0.weight" in keys:
        return Layout("IR trunk with stages body1 to body3, as POSTER++ and this project name them")
    if "layer1.0.conv1.weight" in keys and "conv1.weight" in keys:
        return Layout("ResNet with torchvision's names", IMAGENET_MEAN, IMAGENET_STD)
    if "gdconv.depthwise.weight" in keys or "dw_conv.depthwise.weight" in keys:
        return Layout("MobileFaceNet of foamliu", IMAGENET_MEAN, IMAGENET_STD)
    return Layout("unknown")


def matches(state: Mapping[str, Any]) -> list[Match]:
    """The comparison with the backbones that it may be of, best first.

    A run's checkpoint names its own; any other file is compared with every one at its default size.
    """
    told = run_config(state)
    if told is not None:
        own: BackboneSettings = TypeAdapter(BackboneConfig).validate_python(told["model"]["backbone"])
        candidates = [own]
    else:
        members = get_args(get_args(BackboneConfig)[0])
        candidates = [member() for member in members if member is not OnnxBackbone.Config]
    found = []
    for settings in candidates:
        with torch.device("meta"):
            found.append(compared(settings.build(), state))  # type: ignore[attr-defined]
    return sorted(found, key=lambda m: (len(m.missing) + len(m.unexpected), -m.matched))


def compared(backbone: Backbone, state: Mapping[str, Any]) -> Match:
    """Names and shapes of a checkpoint beside a backbone's; a wrong shape is missing and unexpected."""
    own = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    given = {key: tuple(getattr(value, "shape", ())) for key, value in backbone.rename(trunk(state)).items()}
    same = {key for key in own if given.get(key) == own[key]}
    missing = [key for key in own if key not in same and not key.endswith("num_batches_tracked")]
    return Match(backbone.settings, len(same), missing, [key for key in given if key not in same])


def normalisation_problem(settings: BackboneSettings, state: Mapping[str, Any]) -> str | None:
    """What to say where neither a checkpoint's keys nor the settings given tell mean and std.

    Only the IR trunks have public files under the same names that were trained differently.
    """
    layout = layout_of(state)
    given = {"mean", "std"} <= settings.model_fields_set
    if layout.mean is not None or given or not isinstance(settings, IRConfig):
        return None
    return (
        f"{layout.name}: nothing in the file tells its normalisation, and public files differ; give"
        " model.backbone.mean and model.backbone.std ([0.5, 0.5, 0.5] for face.evoLVe's weights,"
        " [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225] for ImageNet's and the paper's)"
    )
