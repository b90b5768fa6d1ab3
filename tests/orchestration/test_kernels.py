"""Layout, compilation and bfloat16 of a trained backbone: the same run, in other roundings."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.inputs import Inputs
from orchestration.kernels import PLAIN, Kernels, chosen
from orchestration.study import Resources
from orchestration.train import train
from orchestration.training import Training

Build = Callable[..., Training]
CPU = torch.device("cpu")
NUMBERS = ("train/age_loss", "train/gender_loss", "val/age_mae", "val/age_rmse", "val/gender_accuracy")
# Small IR trunks lay themselves out.
RESNET = {"model.backbone.name": "resnet18", "model.backbone.weights": None}


@pytest.fixture
def build(config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path) -> Build:
    def make(kernels: Kernels, **values: Any) -> Training:
        run = config({"model.backbone.weights": str(weights), **values})
        return Training(run, prepared(run), CPU, kernels)

    return make


def maps(training: Training) -> list[Tensor]:
    """What the first convolution of the backbone will put out, batch by batch."""
    seen: list[Tensor] = []
    backbone = training.network.backbone
    assert backbone is not None
    convolution = next(m for m in backbone.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda _, __, output: seen.append(output))
    return seen


@pytest.mark.parametrize("last", [True, False])
def test_the_layout_is_the_one_asked_for(build: Build, last: bool) -> None:
    training = build(Kernels(channels_last=last), **RESNET)
    seen = maps(training)
    training.evaluate("val")
    assert seen and all(m.is_contiguous(memory_format=torch.channels_last) is last for m in seen)


def test_another_layout_is_the_same_run(build: Build) -> None:
    values = {"train.precision": "float64", "augment.name": "face_safe", **RESNET}
    plain, other = build(PLAIN, **values), build(Kernels(channels_last=False), **values)
    line, expected = other.step(), plain.step()
    assert [line[key] for key in NUMBERS] == pytest.approx([expected[key] for key in NUMBERS], abs=1e-9)
    assert other.state()["network"].keys() == plain.state()["network"].keys()


@pytest.mark.slow  # a minute of C++ compilation
def test_a_compiled_backbone_is_the_same_run(build: Build) -> None:
    values = {"train.precision": "float64", "train.epochs": 1}
    plain, compiled = build(PLAIN, **values), build(Kernels(compile=True), **values)
    torch._dynamo.utils.counters.clear()
    line, expected = compiled.step(), plain.step()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 2  # training and evaluation
    assert [line[key] for key in NUMBERS] == pytest.approx([expected[key] for key in NUMBERS], abs=1e-9)
    weights, others = plain.state()["network"], compiled.state()["network"]
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=0, atol=1e-9)


def test_bfloat16_convolves_in_bfloat16_and_keeps_parameters_and_ages_in_float32(build: Build) -> None:
    precisions = ("bfloat16", "float32")
    half, single = (build(PLAIN, **{"train.precision": name, **RESNET}) for name in precisions)
    seen = maps(half)
    found, expected = half.evaluate("val")["age_mae"], single.evaluate("val")["age_mae"]
    assert {m.dtype for m in seen} == {torch.bfloat16}
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    # bfloat16 has 8 bits: errors agree to a few per cent, and ages themselves are not rounded to it.
    assert found == pytest.approx(expected, rel=0.05)
    assert half.network.age_head.decode(torch.zeros(1, 80)).dtype == torch.float32


def test_an_epoch_in_bfloat16_trains_and_stays_near_float32(build: Build) -> None:
    lines = [build(PLAIN, **{"train.precision": p}).step() for p in ("bfloat16", "float32")]
    low, full = ([line[key] for key in NUMBERS] for line in lines)
    # bfloat16 keeps 8 bits: a relative error of 1/256 a product, a few per cent over an epoch's steps.
    assert low == pytest.approx(full, rel=0.05) and low != full


def test_nothing_is_compiled_unless_it_is_asked_for() -> None:
    assert chosen(Resources()) == PLAIN == Kernels(compile=False, channels_last=True)
    asked = Resources(compile=True, channels_last=False)
    assert chosen(asked) == Kernels(compile=True, channels_last=False)


def test_a_machine_that_cannot_compile_says_so_before_anything_runs(
    arguments: Callable[..., Namespace],
    document: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    document["resources"]["compile"] = True
    with pytest.raises(UserError) as raised:
        train(arguments({**document, "space": {}}))
    message = str(raised.value)
    assert message.startswith("resources.compile: torch.compile does not work on this machine's cpu (")
    assert message.endswith("install a C++ compiler, or set resources.compile=false")
    assert "\n" not in message
    assert not list((tmp_path / "runs").rglob("state.json"))
