"""The training loop: resuming, the first epoch, eq. (8), Algorithm 1, divergence."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from data import splits
from data.faces import Faces
from data.progress import Silent
from data.protocols import Spec
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.inputs import Inputs
from orchestration.training import Diverged, Training

CPU = torch.device("cpu")
FROZEN = {"model.train_backbone": False, "model.neck.name": "mlp", "model.neck.width": 16}
CLOCK = ("train/seconds", "train/images_per_second")

Make = Callable[[dict[str, Any]], Training]


def parameters(training: Training) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in training.network.state_dict().items()}


def test_what_is_validated_is_the_average_of_the_weights_after_every_step(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = make({**FROZEN, "model.neck.norm": "batch", "average.name": "ema", "average.epochs": 0.5})
    plain = make({**FROZEN, "model.neck.norm": "batch"})
    weights = [parameters(training)]
    after_step = training.schedule.after_step
    monkeypatch.setattr(
        training.schedule, "after_step", lambda: (weights.append(parameters(training)), after_step())
    )
    lines = [training.step() for _ in range(2)]
    steps = training.batches.steps()
    found = training.evaluated.state_dict()
    for name in ("age_head.linear.weight", "neck.layers.0.weight", "neck.layers.1.running_var"):
        value = weights[0][name].double()
        for t, now in enumerate(weights[1:], 1):
            move = max(1 - np.exp(-1 / (0.5 * steps)), 10 / (10 + t))
            value = value + move * (now[name].double() - value)
        torch.testing.assert_close(found[name].double(), value, atol=1e-6, rtol=1e-5)
    for name in ("position_head.R",):
        assert torch.equal(found[name], training.network.state_dict()[name])
    # Training itself goes its way; a checkpoint's network is what was validated.
    unaveraged = [plain.step() for _ in range(2)]
    for name, value in parameters(plain).items():
        assert torch.equal(value, training.network.state_dict()[name]), name
    assert lines[1]["val/age_mae"] != unaveraged[1]["val/age_mae"]
    assert torch.equal(training.state()["network"]["neck.layers.0.weight"], found["neck.layers.0.weight"])


def without_clock(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key not in CLOCK}


@pytest.mark.parametrize(
    "mode",
    [
        {"augment.name": "face_safe"},
        {**FROZEN, "model.neck.dropout": 0.3, "model.neck.norm": "batch", "average.name": "ema"},
    ],
)
@pytest.mark.parametrize(
    "schedule", [{"name": "one_cycle"}, {"name": "step", "every": 1, "gamma": 0.5}, {"name": "constant"}]
)
def test_a_run_continued_from_its_checkpoint_equals_one_never_stopped(
    make: Make, mode: dict[str, Any], schedule: dict[str, Any]
) -> None:
    values = {**mode, **{f"schedule.{k}": v for k, v in schedule.items()}, "train.epochs": 4}
    whole = make(values)
    lines = [without_clock(whole.step()) for _ in range(4)]

    first = make(values)
    begun = [without_clock(first.step()) for _ in range(2)]
    stored = io.BytesIO()
    torch.save(first.state(), stored)
    torch.rand(5)  # global random state is no part of a run
    again = make(values)
    again.load(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
    assert begun + [without_clock(again.step()) for _ in range(2)] == lines
    expected = parameters(whole)
    assert all(torch.equal(value, expected[key]) for key, value in parameters(again).items())


def test_the_first_epoch_has_no_position_loss_and_leaves_its_head_alone_despite_l2(make: Make) -> None:
    training = make({**FROZEN, "optimizer.weight_decay": 0.1, "optimizer.decay_all": True})
    before = parameters(training)
    line = training.step()
    after = parameters(training)
    assert "train/position_loss" not in line and "train/age_loss" in line
    head = [key for key, _ in training.network.named_parameters() if key.startswith("position_head.")]
    assert head and all(torch.equal(after[key], before[key]) for key in head)
    assert not torch.equal(after["age_head.linear.weight"], before["age_head.linear.weight"])
    line = training.step()
    assert "train/position_loss" in line
    assert all(not torch.equal(training.network.state_dict()[key], before[key]) for key in head)


def test_a_position_head_without_references_is_trained_from_the_first_epoch(make: Make) -> None:
    assert "train/position_loss" in make({**FROZEN, "model.position_head.name": "aux_ce"}).step()


@pytest.mark.parametrize("mode", [{}, FROZEN])
def test_references_are_algorithm_1_over_the_pass(make: Make, mode: dict[str, Any]) -> None:
    """Recomputed naively from what the network put out, sample by sample, during the pass."""
    training = make({**mode, "train.precision": "float64"})
    seen: dict[int, tuple[float, Tensor]] = {}
    shown: list[np.ndarray] = []
    batches = training.batches.train

    def watched(epoch: int) -> Any:
        for batch in batches(epoch):
            shown.append(batch.sample_id)
            yield batch

    def look(_: Any, __: Any, outputs: Any) -> None:
        if training.network.training:
            ids = shown[-1]
            probability = outputs.age.detach().softmax(1)
            ages = (probability * training.network.labels).sum(1)
            for row, age, feature in zip(ids.tolist(), ages, outputs.features.detach(), strict=True):
                seen[row] = (float(age), feature.clone())

    training.batches.train = watched  # type: ignore[method-assign]
    training.network.register_forward_hook(look)
    training.step()
    faces = Faces.open(training.inputs.data)
    expected: dict[int, Tensor] = {}
    for label in training.inputs.labels:
        rows = [row for row in sorted(seen) if faces.ages[row] == label]
        if rows:
            expected[label] = seen[min(rows, key=lambda r: abs(seen[r][0] - float(faces.ages[r])))][1]
    assert sorted(seen) == training.batches.split.train.tolist()
    exchange = training.position.exchange
    assert exchange is not None and exchange.next is not None
    assert len(expected) == 80  # each age's first face trains
    for place, label in enumerate(training.inputs.labels):
        torch.testing.assert_close(exchange.next.features[place], expected[label], rtol=0, atol=1e-12)
    # They are used in the next epoch, not before.
    assert not training.network.position_head.ready
    chosen = exchange.next.features
    training.step()
    assert torch.equal(training.network.position_head.R, chosen)


def test_a_step_minimises_equation_8_over_known_labels(make: Make) -> None:
    """One batch of the second epoch, its gradient step replaced by hand-written eq. (8) in float64."""
    weights = {"loss.gender_weight": 0.7, "loss.position_weight": 0.3}
    values = {**FROZEN, **weights, "train.precision": "float64", "train.batch_size": 512}
    values |= {"schedule.name": "constant", "optimizer.name": "adam_l2", "train.epochs": 3}
    training, twin = make(values), make(values)
    for one in (training, twin):
        one.step()
    (batch,) = twin.batches.train(1)
    unknown = int((batch.gender < 0).sum())
    assert 0 < unknown < len(batch.gender)
    twin.position.begin()
    outputs = twin.network(batch.inputs, batch.noise)
    age = (outputs.age.softmax(1) * twin.network.labels).sum(1)
    loss = sum(abs(a - b) for a, b in zip(age, batch.age, strict=True)) / len(batch.age)
    gender = [
        -functional.log_softmax(logits, 0)[code]
        for logits, code in zip(outputs.gender, batch.gender.tolist(), strict=True)
        if code >= 0
    ]
    loss = loss + 0.7 * sum(gender) / (len(batch.gender) - unknown)
    position = [
        -functional.log_softmax(logits, 0)[int(years) - 1]
        for logits, years in zip(outputs.position, batch.age, strict=True)
    ]
    loss = loss + 0.3 * sum(position) / len(position)
    twin.optimizer.zero_grad()
    loss.backward()
    twin.optimizer.step()
    line = training.step()
    assert line["train/gender_loss"] == pytest.approx(sum(gender).item() / len(gender), abs=1e-12)
    assert line["train/position_loss"] == pytest.approx(sum(position).item() / len(position), abs=1e-12)
    expected = dict(twin.network.named_parameters())
    for key, value in training.network.named_parameters():
        torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-10)


def test_validation_metrics_are_those_of_the_val_part_and_skip_unknown_genders(make: Make) -> None:
    training = make({**FROZEN, "train.precision": "float64"})
    line = training.step()
    faces = Faces.open(training.inputs.data)
    rows = splits.load(faces, Spec()).val
    training.network.eval()
    from data.features import open_features

    features = open_features(training.inputs.features).array[rows, 0]  # type: ignore[arg-type]
    with torch.no_grad():
        outputs = training.network(torch.from_numpy(np.array(features)).double())
    predicted = (outputs.age.softmax(1) * training.network.labels).sum(1).numpy()
    assert line["val/count"] == len(rows)
    assert line["val/age_mae"] == pytest.approx(np.abs(predicted - faces.ages[rows]).mean(), abs=1e-9)
    genders = faces.genders[rows]
    known = genders >= 0
    assert 0 < known.sum() < len(rows)
    right = outputs.gender.argmax(1).numpy()[known] == genders[known]
    assert line["val/gender_accuracy"] == pytest.approx(100 * right.mean(), abs=1e-9)


def test_features_are_standardised_by_the_train_part_alone(make: Make) -> None:
    training = make({**FROZEN, "train.precision": "float64"})
    from data.features import open_features

    array = open_features(training.inputs.features).array[training.batches.split.train, 0]  # type: ignore[arg-type]
    expected = np.array(array, dtype=np.float64)
    torch.testing.assert_close(
        training.network.feature_mean.numpy(), expected.mean(0).astype(np.float32), check_dtype=False
    )
    sd = expected.std(0)
    torch.testing.assert_close(
        training.network.feature_std.numpy(), np.where(sd > 0, sd, 1), check_dtype=False, rtol=1e-4, atol=1e-6
    )


def test_frozen_features_are_the_backbones_own_in_evaluation_mode(make: Make, weights: Any) -> None:
    from data.features import open_features
    from model.ir import SmallIR
    from model.network import average_pool

    training = make({**FROZEN, "features.views": ["identity", "hflip"]})
    backbone = SmallIR.Config(width=8).build().eval()
    backbone.load_state_dict(torch.load(weights, weights_only=True))
    faces = Faces.open(training.inputs.data)
    images = torch.from_numpy(faces.gather(np.arange(20))).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        views = [average_pool(backbone(images)), average_pool(backbone(images.flip(3)))]
    stored = open_features(training.inputs.features).array[:20]  # type: ignore[arg-type]
    torch.testing.assert_close(torch.from_numpy(np.array(stored)), torch.stack(views, 1))


def test_both_views_are_trained_on_and_only_the_plain_one_is_scored(make: Make) -> None:
    training = make({**FROZEN, "features.views": ["identity", "hflip"], "features.noise": 0})
    stored = np.array(training.batches._features)
    seen = {0: 0, 1: 0}
    for epoch in range(4):
        for batch in training.batches.train(epoch):
            for row, value in zip(batch.sample_id, batch.inputs.numpy(), strict=True):
                seen[[bool((value == stored[row, view]).all()) for view in (0, 1)].index(True)] += 1
    # 4 × 180 draws of one view in two: sd 13.
    assert abs(seen[0] - seen[1]) < 120
    for batch in training.batches.evaluation("val"):
        np.testing.assert_array_equal(batch.inputs.numpy(), stored[batch.sample_id, 0])


def test_without_a_rate_nothing_moves_and_with_one_the_step_schedule_divides_it(make: Make) -> None:
    values = {"schedule.name": "step", "schedule.every": 2, "schedule.gamma": 0.1, "train.epochs": 4}
    training = make({**FROZEN, **values, "optimizer.head_lr": 1e-2})
    rates = []
    while not training.finished:
        rates.append(training.optimizer.param_groups[0]["lr"])
        training.step()
    assert rates == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])


def test_one_cycle_ends_at_nearly_nothing_and_peaks_at_the_rate(make: Make) -> None:
    training = make({**FROZEN, "train.epochs": 5, "optimizer.head_lr": 1e-2})
    rates = []
    advance = training.schedule.after_step

    def watched() -> None:
        rates.append(training.optimizer.param_groups[0]["lr"])
        advance()

    training.schedule.after_step = watched  # type: ignore[method-assign]
    while not training.finished:
        training.step()
    assert len(rates) == 5 * training.batches.steps()
    assert max(rates) == pytest.approx(1e-2, rel=0.05)
    assert rates[-1] < 1e-2 / 20


def test_a_loss_that_is_not_finite_is_divergence(make: Make) -> None:
    training = make({**FROZEN, "model.age_head.name": "fc"})
    with torch.no_grad():
        training.network.age_head.linear.weight.fill_(torch.inf)
    with pytest.raises(Diverged, match="not finite in epoch 1"):
        training.step()


def test_an_epochs_progress_counts_every_training_face_once(make: Make) -> None:
    training = make({"train.batch_size": 50})
    progress = Silent(180, "epoch", "images")
    training.step(progress)
    assert progress.done == len(training.batches.split.train) == 180


def test_another_seed_is_another_run_and_the_same_seed_the_same(
    make: Make, config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Any
) -> None:
    values = {**FROZEN, "model.backbone.weights": str(weights)}
    lines = []
    for seed in (0, 0, 1):
        run = config(values, seed)
        training = Training(run, prepared(run), CPU)
        lines.append(without_clock(training.step()))
    assert lines[0] == lines[1] != lines[2]


def test_or_cnn_weighs_its_thresholds_by_the_ages_of_the_train_part(make: Make) -> None:
    training = make({**FROZEN, "model.age_head.name": "or_cnn"})
    ages = training.batches.faces.ages[training.batches.split.train].tolist()
    roots = np.sqrt([ages.count(label) for label in training.inputs.labels[:-1]])
    weight = training.network.state_dict()["age_head.threshold_weight"]
    np.testing.assert_allclose(weight, roots / roots.mean(), rtol=1e-6)


def test_corals_crossing_ranks_are_reported_every_epoch(make: Make) -> None:
    training = make({**FROZEN, "model.age_head.name": "coral"})
    assert training.step()["age_head/rank_violations"] == float(
        (training.network.age_head.bias.diff() > 0).sum()  # type: ignore[operator, union-attr]
    )


def test_a_head_on_classes_names_the_face_whose_age_is_no_label(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], weights: Path
) -> None:
    run = config({"model.backbone.weights": str(weights), **FROZEN, "model.age_head.name": "ce"})
    inputs = prepared(run)
    faces = Faces.open(inputs.data)
    train = splits.load(faces, Spec()).train
    years = np.floor(faces.ages[train] + 0.5)
    missing = int(years[0])
    labels = tuple(label for label in inputs.labels if label != missing)
    count = int((years == missing).sum())
    first = faces.sources[train[0]]
    with pytest.raises(UserError, match=rf"ce trains on labels only, and {count} training faces .* {first}"):
        Training(run, replace(inputs, labels=labels), CPU)
