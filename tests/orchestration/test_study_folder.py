"""The study folder: going on, what may change and what is refused, members as they were written."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration import study_file
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.study import Study

INPUTS = Inputs("/faces", "f1", "s1", (1, 2, 3))
WIDE = {"loss.gender_weight": {"low": 0.1, "high": 10}, "features.views": {"choices": [["identity"]]}}


@pytest.fixture
def begun(load: Callable[..., Study]) -> Callable[..., None]:
    """Begins the study of this test's storage with overrides and inputs."""

    def begin(*overrides: str, inputs: Inputs = INPUTS, **sections: Any) -> None:
        StudyFolder(load(*overrides, **sections)).begin(inputs)

    begin(space=WIDE)
    return begin


@pytest.mark.parametrize(
    "change",
    [
        "search.trials=64",
        "resources.cpus_per_worker=2",
        "final.top_k=3",
        "final.seeds=9",
        "data.root=synthetic:301x24",  # the hashes below say that it is the same data
        "experiment=other",
        "tracking_uri=http://localhost:5000",
    ],
)
def test_a_study_goes_on_with_more_trials_elsewhere_and_other_finals(
    begun: Callable[..., None], change: str
) -> None:
    begun(change, space=WIDE)
    begun(space=WIDE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("loss.position_weight=2", "run.loss.position_weight: was None, received 2"),
        ("seed=1", "run.seed"),
        ("search.sampler=random", "search.sampler: was 'tpe', received 'random'"),
        ("search.seed=4", "search.seed: was 0, received 4"),
        ("objective.metric=val/age_rmse", "objective.metric: was 'val/age_mae', received 'val/age_rmse'"),
    ],
)
def test_a_study_started_with_other_values_is_refused_with_the_difference(
    begun: Callable[..., None], change: str, words: str
) -> None:
    with pytest.raises(UserError) as caught:
        begun(change, space=WIDE)
    message = str(caught.value)
    assert words in message and "--fresh" in message and "study=NAME" in message


def test_another_space_is_refused(begun: Callable[..., None]) -> None:
    with pytest.raises(UserError, match=r"space\.loss\.gender_weight\.high: was 10\.0, received 9\.0"):
        begun(space={**WIDE, "loss.gender_weight": {"low": 0.1, "high": 9}})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": "f2"}, "fingerprint: was 'f1', received 'f2'"),
        ({"split_hash": "s2"}, "split_hash"),
        ({"weights_sha256": "w"}, "weights_sha256: was None, received 'w'"),
        ({"labels": (1, 2)}, "labels"),
    ],
)
def test_other_data_behind_the_same_path_are_refused(
    begun: Callable[..., None], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        begun(inputs=replace(INPUTS, **change), space=WIDE)


def test_the_studys_record_is_itself_the_study(load: Callable[..., Study], tmp_path: Path) -> None:
    study = load(space=WIDE)
    StudyFolder(study).begin(INPUTS)
    again = study_file.load(str(tmp_path / "runs" / "tiny" / "study.yaml"))
    assert again.config() == study.config() and again.space == study.space
    StudyFolder(again).begin(INPUTS)


def test_members_come_back_as_they_were_put_in_order(load: Callable[..., Study]) -> None:
    folder = StudyFolder(load())
    members = [
        Member("trials/0000", "complete", {"a.b": 0.1, "c": [1, "x"]}, 3, 2, 4.5, None, "id", "f"),
        Member("trials/0001", "failed", reason="why", started=1.5, ended=2.5),
        Member("trials/0010", "running"),
    ]
    for member in reversed(members):
        folder.put(member)
    folder.put(Member("finals/0010-seed1", "complete", test={"age_mae": 5.0}))
    assert folder.members("trials") == members
    assert [m.number for m in members] == [0, 1, 10]
    (final,) = folder.members("finals")
    assert final.number == 10 and final.test == {"age_mae": 5.0}


def test_a_members_resolved_file_is_a_study_of_exactly_that_run(
    load: Callable[..., Study], tmp_path: Path
) -> None:
    space = {
        "model.neck.name": {"choices": ["none", "mlp"]},
        "model.neck.width": {"low": 8, "high": 64, "when": {"model.neck.name": "mlp"}},
    }
    folder = StudyFolder(load(space=space))
    config = folder.study.config({"model.neck.name": "mlp", "model.neck.width": 9}, seed=3)
    folder.start(Member("trials/0000"), config, INPUTS)
    path = tmp_path / "runs" / "tiny" / "trials" / "0000" / "resolved.yaml"
    assert study_file.load(str(path)).config() == config
    assert isinstance(config, RunConfig) and config.model.neck.width == 9


def test_starting_counts_attempts_and_keeps_the_first_start(load: Callable[..., Study]) -> None:
    folder = StudyFolder(load())
    first = folder.start(Member("trials/0000"), folder.study.config(), INPUTS)
    second = folder.start(first, folder.study.config(), INPUTS)
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.started == first.started > 0 and second.identity == first.identity
    assert folder.members("trials") == [second]


def test_every_test_evaluation_is_in_the_ledger_once(load: Callable[..., Study], tmp_path: Path) -> None:
    folder = StudyFolder(load())
    member = folder.start(Member("finals/0000-seed1"), folder.study.config(), INPUTS)
    for stamp in ("2026-01-01T10:00:00", "2026-01-01T10:00:00", "2026-02-02T10:00:00"):
        # A driver killed between ledger and state enters the same evaluation twice; --fresh makes another.
        folder.storage.put_json(f"{member.name}/result.json", {"test": {"age_mae": 6.0}, "time": stamp})
        folder.end(member, "complete", value=5.0, test=folder.test_scores(member))
    folder.end(folder.start(Member("trials/0000"), folder.study.config(), INPUTS), "complete", value=4.0)
    entries = [
        json.loads(path.read_text()) for path in (tmp_path / "runs" / "tiny" / "test_ledger").iterdir()
    ]
    assert sorted(entry["time"][:7] for entry in entries) == ["2026-01", "2026-02"]
    assert {entry["identity"] for entry in entries} == {member.identity}


def test_a_failed_run_begins_again_without_its_reason_and_a_killed_one_goes_on(
    load: Callable[..., Study],
) -> None:
    folder = StudyFolder(load())
    failed = folder.end(
        folder.start(Member("single/a", started=1.0), folder.study.config(), INPUTS),
        "failed",
        value=9.0,
        reason="loss is not finite",
    )
    again = folder.start(failed, folder.study.config(), INPUTS)
    assert (again.reason, again.value, again.ended) == (None, None, None) and again.started > 1.0
    assert folder.start(again, folder.study.config(), INPUTS).started == again.started
