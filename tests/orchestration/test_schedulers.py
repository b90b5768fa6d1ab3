"""Stopping rules against naive versions, and what a restart makes of them."""

import random
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler

from orchestration import schedulers
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.schedulers import PATIENCE_SECONDS, ByMember, Known, replay, replay_all, scheduler
from orchestration.study import Study

EPOCHS = 9


def _told(rule: Any, name: str, epoch: int, value: float) -> bool:
    return str(rule.on_trial_result(None, Known(name), {"epoch": epoch, "best": value})) == "STOP"


@pytest.mark.parametrize("mode", ["min", "max"])
def test_median_stopping_is_worse_than_the_median_of_five_others_after_grace(
    load: Callable[..., Study], mode: str
) -> None:
    objective = {"metric": "val/age_mae" if mode == "min" else "val/age_cs5", "mode": mode}
    study = load("search.scheduler=median", "search.grace=3", f"train.epochs={EPOCHS}", objective=objective)
    rule, rng = scheduler(study), random.Random(0)
    seen: dict[int, dict[str, float]] = {epoch: {} for epoch in range(1, EPOCHS + 1)}
    stops = 0
    for step in range(400):
        name, epoch, value = f"t{rng.randrange(12)}", 1 + step % (EPOCHS - 1), rng.gauss(5, 2)
        others = [v for other, v in seen[epoch].items() if other != name]
        seen[epoch][name] = value
        expected = False
        if epoch >= 3 and len(others) >= 5:
            middle = statistics.median(others)
            expected = value > middle if mode == "min" else value < middle
        assert _told(rule, name, epoch, value) is expected
        stops += expected
    assert 50 < stops < 350


def test_hyperband_spreads_trials_over_brackets_that_their_names_decide(load: Callable[..., Study]) -> None:
    study = load("search.scheduler=hyperband", "search.grace=1", "train.epochs=27")
    rule, again = scheduler(study), scheduler(study)
    names = [f"trials/{n:04d}" for n in range(300)]
    for name in names:
        replay(rule, name, [])
    for name in reversed(names):
        replay(again, name, [])

    def bracket(which: Any, name: str) -> int:
        return int(which._brackets.index(which._trial_info[name]))

    found = [bracket(rule, name) for name in names]
    assert found == [bracket(again, name) for name in names]
    # Rungs at 1, 3, 9, 27; at 3, 9, 27; at 9, 27: e times as many in each as in the next.
    counts = Counter(found)
    assert set(counts) == {0, 1, 2} and counts[0] > 1.5 * counts[1] > 1.5 * counts[2]
    rungs = [[int(rung) for rung, _ in b._rungs] for b in rule._brackets]
    assert rungs == [[27, 9, 3, 1], [27, 9, 3], [27, 9]]


def _put(folder: StudyFolder, number: int, status: str, values: list[float], start: float) -> Member:
    member = Member(f"trials/{number:04d}", status, {}, attempt=1)
    folder.put(member)
    lines = [
        {"epoch": i + 1, "best": min(values[: i + 1]), "time": start + i, "val/age_mae": v}
        for i, v in enumerate(values)
    ]
    put_metrics(folder.storage.child(member.name), lines)
    return member


def test_a_trial_killed_between_the_word_to_stop_and_its_state_stays_stopped(
    load: Callable[..., Study],
) -> None:
    folder = StudyFolder(load(f"train.epochs={EPOCHS}", "search.grace=3"))
    _put(folder, 0, "complete", [5.0] * EPOCHS, 0.0)
    _put(folder, 1, "pruned", [7.0] * 3, 1.0)
    stopped = _put(folder, 2, "running", [8.0] * 3, 2.0)  # ASHA's word at the rung of epoch 3
    _put(folder, 3, "running", [4.0] * 3, 3.0)  # the best: it goes on
    _put(folder, 4, "running", [9.0] * 2, 4.0)  # has not come to the rung
    # It passed the rung as the first of all, before there was anything to compare with.
    _put(folder, 5, "running", [9.5] * 4, -9.0)
    assert replay_all(scheduler(folder.study), folder) == [stopped]


def test_a_free_process_goes_to_the_newest_trial_and_after_a_long_wait_to_one_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(schedulers.time, "monotonic", lambda: now)
    chooser = ByMember(FIFOScheduler(), lambda: False)
    assert chooser.choose_trial_to_run(None) is None
    runs, *waiting, newest = (Trial("nothing", stub=True) for _ in range(4))
    for trial in (runs, *waiting, newest):
        chooser.on_trial_add(None, trial)
    runs.set_status(Trial.RUNNING)
    # The processes of both that wait are being started: the one that is free is not for them.
    assert chooser.choose_trial_to_run(None) is newest
    now += PATIENCE_SECONDS
    assert chooser.choose_trial_to_run(None) is waiting[0]
    waiting[0].set_status(Trial.RUNNING)
    assert chooser.choose_trial_to_run(None) is newest, (
        "one at a time, or all that are started are thrown away"
    )
    now += PATIENCE_SECONDS
    assert chooser.choose_trial_to_run(None) is waiting[1]
    chooser.forget(waiting[1].trial_id)
    assert chooser.choose_trial_to_run(None) is newest
