"""What a run writes in which order, so that a kill between any two writes loses nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from orchestration import checkpoint, run
from orchestration.config import RunConfig
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member, read_metrics
from orchestration.run import Run
from orchestration.storage import Storage
from orchestration.study import Study
from orchestration.training import Diverged


class Watched(Storage):
    """A storage that notes, at every write, the epochs that lines and checkpoint have reached."""

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        last = checkpoint.get(self, "last.pt")
        reached = 0 if last is None else int(last["epoch"])
        self.seen = [*getattr(self, "seen", []), (len(read_metrics(self)), reached)]


@pytest.fixture
def started(
    config: Callable[..., RunConfig], prepared: Callable[..., Inputs], tmp_path: Path
) -> Callable[..., Run]:
    """A run that scores the test part, in a folder of its own."""

    def start(**values: object) -> Run:
        chosen = config({"train.epochs": 3, **values})
        study = Study(study="one", run=chosen.model_dump(mode="json"), storage=str(tmp_path))
        folder = StudyFolder(study)
        inputs = prepared(chosen)
        member = folder.start(Member("single/a"), chosen, inputs)
        return Run(folder.task(member, chosen, inputs, test=True), torch.device("cpu"))

    return start


def test_no_write_leaves_a_checkpoint_past_the_lines(
    started: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 0.0)
    running = started()
    running.storage = watched = Watched(running.storage.root)
    for _ in range(3):
        running.step()
    assert all(lines >= reached for lines, reached in watched.seen)
    assert watched.seen[-1] == (3, 3)


def test_a_missing_best_checkpoint_and_damaged_lines_are_said(started: Callable[..., Run]) -> None:
    running = started()
    for _ in range(3):
        running.step()
    running.storage.delete("best.pt")
    with pytest.raises(UserError, match=r"best\.pt is gone"):
        running.conclude()
    running.storage.put("metrics.jsonl", b'{"epoch": 1}\n{"epo')
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
        read_metrics(running.storage)


def test_a_validation_value_that_is_not_finite_fails_the_run(started: Callable[..., Run]) -> None:
    running = started()
    with torch.no_grad():
        for parameter in running.training.network.age_head.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(Diverged):
        running.step()
