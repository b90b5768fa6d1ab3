"""How a trained backbone's arithmetic is carried out: memory layout and compilation.

Neither is part of what a run is: both change the order of roundings, as another device does. What changes
the numbers themselves is `train.precision`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.backbones import Backbone
from orchestration.errors import UserError, first_line
from orchestration.study import Resources


@dataclass(frozen=True)
class Kernels:
    """`resources.compile` and `resources.channels_last`."""

    compile: bool = False
    channels_last: bool = True


PLAIN = Kernels()


def chosen(resources: Resources) -> Kernels:
    """What a study asks for."""
    return Kernels(resources.compile, resources.channels_last)


def prepare(backbone: Backbone, kernels: Kernels) -> None:
    """Lay out and compile a backbone in place: its parameters' names and its outputs stay."""
    layout = torch.channels_last if kernels.channels_last else torch.contiguous_format
    backbone.to(memory_format=layout)  # type: ignore[call-overload]

    def lay_out(_: Any, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0].contiguous(memory_format=layout)

    backbone.register_forward_pre_hook(lay_out)
    if kernels.compile:
        # A reused trial actor would run into the limit of recompilations, and go on uncompiled.
        torch._dynamo.reset()
        backbone.compile()


def require(kernels: Kernels, device: str) -> None:
    """Raise UserError where compilation is asked for and this machine cannot do it on `device`."""
    problem = compiler_problem(device) if kernels.compile else None
    if problem is not None:
        raise UserError(problem)


def compiler_problem(device: str) -> str | None:
    """Why torch.compile does not work here on `device`; none where it does. Takes seconds."""
    needed = "Triton" if device == "cuda" else "a C++ compiler"
    try:
        torch.compile(_probe)(torch.ones(8, device=device))
    except Exception as error:  # inductor's errors have no common class
        reason = first_line(error)
        return (
            f"resources.compile: torch.compile does not work on this machine's {device} ({reason[:200]});"
            f" install {needed}, or set resources.compile=false"
        )
    finally:
        torch._dynamo.reset()
    return None


def _probe(values: Tensor) -> Tensor:
    return (values * 2).sin().sum()
