"""`search.start_from`: points, and results of an earlier study that are results of this one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from orchestration import inputs
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.search import OptunaTrials
from orchestration.start import take_over
from orchestration.study import Study

SPACE = {
    "loss.gender_weight": {"low": 0.1, "high": 10, "log": True},
    "loss.position_weight": {"low": 0.01, "high": 10, "log": True},
}


def _inputs(config: RunConfig) -> Inputs:
    return inputs.resolve(config)


def _points(folder: StudyFolder, count: int) -> list[dict[str, Any]]:
    source = OptunaTrials(folder)
    return [member.params for member in (source.next() for _ in range(count)) if member is not None]


def test_listed_points_come_first_and_what_they_leave_open_is_drawn(load: Callable[..., Study]) -> None:
    listed = [{"loss.gender_weight": 2.0, "loss.position_weight": 3.0}, "run", {"loss.gender_weight": 5.0}]
    folder = StudyFolder(load(search={"trials": 5, "start_from": listed}))
    first, own, third, fourth = _points(folder, 4)
    assert first == listed[0]
    assert own == {"loss.gender_weight": 1.0, "loss.position_weight": 1.0}
    assert third["loss.gender_weight"] == 5.0 and 0.01 <= third["loss.position_weight"] <= 10
    assert fourth["loss.gender_weight"] not in (2.0, 1.0, 5.0)


def test_after_a_kill_only_the_points_that_did_not_begin_are_left(load: Callable[..., Study]) -> None:
    listed = [{"loss.gender_weight": w, "loss.position_weight": 1.0} for w in (2.0, 3.0, 4.0)]
    folder = StudyFolder(load(search={"trials": 5, "start_from": listed}))
    source = OptunaTrials(folder)
    for status in ("complete", "running"):
        member = source.next()
        assert member is not None
        folder.put(replace(member, status=status, value=5.0 if status == "complete" else None))
    points = [point["loss.gender_weight"] for point in _points(folder, 3)]
    assert points[:2] == [3.0, 4.0] and points[2] not in (2.0, 3.0, 4.0)


@pytest.fixture
def earlier(load: Callable[..., Study]) -> StudyFolder:
    """Four trials of another study: a bad, a good and a middling one, and the best of them pruned."""
    folder = StudyFolder(load("study=before", "search.trials=4"))
    folder.begin(_inputs(folder.study.config()))
    rows = [(0.5, 9.0, "complete"), (2.0, 5.0, "complete"), (4.0, 7.0, "complete"), (6.0, 4.0, "pruned")]
    for number, (weight, value, status) in enumerate(rows):
        params = {"loss.gender_weight": weight, "loss.position_weight": 1.0}
        config = folder.study.config(params)
        member = folder.start(Member(f"trials/{number:04d}", params=params), config, _inputs(config))
        put_metrics(
            folder.storage.child(member.name),
            [{"epoch": 1, "time": 1.0, "best": value, "val/age_mae": value}],
        )
        folder.end(member, status, value=value)
    return folder


def test_the_best_of_an_earlier_study_are_known_and_not_run_again(
    earlier: StudyFolder, load: Callable[..., Study]
) -> None:
    folder = StudyFolder(load(search={"trials": 4, "start_from": "study:before:2"}))
    take_over(folder, _inputs)
    known = folder.members("trials")
    assert [(m.name, m.status, m.value, m.source) for m in known] == [
        ("trials/0000", "complete", 5.0, "before/trials/0001"),
        ("trials/0001", "complete", 7.0, "before/trials/0002"),
    ]
    assert folder.resolved(known[0])["run"]["loss"]["gender_weight"] == 2.0
    source = OptunaTrials(folder)
    assert source.optuna.best_value == 5.0
    new = [member for member in (source.next() for _ in range(3)) if member is not None]
    assert [member.name for member in new] == ["trials/0002", "trials/0003"]
    assert all(m.params["loss.gender_weight"] not in (2.0, 4.0) for m in new)
    take_over(folder, _inputs)  # the search has not begun: a second start changes nothing
    assert folder.members("trials") == known


def test_a_kill_while_results_are_taken_over_is_made_up_for(
    earlier: StudyFolder, load: Callable[..., Study]
) -> None:
    folder = StudyFolder(load(search={"trials": 4, "start_from": "study:before:3"}))
    take_over(folder, _inputs)
    whole = folder.members("trials")
    folder.storage.delete("trials/0001/state.json")
    folder.storage.delete("trials/0002/state.json")
    again = StudyFolder(folder.study)
    take_over(again, _inputs)
    assert StudyFolder(folder.study).members("trials") == whole and len(whole) == 3


def test_where_the_experiment_is_another_the_points_are_tried_anew(
    earlier: StudyFolder, load: Callable[..., Study]
) -> None:
    folder = StudyFolder(load("train.epochs=3", search={"trials": 4, "start_from": "study:before:2"}))
    take_over(folder, _inputs)
    assert folder.members("trials") == []
    points = [point["loss.gender_weight"] for point in _points(folder, 3)]
    assert points[:2] == [2.0, 4.0] and points[2] not in (2.0, 4.0)


def test_a_result_outside_this_space_is_left_out(earlier: StudyFolder, load: Callable[..., Study]) -> None:
    space = {**SPACE, "loss.gender_weight": {"low": 3.0, "high": 10}}
    folder = StudyFolder(load(space=space, search={"trials": 4, "start_from": "study:before:2"}))
    take_over(folder, _inputs)
    assert [m.source for m in folder.members("trials")] == ["before/trials/0002"]


def test_a_study_that_is_not_there_is_a_users_mistake(load: Callable[..., Study]) -> None:
    folder = StudyFolder(load(search={"start_from": "study:nowhere"}))
    with pytest.raises(UserError, match="no study nowhere in"):
        OptunaTrials(folder)
