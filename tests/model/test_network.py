"""The whole network: every combination of heads trains; frozen mode equals the backbone's features."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from model.heads import AgeHeadConfig
from model.necks import NeckConfig
from model.network import Network, average_pool
from model.rapl import PositionHeadConfig, Rapl

LABELS = [1, 3, 4, 7, 20]
# The age head begins at random: from zeros neither its estimate nor its gradient would depend on the input.
SMALL: dict[str, Any] = {
    "backbone": {"name": "small_ir", "width": 8},
    "age_head": {"name": "evr", "init": "torch_default"},
}
AGE = torch.tensor([1.0, 3.4, 7.0, 20.0, 55.0, 2.0])
GENDER = torch.tensor([0, 1, -1, 1, 0, -1])


def names(union: Any) -> list[str]:
    return [member().name for member in get_args(get_args(union)[0])]


def build(feature_channels: int | None = None, **settings: Any) -> Network:
    torch.manual_seed(0)
    config = Network.Config.model_validate(SMALL | settings)
    return Network(config, LABELS, age_mean=10.0, age_std=6.0, feature_channels=feature_channels)


def images(batch: int = 6) -> Tensor:
    return torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))


# Heads that train on classes, for which an age outside the labels is an error.
CLASS_HEADS = {"ce", "dex", "mean_variance", "or_cnn", "coral", "corn", "condor"}


def ages(age_head: str) -> Tensor:
    """Of AGE, 55 and 2 are no labels."""
    return torch.where((AGE == 55) | (AGE == 2), 4.0, AGE) if age_head in CLASS_HEADS else AGE


COMBINATIONS = list(itertools.product(names(AgeHeadConfig), [True, False], names(PositionHeadConfig)))


@pytest.mark.parametrize(("age_head", "gender_head", "position_head"), COMBINATIONS)
def test_every_combination_of_heads_trains_a_step_and_takes_a_batch_of_one(
    age_head: str, gender_head: bool, position_head: str
) -> None:
    network = build(
        age_head={"name": age_head}, gender_head=gender_head, position_head={"name": position_head}
    )
    age = ages(age_head)
    terms = network.losses(network(images()), age, GENDER)
    counts = [int(count) for count in terms[1::2]]
    inside = 6 if age_head in CLASS_HEADS else 4
    # Two genders are unknown.
    assert counts == [6, 4 if gender_head else 0, inside if position_head != "none" else 0]
    total = terms.age_sum + terms.gender_sum + terms.position_sum
    assert torch.isfinite(total)
    total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    torch.optim.SGD(network.parameters(), lr=1e-3).step()
    single = network.eval()(images(1))
    assert network.predict_age(single).shape == (1,)


@pytest.mark.parametrize("neck", names(NeckConfig))
@pytest.mark.parametrize("age_head", names(AgeHeadConfig))
def test_frozen_mode_takes_features_and_works_in_float64(neck: str, age_head: str) -> None:
    network = build(9, neck={"name": neck}, age_head={"name": age_head}).double()
    outputs = network(torch.randn(6, 9, dtype=torch.float64))
    terms = network.losses(outputs, ages(age_head).double(), GENDER)
    assert {term.dtype for term in terms} == {torch.float64}
    assert network.backbone is None and network.predict_age(outputs).dtype == torch.float64


@pytest.mark.parametrize("age_head", sorted(CLASS_HEADS))
def test_heads_on_classes_name_an_age_outside_the_labels(age_head: str) -> None:
    network = build(9, age_head={"name": age_head})
    with pytest.raises(ValueError, match="age 55 is not among the 5 age labels from 1 to 20"):
        network.losses(network(torch.randn(6, 9)), AGE, GENDER)


def test_losses_are_sums_over_known_labels() -> None:
    network = build().eval()
    outputs = network(images())
    terms = network.losses(outputs, AGE, GENDER)
    known, inside = GENDER >= 0, torch.tensor([0, 1, 2, 3])
    assert outputs.gender is not None and outputs.position is not None
    age_sum = (network.predict_age(outputs) - AGE).abs().sum()
    gender_sum = nn.functional.cross_entropy(outputs.gender[known], GENDER[known], reduction="sum")
    places = torch.tensor([0, 1, 3, 4])
    position_sum = nn.functional.cross_entropy(outputs.position[inside], places, reduction="sum")
    for term, expected in zip(terms[::2], (age_sum, gender_sum, position_sum), strict=True):
        torch.testing.assert_close(term, expected)


def test_features_precomputed_by_the_backbone_give_the_same_outputs() -> None:
    whole = build(train_backbone=False)
    assert whole.backbone is not None
    features = average_pool(whole.backbone(images()))
    whole.set_feature_statistics(features.mean(0), features.std(0))
    frozen = build(feature_channels=whole.backbone.channels, train_backbone=False)
    heads = {key: value for key, value in whole.state_dict().items() if not key.startswith("backbone.")}
    frozen.load_state_dict(heads)
    torch.testing.assert_close(frozen(features).age, whole(images()).age)


def test_features_are_standardised_and_noise_is_added_after_that() -> None:
    network = build(3)
    mean, std = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 4.0])
    network.set_feature_statistics(mean, std)
    outputs = network(torch.tensor([[3.0, 5.0, 3.0]]), noise=torch.tensor([[0.5, 0.0, 0.0]]))
    # (3 − 1)/2 + 0.5; a constant channel is divided by 1; 0.
    torch.testing.assert_close(outputs.features, torch.tensor([[1.5, 3.0, 0.0]]))


def test_statistics_and_noise_are_refused_where_the_backbone_is_trained() -> None:
    network = build()
    with pytest.raises(ValueError, match="train_backbone"):
        network.set_feature_statistics(torch.zeros(16), torch.ones(16))
    with pytest.raises(ValueError, match="train_backbone"):
        network(images(), noise=torch.zeros(6, 16))


@pytest.mark.parametrize(
    ("mean", "std"), [([0.0], [1.0]), ([0.0, torch.nan], [1.0, 1.0]), ([0.0, 0.0], [1.0, -1.0])]
)
def test_wrong_statistics_are_refused(mean: list[float], std: list[float]) -> None:
    with pytest.raises(ValueError, match="must"):
        build(2).set_feature_statistics(torch.tensor(mean), torch.tensor(std))


def test_a_fixed_backbone_keeps_weights_and_statistics_while_training() -> None:
    network = build(train_backbone=False).train()
    assert network.backbone is not None
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    network.losses(network(images()), AGE, GENDER).age_sum.backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.backbone.state_dict().items())


@pytest.mark.parametrize(("batch_norm", "moves"), [("frozen", False), ("local", True), ("sync", True)])
def test_frozen_batch_norm_keeps_statistics_but_trains_scales(batch_norm: str, moves: bool) -> None:
    network = build(batch_norm=batch_norm).train()
    assert network.backbone is not None
    norm = network.backbone.input_layer[1]
    before = norm.running_mean.clone()
    network.losses(network(images()), AGE, GENDER).age_sum.backward()
    assert torch.equal(norm.running_mean, before) is not moves
    assert norm.weight.grad.any()


def test_frozen_batch_norm_leaves_the_neck_in_train_mode() -> None:
    network = build(batch_norm="frozen", neck={"name": "mlp", "norm": "batch"}).train()
    assert network.neck.training and network.neck.layers[1].training


def test_a_position_is_read_as_a_label_once_references_are_set() -> None:
    network = build(3)
    outputs = network(torch.randn(2, 3))
    assert network.predict_position_age(outputs) is None
    assert isinstance(network.position_head, Rapl)
    network.position_head.set_references(torch.randn(5, 3))
    likeliest = torch.tensor([[0.0, 0, 0, 9, 0], [9.0, 0, 0, 0, 0]])
    ages = network.predict_position_age(outputs._replace(position=likeliest))
    assert ages is not None and ages.tolist() == [7.0, 1.0]


def test_no_position_head_predicts_no_position() -> None:
    network = build(3, position_head={"name": "none"})
    assert network.predict_position_age(network(torch.randn(2, 3))) is None


def test_autocast_gives_finite_losses_in_float32() -> None:
    network = build()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(images())
        terms = network.losses(outputs, AGE, GENDER)
    assert {term.dtype for term in terms} == {torch.float32} and outputs.features.dtype == torch.float32
    assert all(term.isfinite() for term in terms)


@pytest.mark.parametrize("labels", [[], [3, 1], [1, 1]])
def test_labels_must_ascend(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        Network(Network.Config.model_validate(SMALL), labels, 10.0, 6.0)


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="agehead"):
        Network.Config.model_validate({"agehead": {"name": "evr"}})


def test_the_config_survives_being_written_and_read() -> None:
    config = Network.Config.model_validate(SMALL | {"neck": {"name": "mlp", "width": 8}})
    assert Network.Config.model_validate(config.model_dump(mode="json")) == config


HEADS = [
    {"gender_head": gender, "position_head": {"name": position}}
    for gender in (True, False)
    for position in ("none", "aux_ce", "rapl")
]


@pytest.mark.parametrize("channels", [None, 12])
def test_one_seed_starts_a_part_alike_whatever_other_parts_there_are(channels: int | None) -> None:
    """An ablation's variants of one seed are pairs: a head more moves no other part's initial weights."""
    neck = {"name": "mlp", "width": 7}
    networks = [build(channels, neck=neck, **heads) for heads in HEADS]
    networks.append(build(channels, neck=neck, age_head={"name": "fc"}))
    starts: dict[str, list[Tensor]] = {}
    for network in networks:
        for name, value in network.named_parameters():
            if not (name.startswith("age_head") and network is networks[-1]):
                starts.setdefault(name, []).append(value)
    parts = {name.split(".")[0] for name in starts}
    assert parts >= {"neck", "age_head", "gender_head", "position_head"}
    for name, values in starts.items():
        assert all(torch.equal(values[0], other) for other in values), name


def test_networks_made_one_after_the_other_start_differently() -> None:
    torch.manual_seed(0)
    config = Network.Config.model_validate(SMALL)
    first, second = (Network(config, LABELS, 10.0, 6.0) for _ in range(2))
    starts = (next(network.age_head.parameters()) for network in (first, second))
    assert not torch.equal(*starts)
