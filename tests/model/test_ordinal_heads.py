"""Heads on thresholds: the authors' package, plain Python, decoding by hand, and rank consistency."""

from __future__ import annotations

from typing import Any

import naive_heads as naive
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.conditional_heads import Condor, Corn
from model.ordinal_heads import Coral, OrCnn

LABELS = [1.0, 3.0, 4.0, 7.0, 20.0]
AGE = torch.tensor([1.0, 2.5, 3.49, 4.0, 6.5, 20.0, 19.7], dtype=torch.float64)
PLACE = torch.tensor([0, 1, 1, 2, 3, 4, 4])
HEADS = [OrCnn, Coral, Corn, Condor]
FLOATS = st.floats(-50, 50, width=32)


def build(head: Any, **settings: Any) -> Any:
    return head.Config(**settings).build(3, torch.tensor(LABELS), 10.0, 5.0).double()


def random_logits(scale: float = 3) -> Tensor:
    return scale * torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("head", "options", "formula"),
    [
        (OrCnn, {}, naive.coral),
        (Coral, {}, naive.coral),
        (Corn, {}, naive.corn),
        (Condor, {}, naive.condor),
        (Condor, {"loss": "ordinal_cross_entropy"}, naive.ordinal_cross_entropy),
    ],
)
def test_the_loss_is_the_published_formula(head: Any, options: dict[str, Any], formula: Any) -> None:
    logits = random_logits()
    expected = [formula(row, LABELS, y) for row, y in zip(logits.tolist(), AGE.tolist(), strict=True)]
    torch.testing.assert_close(
        build(head, **options).loss(logits, AGE), torch.tensor(expected, dtype=torch.float64)
    )


def test_coral_agrees_with_its_authors_package() -> None:
    losses = pytest.importorskip("coral_pytorch.losses")
    dataset = pytest.importorskip("coral_pytorch.dataset")
    layers = pytest.importorskip("coral_pytorch.layers")
    head, theirs = build(Coral), layers.CoralLayer(3, 5).double()
    torch.testing.assert_close(head.bias, theirs.coral_bias)
    theirs.coral_weights.load_state_dict(head.linear.state_dict())
    features = torch.randn(7, 3, dtype=torch.float64)
    logits = theirs(features)
    torch.testing.assert_close(head(features), logits)
    levels = dataset.levels_from_labelbatch(PLACE, 5).double()
    torch.testing.assert_close(head.loss(logits, AGE), losses.coral_loss(logits, levels, reduction=None))
    for values in (logits, random_logits()):
        their_rank = dataset.proba_to_label(torch.sigmoid(values))
        assert torch.equal(head.decode(values), head.labels[their_rank])


def test_corn_agrees_with_its_authors_package_up_to_the_batch_wide_divisor() -> None:
    losses = pytest.importorskip("coral_pytorch.losses")
    dataset = pytest.importorskip("coral_pytorch.dataset")
    head, logits = build(Corn), random_logits()
    terms = sum(int((k <= PLACE).sum()) for k in range(4))
    torch.testing.assert_close(head.loss(logits, AGE).sum() / terms, losses.corn_loss(logits, PLACE, 5))
    assert torch.equal(head.decode(logits), head.labels[dataset.corn_label_from_logits(logits)])


def test_condors_likelihood_is_corns_sum() -> None:
    torch.testing.assert_close(
        build(Condor).loss(random_logits(), AGE), build(Corn).loss(random_logits(), AGE)
    )


def test_decoding_by_hand() -> None:
    marginal = torch.tensor([[0.9, 0.6, 0.4, 0.1]], dtype=torch.float64)
    # 2 above one half: label 4. 1 + 2·0.9 + 1·0.6 + 3·0.4 + 13·0.1
    for head in (OrCnn, Coral):
        assert build(head).decode(marginal.logit()).item() == 4.0
        assert build(head, decode="expectation").decode(marginal.logit()).item() == pytest.approx(5.9)
    conditional = torch.tensor([[0.9, 2 / 3, 2 / 3, 0.25]], dtype=torch.float64)
    for head in (Corn, Condor):
        assert build(head).decode(conditional.logit()).item() == 4.0
        assert build(head, decode="expectation").decode(conditional.logit()).item() == pytest.approx(5.9)


