"""Heads and losses in at least float32, whatever autocast does around them.

bfloat16 resolves an age of 64–128 years to half a year only, and the heads are too small for their speed to
matter.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def at_least_float32(values: Tensor) -> Tensor:
    """`values` in float32 where they are float16 or bfloat16, else unchanged (float64 stays float64)."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def exact_linear(layer: nn.Linear, features: Tensor) -> Tensor:
    """`layer(features)` [b, out] in the layer's own dtype, outside autocast."""
    with torch.autocast(features.device.type, enabled=False):
        outputs: Tensor = layer(features.to(layer.weight.dtype))
    return outputs
