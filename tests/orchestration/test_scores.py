"""What a part says of a network: position loss, reference effect and agreement as loops over samples."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from model.metrics import Metrics
from model.network import Network
from model.rapl import Rapl
from orchestration.scores import Scores

LABELS = [10, 11, 13, 14, 20, 22, 30]
CHANNELS = 6
SEED = 7

Faces = tuple[Tensor, Tensor, Tensor, Tensor]  # features, age, gender, position


def build(position_head: str = "rapl", references: bool = True, **head: Any) -> Network:
    torch.manual_seed(0)
    values = {
        "age_head": {"name": "evr", "init": "torch_default"},
        "position_head": {"name": position_head, **head},
        "train_backbone": False,
    }
    config = Network.Config.model_validate(values)
    network = Network(config, LABELS, 15.0, 5.0, feature_channels=CHANNELS).double().eval()
    if references and isinstance(network.position_head, Rapl):
        network.position_head.set_references(torch.randn(len(LABELS), CHANNELS, dtype=torch.float64))
    return network


def faces(count: int = 40) -> Faces:
    random = torch.Generator().manual_seed(1)
    features = 3 * torch.randn(count, CHANNELS, dtype=torch.float64, generator=random)
    position = torch.randint(-1, len(LABELS), (count,), generator=random)
    age = torch.tensor([99.0 if p < 0 else LABELS[p] for p in position.tolist()], dtype=torch.float64)
    gender = torch.randint(-1, 2, (count,), generator=random)
    return features, age, gender, position


def scored(network: Network, *batches: Faces, seed: int = SEED) -> Scores:
    scores = Scores(network, seed, agreement=True)
    with torch.no_grad():
        for features, age, gender, position in batches:
            scores.add(network(features), age, gender, position)
    return scores


def naive_loss(logits: Tensor, position: Tensor) -> float:
    """Mean of eq. (7) over samples with a position."""
    losses = []
    for row, place in zip(logits.tolist(), position.tolist(), strict=True):
        if place >= 0:
            losses.append(math.log(sum(math.exp(value) for value in row)) - row[place])
    return sum(losses) / len(losses)


def test_the_position_loss_is_a_mean_over_samples_with_a_position() -> None:
    network, part = build(), faces()
    assert int((part[3] < 0).sum()) > 0
    logits = network(part[0]).position
    assert logits is not None
    values = scored(network, part).metrics()
    assert values["position_loss"] == pytest.approx(naive_loss(logits, part[3]), abs=1e-12)


def test_the_reference_effect_is_what_shuffling_the_references_adds_to_the_position_loss() -> None:
    network, part = build(), faces()
    head = network.position_head
    assert isinstance(head, Rapl)
    before = scored(network, part).metrics()["position_loss"]
    effects = []
    for seed in range(4):
        scores = scored(network, part, seed=seed)
        other = build()
        assert isinstance(other.position_head, Rapl)
        other.position_head.set_references(head.R[scores._order])
        after = scored(other, part).metrics()["position_loss"]
        assert scores.reference_effect() == pytest.approx(after - before, abs=1e-12)
        assert sorted(scores._order.tolist()) == list(range(len(LABELS)))
        effects.append(scores.reference_effect())
    assert len(set(effects)) == 4 and 0.0 not in effects
    assert torch.equal(head.R, build().state_dict()["position_head.R"])


def test_references_that_are_all_alike_have_no_effect() -> None:
    network = build()
    assert isinstance(network.position_head, Rapl)
    network.position_head.set_references(torch.ones(len(LABELS), CHANNELS, dtype=torch.float64))
    assert scored(network, faces()).reference_effect() == pytest.approx(0, abs=1e-12)


def test_before_its_first_references_a_position_head_says_nothing() -> None:
    scores = scored(build(references=False), faces())
    assert "position_loss" not in scores.metrics() and "age_mae" in scores.metrics()
    assert scores.reference_effect() is None and scores.agreeing() is None


def test_a_head_without_references_has_a_loss_and_agreement_but_no_effect() -> None:
    network, part = build("aux_ce"), faces()
    scores, logits = scored(network, part), network(part[0]).position
    assert logits is not None and scores.reference_effect() is None
    assert scores.metrics()["position_loss"] == pytest.approx(naive_loss(logits, part[3]), abs=1e-12)
    assert scores.agreeing() is not None


def test_without_a_position_head_there_are_metrics_of_age_and_gender_alone() -> None:
    scores = scored(build("none"), faces())
    assert "position_loss" not in scores.metrics()
    assert scores.reference_effect() is None and scores.agreeing() is None


def test_agreement_counts_samples_whose_two_ages_are_at_most_t_years_apart() -> None:
    network, part = build(), faces()
    outputs = network(part[0])
    assert outputs.position is not None
    expected = [0] * 11
    for predicted, logits in zip(
        network.predict_age(outputs).tolist(), outputs.position.tolist(), strict=True
    ):
        gap = abs(predicted - LABELS[logits.index(max(logits))])
        for tolerance in range(11):
            expected[tolerance] += gap <= tolerance
    agreeing = scored(network, part).agreeing()
    assert agreeing == expected and 0 < expected[1] < expected[10]


def test_a_gap_of_exactly_t_years_agrees() -> None:
    network = build("aux_ce")
    outputs = network(faces(1)[0])
    assert outputs.position is not None
    scores = Scores(network, SEED, agreement=True)
    # All of the age's probability on 10 years, the likeliest position 13 years.
    age = torch.full_like(outputs.age, -1e9)
    age[0, 0] = 0.0
    position = torch.eye(len(LABELS), dtype=torch.float64)[2:3]
    scores.add(outputs._replace(age=age, position=position), *(column[:1] for column in faces()[1:]))
    assert scores.agreeing() == [0, 0, 0, *[1] * 8]


def test_the_sums_of_two_halves_are_those_of_the_whole() -> None:
    network, part = build(target_sigma=2.0), faces()
    halves = [tuple(column[rows] for column in part) for rows in (slice(0, 13), slice(13, None))]
    whole, parted = scored(network, part), scored(network, *halves)  # type: ignore[arg-type]
    assert parted.metrics() == pytest.approx(whole.metrics(), abs=1e-12)
    assert parted.reference_effect() == pytest.approx(whole.reference_effect(), abs=1e-12)
    assert parted.agreeing() == whole.agreeing()


def test_age_and_gender_metrics_are_those_of_the_model_room() -> None:
    network, (features, age, gender, position) = build(), faces()
    outputs, metrics = network(features), Metrics()
    metrics.add(network.predict_age(outputs), age, outputs.gender, gender)
    values = scored(network, (features, age, gender, position)).metrics()
    del values["position_loss"]
    assert values.pop("outside_labels") == int((position < 0).sum()) > 0
    assert values == metrics.compute()


def test_a_part_whose_ages_are_all_labels_has_none_outside() -> None:
    inside = tuple(column[faces()[3] >= 0] for column in faces())
    assert "outside_labels" not in scored(build(), inside).metrics()  # type: ignore[arg-type]
