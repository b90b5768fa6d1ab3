"""What a restart makes of a study folder: Optuna's trials, ASHA's rungs, and which trials come next."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from optuna.trial import TrialState

from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.schedulers import replay, scheduler
from orchestration.search import OptunaTrials
from orchestration.space import own_values
from orchestration.study import Study

EPOCHS = 9
Record = Callable[..., Member]


@pytest.fixture
def folder(load: Callable[..., Study]) -> StudyFolder:
    """An empty study of 6 trials of 9 epochs."""
    return StudyFolder(load("search.trials=6", f"train.epochs={EPOCHS}"))


@pytest.fixture
def record(folder: StudyFolder) -> Record:
    """Puts a trial in the folder: its state and the validation errors of its epochs."""

    def put(number: int, status: str, *errors: float, **values: Any) -> Member:
        params = {"loss.gender_weight": 0.5 + number, "loss.position_weight": 0.1 + number}
        best = min(errors) if errors else None
        member = Member(f"trials/{number:04d}", status, params, attempt=1, value=best, **values)
        folder.put(member)
        put_metrics(folder.storage.child(member.name), lines(list(errors)))
        return member

    return put


def lines(errors: list[float]) -> list[dict[str, Any]]:
    return [{"epoch": i + 1, "best": min(errors[: i + 1])} for i in range(len(errors))]


def test_the_first_trial_is_the_files_own_values(folder: StudyFolder) -> None:
    first = OptunaTrials(folder).next()
    assert first is not None
    assert first.params == own_values(folder.study)
    assert first.params == {"loss.gender_weight": 1.0, "loss.position_weight": 1.0}
    assert (first.name, first.seed) == ("trials/0000", 0)


def test_without_it_the_first_trial_is_drawn(load: Callable[..., Study]) -> None:
    folder = StudyFolder(load("search.start_from=none"))
    first = OptunaTrials(folder).next()
    assert first is not None and first.params != own_values(folder.study)


def test_ended_trials_enter_optuna_with_state_values_and_epochs(folder: StudyFolder, record: Record) -> None:
    record(0, "complete", *[9.0 - i for i in range(EPOCHS)])
    record(1, "pruned", 8.0, 8.5, 7.5)
    record(2, "failed", 8.0, reason="loss is not finite")
    record(3, "failed")
    # The file's own point is no trial yet, so it is queued.
    *trials, queued = OptunaTrials(folder).optuna.trials
    assert queued.state == TrialState.WAITING
    assert [t.state for t in trials] == [
        TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL,
    ]  # fmt: skip
    assert trials[0].value == 1.0 and trials[0].intermediate_values[3] == 7.0
    # Best so far: 8.5 in the second epoch is no loss of the 8 before it.
    assert trials[1].intermediate_values == {1: 8.0, 2: 8.0, 3: 7.5}
    assert [t.params["loss.gender_weight"] for t in trials] == [0.5, 1.5, 2.5, 3.5]


def test_running_trials_come_first_as_they_were_and_the_number_of_trials_is_exact(
    folder: StudyFolder, record: Record
) -> None:
    running = [record(1, "running", 8.0, 7.0), record(3, "running")]
    ended = [record(0, "complete", *[5.0] * EPOCHS), record(2, "pruned", 9.0)]
    source = OptunaTrials(folder)
    assert len(source) == 4
    given = [source.next() for _ in range(4)]
    assert given[:2] == running
    assert [member.name for member in given[2:] if member] == ["trials/0004", "trials/0005"]
    assert len(source) == 0 and source.next() is None
    points = [tuple(member.params.values()) for member in [*ended, *given] if member]
    assert len(set(points)) == 6


def test_trials_that_end_are_told_and_a_pruned_one_is_pruned(folder: StudyFolder) -> None:
    source = OptunaTrials(folder)
    one, two, three = (source.next() for _ in range(3))
    assert one and two and three
    for epoch, best in ((1, 9.0), (2, 8.0), (2, 8.0)):  # an epoch trained again after a kill
        source.report(two, epoch, best)
    source.tell(Member(one.name, "complete", one.params, value=4.0))
    source.tell(Member(two.name, "pruned", two.params, value=8.0))
    source.tell(Member(three.name, "failed", three.params, reason="out of memory"))
    trials = source.optuna.trials
    assert [t.state for t in trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert trials[1].intermediate_values == {1: 9.0, 2: 8.0}
    assert source.optuna.best_trial.number == 0 and source.optuna.best_value == 4.0


def test_a_restarted_search_draws_other_points_than_the_start_drew(
    folder: StudyFolder, record: Record
) -> None:
    first = OptunaTrials(folder)
    begun = [first.next() for _ in range(4)]
    for member in begun[:2]:
        assert member is not None
        folder.put(Member(member.name, "complete", member.params, value=5.0, attempt=1))
        put_metrics(folder.storage.child(member.name), lines([5.0] * EPOCHS))
    again = OptunaTrials(folder)
    new = [again.next() for _ in range(4)]
    old = {tuple(member.params.values()) for member in begun[:2] if member}
    assert len({tuple(m.params.values()) for m in new if m} | old) == 6


def test_a_study_that_has_all_its_trials_wants_none_and_a_raised_number_wants_the_rest(
    folder: StudyFolder, record: Record, load: Callable[..., Study]
) -> None:
    for number in range(6):
        record(number, "complete", *[5.0] * EPOCHS)
    assert len(OptunaTrials(folder)) == 0 and OptunaTrials(folder).next() is None
    more = OptunaTrials(StudyFolder(load("search.trials=8", f"train.epochs={EPOCHS}")))
    assert [m.name for m in (more.next(), more.next()) if m] == ["trials/0006", "trials/0007"]
    assert more.next() is None
    fewer = OptunaTrials(StudyFolder(load("search.trials=2", f"train.epochs={EPOCHS}")))
    assert len(fewer) == 0 and fewer.next() is None


def test_a_grid_that_was_killed_goes_on_with_the_points_that_are_missing(
    load: Callable[..., Study],
) -> None:
    weights = {"loss.gender_weight": {"choices": [0.1, 1.0, 10.0]}}
    folder = StudyFolder(load("search.sampler=grid", "search.trials=9", space=weights))
    first = OptunaTrials(folder)
    assert len(first) == 3
    for member in (first.next(), first.next()):
        assert member is not None
        folder.put(Member(member.name, "failed", member.params, attempt=1))
    again = OptunaTrials(folder)
    left = again.next()
    assert left is not None and left.name == "trials/0002"
    assert left.params == {"loss.gender_weight": 10.0}
    assert again.next() is None


class _Trial:
    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def _decisions(asha: Any) -> list[str]:
    """What the scheduler says of a new trial with each of many values, epoch by epoch."""
    found = []
    for value in [2.0 + 0.25 * i for i in range(40)]:
        probed = copy.deepcopy(asha)
        trial = _Trial("new")
        probed.on_trial_add(None, trial)
        for epoch in range(1, EPOCHS):
            decision = probed.on_trial_result(None, trial, {"epoch": epoch, "best": value})
            found.append(decision)
            if decision == "STOP":
                break
        found.append("|")
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_replayed_scheduler_decides_as_the_one_that_saw_it_live(
    load: Callable[..., Study], seed: int
) -> None:
    study = load(f"train.epochs={EPOCHS}", "search.grace=1")
    live, rng = scheduler(study), random.Random(seed)
    records: dict[str, list[dict[str, Any]]] = {f"{n:04d}": [] for n in range(8)}
    errors = {name: [rng.uniform(3, 10) for _ in range(EPOCHS)] for name in records}
    going = {name: _Trial(name) for name in records}
    for trial in going.values():
        live.on_trial_add(None, trial)
    stopped = 0
    while going:  # concurrent trials report in any order
        name = rng.choice(sorted(going))
        line = lines(errors[name])[len(records[name])]
        records[name].append(line)
        if live.on_trial_result(None, going[name], line) == "STOP":
            stopped += len(records[name]) < EPOCHS
            del going[name]
    assert stopped >= 2
    again = scheduler(study)
    for name, recorded in records.items():
        replay(again, name, recorded)
    expected = _decisions(live)
    assert "STOP" in expected and _decisions(again) == expected
    assert _decisions(scheduler(study)) != expected


def test_asha_waits_a_quarter_of_the_schedule_and_then_keeps_one_in_three(load: Callable[..., Study]) -> None:
    asha = scheduler(load("train.epochs=20"))
    for number, value in enumerate([5.0, 6.0, 7.0, 8.0]):
        trial = _Trial(str(number))
        asha.on_trial_add(None, trial)
        decisions = [asha.on_trial_result(None, trial, {"epoch": e, "best": value}) for e in range(1, 6)]
        assert decisions[:4] == ["CONTINUE"] * 4
        assert decisions[4] == ("CONTINUE" if number == 0 else "STOP")
