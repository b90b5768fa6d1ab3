"""References in the training loop: when they are chosen, from which features, and who meets whom."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data.faces import Faces
from data.features import open_features
from model.rapl import Rapl
from orchestration.training import Training

Make = Callable[[dict[str, Any]], Training]

FROZEN = {"model.train_backbone": False, "model.neck.name": "mlp", "model.neck.width": 16}
CLOCK = ("train/seconds", "train/images_per_second")


def chosen(training: Training) -> Tensor:
    exchange = training.position.exchange
    assert exchange is not None and exchange.next is not None
    return exchange.next.features.clone()


def validating(training: Training, maes: list[float]) -> None:
    """Lets the epochs' validation errors be `maes`; everything else stays as it is."""
    refresh, values = training.position.refresh, iter(maes)
    training.position.refresh = lambda epoch, _, clean: refresh(epoch, next(values), clean)  # type: ignore[method-assign]


def changes(training: Training, epochs: int) -> list[bool]:
    """For every epoch after the first whether it chose new references."""
    training.step()
    changed = []
    for _ in range(epochs - 1):
        before = chosen(training)
        training.step()
        changed.append(not torch.equal(chosen(training), before))
    return changed


def test_references_stay_where_validation_does_not_improve(make: Make) -> None:
    training = make({**FROZEN, "references.refresh": "on_improvement", "train.epochs": 5})
    validating(training, [9.0, 9.5, 8.0, 8.0, 7.0])
    assert changes(training, 5) == [False, True, False, True]


def test_on_improvement_looks_at_the_validation_mae_itself(make: Make) -> None:
    rate = {"optimizer.head_lr": 0.1, "schedule.name": "constant"}
    training = make({**FROZEN, **rate, "references.refresh": "on_improvement", "train.epochs": 12})
    maes, changed, before = [], [], None
    for _ in range(12):
        maes.append(training.step()["val/age_mae"])
        changed.append(before is None or not torch.equal(chosen(training), before))
        before = chosen(training)
    assert changed == [mae < min(maes[:epoch], default=np.inf) for epoch, mae in enumerate(maes)]
    assert not all(changed)  # else this run would show nothing


def test_every_n_chooses_in_the_first_and_then_in_each_nth_epoch(make: Make) -> None:
    values = {"references.refresh": "every_n", "references.every": 3, "train.epochs": 7}
    assert changes(make({**FROZEN, **values}), 7) == [False, False, True, False, False, True]


def test_by_default_every_epoch_chooses(make: Make) -> None:
    assert changes(make({**FROZEN, "train.epochs": 4}), 4) == [True] * 3


def test_a_clean_pass_sees_the_train_part_in_evaluation_mode_after_the_epoch(make: Make) -> None:
    values = {"references.source": "clean_pass", "train.precision": "float64", "model.neck.dropout": 0.5}
    training = make({**FROZEN, **values, "features.views": ["identity", "hflip"]})
    training.step()
    rows = training.batches.split.train
    stored = np.array(open_features(training.inputs.features).array[rows, 0])  # type: ignore[arg-type]
    training.network.eval()
    with torch.no_grad():
        outputs = training.network(torch.from_numpy(stored).double())
    error = training.network.predict_age(outputs).numpy() - Faces.open(training.inputs.data).ages[rows]
    ages, found = Faces.open(training.inputs.data).ages[rows], chosen(training)
    for place, label in enumerate(training.inputs.labels):
        (of_age,) = np.nonzero(ages == label)
        best = min(of_age, key=lambda i: (abs(error[i]), rows[i]))
        torch.testing.assert_close(found[place], outputs.features[best], rtol=0, atol=1e-12)


def test_a_clean_pass_leaves_the_train_pass_of_the_next_epoch_alone(make: Make) -> None:
    """References of unused weight must not change training, however they are chosen."""
    lines = []
    for source in ("train_pass", "clean_pass"):
        training = make({**FROZEN, "references.source": source, "loss.position_weight": 0})
        lines.append([training.step()["train/age_loss"] for _ in range(2)])
    assert lines[0] == lines[1]


