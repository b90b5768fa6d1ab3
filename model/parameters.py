"""Parameter groups: which learning rate and which weight decay each parameter gets."""

from __future__ import annotations

from typing import Any

from torch import nn

from model.network import Network


def groups(
    network: Network, lr: float, head_lr_scale: float, weight_decay: float, decay_all: bool
) -> list[dict[str, Any]]:
    """Optimiser groups with `name`, `params`, `lr` and `weight_decay`, none of them empty.

    The backbone learns at `lr`, neck and heads at `lr · head_lr_scale`. Vectors and scalars (norms, biases,
    PReLU slopes, P of equation 4) do not decay unless `decay_all`, as in the paper, where everything does.
    Parameters that need no gradient are left out.
    """
    split: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = "backbone" if name.startswith("backbone.") else "heads"
            split.setdefault((part, decay_all or parameter.ndim > 1), []).append(parameter)
    return [
        {
            "name": part if decays else f"{part}_no_decay",
            "params": parameters,
            "lr": lr if part == "backbone" else lr * head_lr_scale,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (part, decays), parameters in split.items()
    ]