def test_or_cnn_counts_thresholds_that_contradict_each_other() -> None:
    logits = torch.tensor([[1.0, -1.0, 1.0, 1.0]], dtype=torch.float64)
    assert build(OrCnn).decode(logits).item() == 7.0


@pytest.mark.parametrize("head", [Corn, Condor])
@settings(max_examples=60, deadline=None)
@given(logits=st.lists(FLOATS, min_size=4, max_size=4))
def test_conditional_heads_rank_consistently_whatever_the_parameters(head: Any, logits: list[float]) -> None:
    for dtype in (torch.float32, torch.float64):
        survival = build(head).to(dtype).survival(torch.tensor([logits], dtype=dtype))
        assert (survival.diff(dim=1) <= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    bias=st.lists(FLOATS, min_size=4, max_size=4),
    weight=st.lists(FLOATS, min_size=3, max_size=3),
    features=st.lists(FLOATS, min_size=3, max_size=3),
)
def test_coral_ranks_consistently_for_biases_that_do_not_increase(
    bias: list[float], weight: list[float], features: list[float]
) -> None:
    head = build(Coral).float()
    with torch.no_grad():
        head.bias.copy_(torch.tensor(sorted(bias, reverse=True)))
        head.linear.weight.copy_(torch.tensor([weight]))
    assert (head.survival(head(torch.tensor([features]))).diff(dim=1) <= 0).all()


def test_coral_has_no_such_guarantee_for_biases_that_increase() -> None:
    head = build(Coral)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0]))
    assert (head.survival(head(torch.zeros(1, 3))).diff(dim=1) > 0).any()


def test_or_cnn_weighs_thresholds_by_the_root_of_their_share() -> None:
    head, uniform, logits = build(OrCnn), build(OrCnn, task_weights="uniform"), random_logits()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, (PLACE.unsqueeze(1) > torch.arange(4)).double(), reduction="none"
    )
    for told in (head, uniform):
        told.set_label_counts(torch.tensor([1, 4, 9, 0, 7]))
    # Roots 1, 2, 3 and 0, of mean 1.5.
    expected = (plain * torch.tensor([1, 2, 3, 0], dtype=torch.float64) / 1.5).sum(1)
    torch.testing.assert_close(head.loss(logits, AGE), expected)
    torch.testing.assert_close(uniform.loss(logits, AGE), plain.sum(1))


def test_or_cnn_weighs_all_alike_where_only_the_last_label_has_faces() -> None:
    head, logits = build(OrCnn), random_logits()
    before = head.loss(logits, AGE)
    head.set_label_counts(torch.tensor([0, 0, 0, 0, 5]))
    torch.testing.assert_close(head.loss(logits, AGE), before)


def test_coral_counts_the_places_where_its_ranks_can_cross() -> None:
    head = build(Coral)
    assert head.diagnostics() == {"rank_violations": 0.0}
    with torch.no_grad():
        head.bias.copy_(torch.tensor([0.5, 0.7, 0.1, 0.2]))
    assert head.diagnostics() == {"rank_violations": 2.0}


@pytest.mark.parametrize("head", [Corn, Condor])
def test_conditional_heads_begin_with_labels_equally_likely_unless_told(head: Any) -> None:
    zero = torch.zeros(1, 3, dtype=torch.float64)
    begin = build(head)
    torch.testing.assert_close(begin.survival(begin(zero)), torch.tensor([[0.8, 0.6, 0.4, 0.2]]).double())
    torch.manual_seed(0)
    published = build(head, init="torch_default").linear.bias
    torch.manual_seed(0)
    torch.testing.assert_close(published, torch.nn.Linear(3, 4).bias.double())


@pytest.mark.parametrize("head", HEADS)
def test_a_single_label_has_no_threshold(head: Any) -> None:
    with pytest.raises(ValueError, match="needs at least two age labels"):
        head.Config().build(3, torch.tensor([30.0]), 10.0, 5.0)


@pytest.mark.parametrize("head", HEADS)
def test_a_probability_of_exactly_one_half_is_not_above_it(head: Any) -> None:
    assert build(head).decode(torch.zeros(1, 4, dtype=torch.float64)).item() == 1.0
