"""Parameter groups: rates and decay."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.network import Network
from model.parameters import groups


def build(feature_channels: int | None = None, **settings: Any) -> Network:
    settings = {
        "backbone": {"name": "small_ir", "width": 8},
        "neck": {"name": "mlp", "norm": "batch"},
    } | settings
    return Network(Network.Config.model_validate(settings), [1, 3, 4], 3.0, 1.0, feature_channels)


def by_name(network: Network, decay_all: bool, p_lr_scale: float = 1.0) -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter; fails if one is in two groups."""
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    found: dict[str, tuple[float, float]] = {}
    for group in groups(
        network, lr=0.1, head_lr_scale=5.0, p_lr_scale=p_lr_scale, weight_decay=0.01, decay_all=decay_all
    ):
        for parameter in group["params"]:
            assert name_of[id(parameter)] not in found
            found[name_of[id(parameter)]] = (group["lr"], group["weight_decay"])
    return found


def test_heads_learn_faster_and_norms_biases_and_p_do_not_decay() -> None:
    network = build()
    found = by_name(network, decay_all=False)
    assert found.keys() == dict(network.named_parameters()).keys()
    assert found["backbone.input_layer.0.weight"] == (0.1, 0.01)
    assert found["backbone.input_layer.1.weight"] == (0.1, 0.0)
    assert found["neck.layers.0.weight"] == (0.5, 0.01)
    assert found["neck.layers.1.weight"] == found["age_head.linear.bias"] == (0.5, 0.0)
    assert found["position_head.P"] == (0.5, 0.0)
    assert found["position_head.fc_feature.weight"] == (0.5, 0.01)


def test_the_papers_recipe_decays_everything() -> None:
    assert {decay for _, decay in by_name(build(), decay_all=True).values()} == {0.01}


def test_a_fixed_backbone_has_no_group() -> None:
    for network in (build(train_backbone=False), build(feature_channels=8)):
        found = groups(network, 0.1, 1.0, 1.0, 0.01, decay_all=False)
        assert {group["name"] for group in found} == {"heads", "heads_no_decay", "P_no_decay"}
        backbone = [p for name, p in network.named_parameters() if name.startswith("backbone.")]
        grouped = {id(parameter) for group in found for parameter in group["params"]}
        assert grouped.isdisjoint(map(id, backbone))
        torch.optim.AdamW(found)


@pytest.mark.parametrize("decay_all", [False, True])
def test_p_alone_learns_at_its_own_rate(decay_all: bool) -> None:
    network = build()
    plain, scaled = by_name(network, decay_all), by_name(network, decay_all, p_lr_scale=40.0)
    assert scaled.keys() == plain.keys() == dict(network.named_parameters()).keys()
    assert scaled.pop("position_head.P") == (pytest.approx(0.1 * 5 * 40), 0.01 if decay_all else 0.0)
    del plain["position_head.P"]
    assert scaled == plain


def test_a_network_without_p_has_no_group_for_it() -> None:
    network = build(position_head={"name": "aux_ce"})
    found = groups(network, 0.1, 1.0, 40.0, 0.01, decay_all=False)
    assert {group["name"] for group in found} == {"backbone", "backbone_no_decay", "heads", "heads_no_decay"}
    assert all(group["params"] for group in found)
