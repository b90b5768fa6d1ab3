"""What every age head owes: numbers under extreme logits, learning, gaps, and NaN that stays NaN."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from model.heads import AgeHeadConfig, Evr

MEMBERS = get_args(get_args(AgeHeadConfig)[0])
LABELS = torch.tensor([20.0, 21, 22, 25, 30, 31, 32, 33, 40, 50])
AGE = torch.tensor([20.0, 22, 31.2, 50])


def variants() -> list[Any]:
    """Every head with each of its decodings, and CONDOR's second loss."""
    configs = []
    for member in MEMBERS:
        field = member.model_fields.get("decode")
        for decode in get_args(field.annotation) if field else [None]:
            configs.append(member() if decode is None else member(decode=decode))
    condor = next(member for member in MEMBERS if member().name == "condor")
    return [*configs, condor(loss="ordinal_cross_entropy")]


def named(config: Any) -> str:
    return "-".join(str(value) for value in config.model_dump().values() if isinstance(value, str))


def build(config: Any, channels: int = 3) -> Any:
    torch.manual_seed(0)
    return config.build(channels, LABELS, age_mean=30.0, age_std=8.0)


def extremes(width: int | None) -> Tensor:
    """Outputs [4, width] (or [4]) of ±1e4 in several patterns."""
    shape = (4,) if width is None else (4, width)
    signs = torch.ones(shape)
    signs[1] = -1
    if width is not None:
        signs[2, ::2] = -1
        signs[3, 1:] = -1
    return signs * 1e4


@pytest.mark.parametrize(
    ("config", "dtype"),
    list(product(variants(), [torch.bfloat16, torch.float16, torch.float32])),
    ids=lambda value: str(value) if isinstance(value, torch.dtype) else named(value),
)
def test_no_nan_for_extreme_logits_under_autocast(config: Any, dtype: torch.dtype) -> None:
    head = build(config)
    like = head(torch.zeros(4, 3))
    outputs = extremes(None if like.dim() == 1 else like.shape[1]).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        loss, estimate = head.loss(outputs, AGE), head.decode(outputs)
    assert loss.shape == estimate.shape == (4,)
    assert loss.dtype == estimate.dtype == torch.float32
    assert loss.isfinite().all() and estimate.isfinite().all()
    # In the outputs' own dtype: float16 itself would overflow.
    exact = outputs.detach().float().requires_grad_()
    assert torch.autograd.grad(head.loss(exact, AGE).sum(), exact)[0].isfinite().all()


@pytest.mark.parametrize("config", variants(), ids=named)
def test_nan_is_not_decoded_as_an_age(config: Any) -> None:
    head = build(config)
    outputs = head(torch.randn(4, 3)).detach()
    outputs[2] = torch.nan
    assert head.decode(outputs).isnan().tolist() == [False, False, True, False]


@pytest.mark.parametrize("config", variants(), ids=named)
def test_training_on_separable_features_beats_the_best_constant(config: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    age = LABELS[torch.randint(len(LABELS), (160,), generator=generator)]
    features = torch.randn(160, 6, generator=generator)
    # The age is the first channel; a bump per decade lets one linear layer separate the labels.
    features[:, 0] = (age - 30) / 8
    for column, centre in ((1, 20), (2, 30), (3, 40), (4, 50)):
        features[:, column] = torch.exp(-(((age - centre) / 8) ** 2))
    head = build(config, channels=6)
    # The raw output of fc has to travel from 0 to the ages.
    optimizer = torch.optim.Adam(head.parameters(), lr=0.5 if config.name == "fc" else 0.05)
    for _ in range(200):
        optimizer.zero_grad()
        head.loss(head(features), age).mean().backward()
        optimizer.step()
    constant = (age - age.median()).abs().mean()
    assert (head.decode(head(features)) - age).abs().mean() < 0.5 * constant


@pytest.mark.parametrize("config", variants(), ids=named)
def test_a_sample_does_not_depend_on_its_batch(config: Any) -> None:
    head, features = build(config).double(), torch.randn(4, 3, dtype=torch.float64)
    outputs, age = head(features), AGE.double()
    for row in range(4):
        alone = slice(row, row + 1)
        torch.testing.assert_close(head.loss(outputs, age)[alone], head.loss(outputs[alone], age[alone]))
        torch.testing.assert_close(head.decode(outputs)[alone], head.decode(outputs[alone]))


@pytest.mark.parametrize("config", variants(), ids=named)
def test_the_settings_and_the_state_survive_being_written_and_read(config: Any) -> None:
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    torch.manual_seed(1)
    other = config.build(3, LABELS, age_mean=0.0, age_std=1.0)
    head, features = build(config), torch.randn(4, 3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.decode(other(features)), head.decode(head(features)))


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member().name)
def test_every_number_is_described_and_has_bounds(member: Any) -> None:
    for name, field in member.model_fields.items():
        if name == "name":
            continue
        assert field.description
        if field.annotation in (int, float):
            assert len(field.metadata) >= 2


def test_evr_is_the_only_head_that_begins_at_zero() -> None:
    for member in MEMBERS:
        outputs = build(member())(torch.randn(4, 3))
        assert bool(outputs.any()) is (member is not Evr.Config)
