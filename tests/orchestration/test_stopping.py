"""Expected epochs under successive halving, against Ray's own ASHA and by hand."""

import math

import numpy as np
import pytest
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from orchestration.progress import Progress
from orchestration.records import Member
from orchestration.stopping import Stopping


class Trial:
    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


def searched(trials: int, rule: Stopping, consistent: float, seed: int) -> list[int]:
    """Epochs of every trial when Ray's ASHA judges two at once, their quality and luck normal."""
    draw = np.random.default_rng(seed)
    np.random.seed(seed)  # noqa: NPY002  Ray draws brackets from the global generator
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric="best",
        mode="min",
        max_t=rule.epochs,
        grace_period=rule.grace,
        reduction_factor=rule.reduction,
        brackets=rule.brackets,
    )
    ended, waiting, live = [], list(range(trials)), []
    while waiting or live:
        while waiting and len(live) < 2:
            live.append([Trial(waiting.pop(0)), 0, draw.normal()])
            scheduler.on_trial_add(None, live[-1][0])
        for one in list(live):
            one[1] += 1
            value = consistent * one[2] + math.sqrt(1 - consistent**2) * draw.normal()
            line = {"epoch": one[1], "best": value}
            if scheduler.on_trial_result(None, one[0], line) == TrialScheduler.STOP:
                live.remove(one)
                ended.append(one[1])
    return ended


@pytest.mark.parametrize(
    ("trials", "rule"),
    [
        (32, Stopping(20, 5, 3.0)),
        (8, Stopping(6, 2, 3.0)),
        (100, Stopping(27, 1, 4.0)),
        (60, Stopping(27, 1, 3.0, brackets=3)),
    ],
)
@pytest.mark.parametrize("consistent", [0.0, 0.7])
def test_expected_epochs_are_those_of_rays_asha(trials: int, rule: Stopping, consistent: float) -> None:
    """Trials in random order of quality, from pure luck at every rung to mostly consistent curves."""
    totals = [sum(searched(trials, rule, consistent, seed)) for seed in range(15)]
    assert rule.expected(trials) == pytest.approx(np.mean(totals), rel=0.1)


def test_expected_epochs_by_hand() -> None:
    rule = Stopping(epochs=6, grace=2, reduction=2.0)
    assert rule.rungs() == [2, 4]
    # The first always goes on, the second with 1/2; of two at the next rung 1 + 1/2 pass.
    assert rule.passes(1) == 0.5
    assert rule.expected(1) == 6
    assert rule.expected(2) == pytest.approx(2 * 2 + 1.5 * 2 + (1 + 0.5 * 0.5) * 2)
    assert rule.passes(10**9) == pytest.approx(0.5)
    # From epoch 3, one came before: to 4 for sure, then on with 1/2.
    assert rule.rest(3, 1) == pytest.approx(1 + 0.5 * 2)


@pytest.mark.parametrize("reduction", [2.0, 3.0, 4.0])
def test_how_many_pass_a_rung_is_the_sum_of_their_chances(reduction: float) -> None:
    """The rest of a trial is what its closed form says; here the sum, term by term."""
    rule = Stopping(epochs=12, grace=3, reduction=reduction)
    rungs = [*rule.rungs(), 12]
    for trials in (0, 1, 2, 49, 50, 51, 2000):
        spent, reached, left = 0.0, 0, float(trials)
        for rung in rungs:
            spent, reached = spent + left * (rung - reached), rung
            whole = int(left)
            left = sum(rule.passes(i) for i in range(whole)) + (left - whole) * rule.passes(whole)
        assert rule.expected(trials) == pytest.approx(spent, rel=1e-9)


def test_no_rule_trains_everything() -> None:
    assert Stopping(20, 5, brackets=0).expected(7) == 140
    assert Stopping(20, 5, brackets=0).rest(15, 3) == 5


def test_time_left_counts_epochs_not_trials() -> None:
    """Half way through a search under ASHA, the epochs left are about those that then follow."""
    rule, trials = Stopping(20, 5, 3.0), 60
    expected, true = [], []
    for seed in range(12):
        epochs = searched(trials, rule, 0.7, seed)
        progress = Progress(trials, rule)
        for number, last in enumerate(epochs[: trials // 2]):
            member = Member(f"trials/{number:04d}", status="complete" if last == 20 else "pruned", value=1.0)
            progress.started(member)
            for epoch in range(1, last + 1):
                progress.epoch(member, {"epoch": epoch, "best": 1.0})
            progress.ended(member)
        expected.append(progress.epochs_left())
        true.append(sum(epochs[trials // 2 :]))
    assert np.mean(expected) == pytest.approx(np.mean(true), rel=0.15)
    # By trials alone it would be 30 × 20 epochs without stopping: twice as many.
    assert np.mean(true) < 0.6 * (trials // 2) * rule.epochs


def test_a_pruned_value_is_never_the_best() -> None:
    progress = Progress(3, Stopping(20, 5), "min")
    for name, status, value in [("trials/0000", "complete", 5.0), ("trials/0001", "pruned", 4.0)]:
        member = Member(name, status=status, value=value)
        progress.started(member)
        progress.epoch(member, {"epoch": 1, "best": value})
        progress.ended(member)
    assert progress.best == 5.0
    assert (progress.done, progress.tally["pruned"]) == (2, 1)
