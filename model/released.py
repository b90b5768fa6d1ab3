"""The checkpoints that RAPL's authors released, as whole networks of ours.

Their files hold `backbone.*`, `fc_age`, `fc_gender`, `fc_feature`, `fc_pos` and `parameter` (P), but neither
the age labels, which the width of the age head tells, nor the references: the position head is not ready.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from model.backbone_base import IMAGENET_MEAN, IMAGENET_STD, fit, flat
from model.errors import WeightsError
from model.heads import Evr
from model.ir import IR50
from model.network import Network
from model.rapl import NoPosition, Rapl

# The ages of AgeDB (none of 2 years), AFAD (none of 71) and CACD.
LABELS = {
    100: (1, *range(3, 102)),
    57: (*range(15, 71), 72),
    49: tuple(range(14, 63)),
}
NAMES = {
    "fc_age.": "age_head.linear.",
    "fc_gender.": "gender_head.linear.",
    "fc_feature.": "position_head.fc_feature.",
    "fc_pos.": "position_head.fc_pos.",
    "parameter": "position_head.P",
}


def load_released(state: Mapping[str, Any]) -> Network:
    """The network in a released checkpoint, in evaluation mode: ages and genders, no positions.

    Raises:
        WeightsError: if the file has no age head, one for another number of ages, or keys that do not fit.
    """
    entries = flat(state)
    if "fc_age.weight" not in entries:
        raise WeightsError("no released RAPL checkpoint: it has no fc_age.weight")
    ages = len(entries["fc_age.weight"])
    if ages not in LABELS:
        known = ", ".join(f"{count} ({labels[0]} to {labels[-1]})" for count, labels in LABELS.items())
        raise WeightsError(f"fc_age has {ages} ages; released label sets have {known}")
    backbone = IR50.Config(mean=IMAGENET_MEAN, std=IMAGENET_STD)
    config = Network.Config(
        backbone=backbone,
        age_head=Evr.Config(init="torch_default"),
        gender_head="fc_gender.weight" in entries,
        position_head=Rapl.Config() if "parameter" in entries else NoPosition(),
    )
    network = Network(config, LABELS[ages], age_mean=0.0, age_std=1.0)
    own = network.state_dict()
    # What the files do not hold: labels, which are known, and references, which are lost.
    kept = {key: own[key] for key in own if key.endswith(("labels", ".R", "has_references"))}
    fit(network, {**kept, **_renamed(backbone.build(), entries)})
    return network.eval()


def _renamed(backbone: IR50, entries: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inner = {key.removeprefix("backbone."): v for key, v in entries.items() if key.startswith("backbone.")}
    renamed = {f"backbone.{key}": value for key, value in backbone.rename(inner).items()}
    for key, value in entries.items():
        if not key.startswith("backbone."):
            start = next((prefix for prefix in NAMES if key.startswith(prefix)), "")
            renamed[NAMES[start] + key.removeprefix(start) if start else key] = value
    return renamed
