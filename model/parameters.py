"""Parameter groups: which learning rate and which weight decay each parameter gets."""

from __future__ import annotations

from typing import Any

from torch import nn

from model.network import Network

P_NAME = "position_head.P"


def groups(
    network: Network,
    lr: float,
    head_lr_scale: float,
    p_lr_scale: float,
    weight_decay: float,
    decay_all: bool,
) -> list[dict[str, Any]]:
    """Optimiser groups with `name`, `params`, `lr` and `weight_decay`, none of them empty.

    The backbone learns at `lr`, neck and heads at `lr · head_lr_scale`, P of equation 4 at `p_lr_scale` times
    that: in the paper's schedule an entry of P can travel 0.016 in all, so it stays where it began. Vectors
    and scalars (norms, biases, PReLU slopes, P) do not decay unless `decay_all`, as in the paper, where
    everything does.
    Parameters that need no gradient are left out.
    """
    scales = {"backbone": 1.0, "heads": head_lr_scale, "P": head_lr_scale * p_lr_scale}
    split: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            part = "backbone" if name.startswith("backbone.") else "P" if name == P_NAME else "heads"
            split.setdefault((part, decay_all or parameter.ndim > 1), []).append(parameter)
    return [
        {
            "name": part if decays else f"{part}_no_decay",
            "params": parameters,
            "lr": lr * scales[part],
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (part, decays), parameters in split.items()
    ]
