"""Necks: width, layer order, and a batch of one."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import nn

from model.necks import Mlp, NeckConfig

MEMBERS = get_args(get_args(NeckConfig)[0])


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_out_features_is_the_width_that_comes_out(member: Any) -> None:
    neck = member().build(6)
    assert neck(torch.randn(3, 6)).shape == (3, neck.out_features)


@pytest.mark.parametrize(
    ("norm", "kind"), [("none", None), ("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)]
)
def test_mlp_layers_are_linear_norm_prelu_dropout(norm: str, kind: type[nn.Module] | None) -> None:
    neck = Mlp.Config.model_validate({"width": 4, "depth": 2, "dropout": 0.5, "norm": norm}).build(6)
    one = [nn.Linear, *([kind] if kind else []), nn.PReLU, nn.Dropout]
    assert [type(layer) for layer in neck.layers] == one * 2
    assert neck.eval()(torch.randn(1, 6)).isfinite().all()
