"""Optuna's file in the study folder: equal to the folder at every moment, whatever a kill leaves of it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.journal import NAME, Journal, differences
from orchestration.objectives import outcome
from orchestration.records import Member
from orchestration.run import put_metrics
from orchestration.search import OptunaTrials
from orchestration.study import Study

INPUTS = Inputs("/faces", "print", "split", (1, 2, 3))
SPACE = {
    "model.neck.name": {"choices": ["none", "mlp"]},
    "model.neck.width": {"low": 8, "high": 64, "when": {"model.neck.name": "mlp"}},
    "loss.gender_weight": {"low": 0.1, "high": 10, "log": True},
}


@pytest.fixture
def folder(load: Callable[..., Study]) -> StudyFolder:
    """A study of 7 trials with a condition and a constraint."""
    return StudyFolder(load("search.trials=7", "search.constraints=[train/seconds <= 2.5]", space=SPACE))


def _opened(folder: StudyFolder) -> optuna.Study:
    """As optuna-dashboard opens it."""
    storage = JournalStorage(JournalFileBackend(str(Path(folder.storage.root) / NAME)))
    return optuna.load_study(study_name=None, storage=storage)


def _epoch(folder: StudyFolder, member: Member, value: float) -> int:
    lines = folder.lines(member)
    best = min([value, *(line["val/age_mae"] for line in lines)])
    line = {"epoch": len(lines) + 1, "best": best, "val/age_mae": value, "train/seconds": 1.0}
    put_metrics(folder.storage.child(member.name), [*lines, line])
    return len(lines) + 1


def _some_search(folder: StudyFolder, steps: int, rng: random.Random) -> OptunaTrials:
    """Trials begin, report and end in any order; after every step Optuna's two studies equal the folder."""
    source = OptunaTrials(folder)
    live: list[Member] = []
    for _ in range(steps):
        if len(live) < 3 and len(source):
            member = source.next()
            assert member is not None
            live.append(folder.start(member, folder.study.config(member.params), INPUTS))
        elif live:
            member = rng.choice(live)
            epoch = _epoch(folder, member, rng.uniform(3, 9))
            source.report(member, epoch, folder.lines(member)[-1]["best"])
            if rng.random() < 0.4:
                live.remove(member)
                lines = folder.lines(member)
                status = rng.choice(["complete", "pruned", "failed"])
                reason = "loss is not finite" if status == "failed" else None
                worth = outcome(folder.study, lines)
                ended = folder.end(member, status, value=lines[-1]["best"], reason=reason, **worth)
                source.tell(ended)
        told = [line for line in differences(folder, _opened(folder)) if not _unheard(folder, line)]
        assert told == []
    return source


def _unheard(folder: StudyFolder, line: str) -> bool:
    """A trial without an epoch is not in the file yet: it gets there with its first."""
    member = folder.member(f"trials/{int(line.split(':')[0]):04d}")
    return "not in Optuna's" in line and member is not None and not folder.lines(member)


@pytest.mark.parametrize("seed", range(3))
def test_optunas_file_says_what_the_folder_says_after_every_step(folder: StudyFolder, seed: int) -> None:
    source = _some_search(folder, 40, random.Random(seed))
    assert differences(folder, _opened(folder)) == []
    live = {t.user_attrs["number"]: t for t in source.optuna.trials if t.state.is_finished()}
    for trial in _opened(folder).trials:
        if trial.state.is_finished():
            same = live[trial.user_attrs["number"]]
            assert (trial.state, trial.values, trial.params) == (same.state, same.values, same.params)
            assert trial.intermediate_values == same.intermediate_values
            assert trial.constraints == same.constraints and trial.user_attrs == same.user_attrs


def test_a_pruned_trials_early_value_is_never_the_best(folder: StudyFolder) -> None:
    source = OptunaTrials(folder)
    for status, value in (("pruned", 2.0), ("complete", 5.0), ("failed", 1.0)):
        member = source.next()
        assert member is not None
        member = folder.start(member, folder.study.config(member.params), INPUTS)
        _epoch(folder, member, value)
        source.tell(folder.end(member, status, value=value, **outcome(folder.study, folder.lines(member))))
    for study in (source.optuna, _opened(folder)):
        assert study.best_value == 5.0
        finished = study.get_trials(states=[TrialState.COMPLETE])
        assert [trial.user_attrs["number"] for trial in finished] == [1]


def test_a_file_cut_anywhere_by_a_kill_is_made_whole(folder: StudyFolder) -> None:
    _some_search(folder, 15, random.Random(5))
    path = Path(folder.storage.root) / NAME
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(12):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        Journal(folder)
        assert differences(folder, _opened(folder)) == []
    path.write_bytes(b"\x00not a journal\n" * 3)
    Journal(folder)
    assert differences(folder, _opened(folder)) == []


def test_a_file_that_is_ahead_of_the_folder_is_written_again(folder: StudyFolder) -> None:
    _some_search(folder, 15, random.Random(6))
    Journal(folder)
    path = Path(folder.storage.root) / NAME
    before = path.read_bytes()
    Journal(folder)
    assert path.read_bytes() == before  # nothing to say
    running = next(m for m in folder.members("trials") if m.status == "running" and folder.lines(m))
    lines = folder.lines(running)
    put_metrics(folder.storage.child(running.name), lines[:-1])  # a disk that lost the last write
    assert differences(folder, _opened(folder)) != []
    Journal(folder)
    assert differences(folder, _opened(folder)) == []


def test_several_objectives_are_in_the_file_with_all_their_values(load: Callable[..., Study]) -> None:
    several: list[dict[str, Any]] = [{"metric": "val/age_mae"}, {"metric": "train/seconds"}]
    folder = StudyFolder(load("search.sampler=nsga2", objective=several, search={"trials": 4}))
    source = OptunaTrials(folder)
    for value in (6.0, 5.0, 4.0):
        member = source.next()
        assert member is not None
        member = folder.start(member, folder.study.config(member.params), INPUTS)
        for _ in range(int(value)):
            source.report(member, _epoch(folder, member, value), value)
        worth = outcome(folder.study, folder.lines(member))
        source.tell(folder.end(member, "complete", value=value, **worth))
    assert differences(folder, _opened(folder)) == []
    assert [t.values for t in _opened(folder).trials] == [[6.0, 6.0], [5.0, 5.0], [4.0, 4.0]]
    assert [t.number for t in _opened(folder).best_trials] == [2]
