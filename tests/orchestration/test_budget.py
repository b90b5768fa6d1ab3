"""The budget: what was spent over all starts, what the final seeds will take, and when the search ends."""

import time
from collections.abc import Callable

import pytest

from orchestration import budget
from orchestration.budget import Spending
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.study import Study


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    """time.monotonic, in the test's hands."""
    made = _Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


def _epochs(folder: StudyFolder, name: str, count: int, status: str = "complete", source: str = "") -> None:
    folder.put(Member(name, status, source=source or None))
    put_metrics(folder.storage.child(name), [{"epoch": i + 1, "best": 5.0} for i in range(count)])


def test_hours_are_counted_over_starts_and_the_final_seeds_are_kept_for(
    load: Callable[..., Study], clock: _Clock
) -> None:
    # 2 epochs a run; finals: 3 runs, two at once, so two rounds.
    folder = StudyFolder(load("budget.hours=1", "final.top_k=1", "final.seeds=3"))
    spending = Spending(folder)
    spending.place(0.0, 2)
    assert spending.reached() is None
    for seconds in (900, 300, 300, 300):  # two runs for half an hour; they took long to start
        clock.now += seconds
        spending.tick(2)
        spending.epoch("a")
        spending.epoch("b")
        assert spending.reached() is None
    # 300 s from epoch to epoch, 600 a run, two rounds: 1200 s kept of 3600, 1800 spent.
    assert spending.final_seconds() == 600.0
    assert spending.reached() is None
    spending.save()

    _epochs(folder, "trials/0000", 12)
    _epochs(folder, "trials/0001", 5, source="before/trials/0007")  # another study paid for it
    clock.now += 99_999  # the driver is away
    again = Spending(folder)
    assert (again.wall, again.busy, again.epochs, again.concurrent) == (1800.0, 3600.0, 12, 2)
    clock.now += 600
    again.tick(0)
    assert again.reached() == "budget.hours: 1, 0.6667 used, 0.3333 kept for final seeds"
    _epochs(folder, "finals/0000-seed1", 2)
    assert again.reached() is None  # one round is left


def test_gpu_hours_are_runs_times_their_gpus(load: Callable[..., Study], clock: _Clock) -> None:
    folder = StudyFolder(load("budget.gpu_hours=8", "final.top_k=0"))
    spending = Spending(folder)
    spending.place(4.0, 2)
    clock.now += 3599
    spending.tick(2)
    assert spending.reached() is None
    clock.now += 1
    spending.tick(2)
    assert spending.reached() == "budget.gpu_hours: 8, 8 used, 0 kept for final seeds"


def test_epochs_end_the_search_where_the_final_seeds_need_the_rest(load: Callable[..., Study]) -> None:
    folder = StudyFolder(load("budget.epochs=10", "final.top_k=1", "final.seeds=2"))  # 4 of them
    _epochs(folder, "trials/0000", 2)
    _epochs(folder, "trials/0001", 3, "running")
    assert Spending(folder).reached() is None
    _epochs(folder, "trials/0002", 1)
    assert Spending(folder).reached() == "budget.epochs: 10, 6 used, 4 kept for final seeds"


def test_a_count_is_written_at_most_every_few_seconds(load: Callable[..., Study], clock: _Clock) -> None:
    folder = StudyFolder(load())
    spending = Spending(folder)
    clock.now += budget.SAVE_SECONDS - 0.1
    spending.tick(1)
    assert not folder.storage.exists(budget.FILE)
    clock.now += 0.2
    spending.tick(1)
    assert Spending(folder).wall == pytest.approx(budget.SAVE_SECONDS + 0.1)