@pytest.mark.parametrize("excludes", [True, False])
def test_exclude_self_names_exactly_the_images_that_are_references(make: Make, excludes: bool) -> None:
    training = make({**FROZEN, "references.exclude_self": excludes, "train.epochs": 2})
    faces = Faces.open(training.inputs.data)
    met: list[tuple[list[int], Tensor | None]] = []
    batches = training.batches.train

    def watched(epoch: int) -> Any:
        for batch in batches(epoch):
            met.append((batch.sample_id.tolist(), None))
            yield batch

    def look(_: Any, given: tuple[Any, ...]) -> None:
        if training.network.training:
            met[-1] = (met[-1][0], given[2])

    training.batches.train = watched  # type: ignore[method-assign]
    training.network.register_forward_pre_hook(look)
    training.step()
    assert all(own is None for _, own in met)  # there are no references yet
    exchange = training.position.exchange
    assert exchange is not None and exchange.next is not None
    references = dict(enumerate(exchange.next.sample_id.tolist()))
    met.clear()
    training.step()
    if not excludes:
        assert all(own is None for _, own in met)
        return
    expected, seen = [], []
    for rows, own in met:
        assert own is not None
        seen += own.tolist()
        for row in rows:
            place = int(faces.ages[row]) - 1  # labels are 1…80
            expected.append(place if references[place] == row else -1)
    assert seen == expected and sum(place >= 0 for place in seen) == 80


def test_exclude_self_gives_the_head_the_runner_up_of_every_age(make: Make) -> None:
    training = make({**FROZEN, "references.exclude_self": True, "train.epochs": 2})
    training.step()
    exchange, head = training.position.exchange, training.network.position_head
    assert exchange is not None and exchange.next is not None and isinstance(head, Rapl)
    selection = exchange.next
    training.step()
    assert torch.equal(head.runner_up, selection.runner_up) and torch.equal(head.R, selection.features)
    differs = (head.runner_up != head.R).any(1)
    ages = Faces.open(training.inputs.data).ages[training.batches.split.train]
    counts = [int((ages == label).sum()) for label in training.inputs.labels]
    assert differs.tolist() == [count > 1 for count in counts]


VARIANTS: list[dict[str, Any]] = [
    {"name": "min_error", "exclude_self": True, "refresh": "on_improvement"},
    {"name": "random", "exclude_self": True, "refresh": "every_n", "every": 2},
    {"name": "class_mean", "ema": 0.5, "refresh": "on_improvement"},
    {"name": "shuffled", "ema": 0.5, "source": "clean_pass"},
]


@pytest.mark.parametrize("references", VARIANTS, ids=lambda variant: "-".join(map(str, variant.values())))
def test_a_continued_run_has_the_references_of_one_never_stopped(
    make: Make, references: dict[str, Any]
) -> None:
    values = {**FROZEN, **{f"references.{k}": v for k, v in references.items()}, "train.epochs": 5}
    values["optimizer.p_lr_scale"] = 10.0
    whole = make(values)
    lines = [without_clock(whole.step()) for _ in range(5)]
    for stop in (1, 3):
        first = make(values)
        begun = [without_clock(first.step()) for _ in range(stop)]
        stored = io.BytesIO()
        torch.save(first.state(), stored)
        again = make(values)
        again.load(torch.load(io.BytesIO(stored.getvalue()), weights_only=True))
        assert begun + [without_clock(again.step()) for _ in range(5 - stop)] == lines
        assert torch.equal(chosen(again), chosen(whole))
        expected = whole.network.state_dict()
        assert all(torch.equal(v, expected[k]) for k, v in again.network.state_dict().items())


def test_a_checkpoint_carries_the_best_mae_that_on_improvement_compares_with(make: Make) -> None:
    values = {**FROZEN, "references.refresh": "on_improvement", "train.epochs": 4}
    first = make(values)
    validating(first, [5.0, 9.0])
    first.step()
    first.step()
    again = make(values)
    again.load(first.state())
    before = chosen(again)
    validating(again, [6.0, 4.0])
    again.step()
    assert torch.equal(chosen(again), before)
    again.step()
    assert not torch.equal(chosen(again), before)


def without_clock(line: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in line.items() if key not in CLOCK}


@pytest.mark.parametrize(
    "name",
    [
        "min_error", "mean_of_k", "class_mean", "medoid", "random", "shuffled", "error_weighted",
        "gender_balanced", "kernel",
    ],
)  # fmt: skip
def test_every_strategy_trains_and_reports_its_effect_from_the_second_epoch(make: Make, name: str) -> None:
    training = make({**FROZEN, "references.name": name})
    first, second = training.step(), training.step()
    assert "rapl/reference_effect" not in first and "val/position_loss" not in first
    assert np.isfinite(second["rapl/reference_effect"]) and np.isfinite(second["val/position_loss"])
