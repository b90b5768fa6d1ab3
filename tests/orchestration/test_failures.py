"""Failures: their cause in words, a NaN within an epoch, batches in halves, and what hangs."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from orchestration.config import RunConfig, identity
from orchestration.failures import cause_of, failure, halved
from orchestration.folder import StudyFolder
from orchestration.inputs import Inputs
from orchestration.records import Member
from orchestration.run import Run, Superseded
from orchestration.stalls import Stalls
from orchestration.study import Study
from orchestration.training import CHECK_STEPS, Diverged, Training

# What torch's allocator on the CPU raises: a RuntimeError.
NO_MEMORY = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: 9 bytes"


CLOCK = ("train/seconds", "train/images_per_second")
PLAIN = {
    "train.precision": "float64",
    "train.epochs": 2,
    "model.train_backbone": False,
    "model.neck.name": "mlp",
    "model.neck.width": 16,
}


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Diverged("loss is not finite"), "not finite"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError(NO_MEMORY), "out of memory"),
        (MemoryError(), "out of memory"),
        (RuntimeError("shapes differ"), "exception"),
        (ValueError("out of memory lane"), "exception"),
    ],
)
def test_a_failure_has_one_of_a_few_causes(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_a_real_allocation_beyond_the_machine_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert cause_of(caught.value) == "out of memory"


def test_a_report_has_one_line_of_reason_and_the_end_of_the_traceback() -> None:
    try:
        raise ValueError("first line\nsecond line")
    except ValueError as error:
        report = failure(error)
    assert report["failed"] == "ValueError: first line"
    assert report["trace"].splitlines()[0].startswith("Traceback")
    assert "second line" in report["trace"] and "test_failures.py" in report["trace"]


def test_a_loss_that_is_not_finite_ends_the_epoch_soon(make: Callable[[dict[str, Any]], Training]) -> None:
    training = make({**PLAIN, "train.batch_size": 2})
    assert training.batches.steps() > CHECK_STEPS
    steps = 0
    update = training.optimizer.step

    def step() -> None:
        nonlocal steps
        steps += 1
        update()
        if steps == 3:
            with torch.no_grad():
                next(training.network.age_head.parameters()).fill_(float("nan"))

    training.optimizer.step = step  # type: ignore[assignment,method-assign]
    with pytest.raises(Diverged, match=rf"not finite in epoch 1, by step {CHECK_STEPS}: sums age nan"):
        training.step()
    assert steps == CHECK_STEPS


@pytest.mark.parametrize("parts", [2, 3])
def test_a_batch_in_parts_trains_as_the_whole_batch(
    make: Callable[[dict[str, Any]], Training], parts: int
) -> None:
    """Without batch norm and dropout: in float64, last batches that divide unevenly included."""
    runs = [make({**PLAIN, "train.batch_size": 41, "train.accumulate": n}) for n in (1, parts)]
    whole, split = ([run.step() for _ in range(2)] for run in runs)
    for one, other in zip(whole, split, strict=True):
        for key in one.keys() - set(CLOCK):
            assert one[key] == pytest.approx(other[key], abs=1e-9), key
    for key, value in runs[0].network.state_dict().items():
        torch.testing.assert_close(value, runs[1].network.state_dict()[key], rtol=0, atol=1e-9)


def test_halves_are_tried_once_and_are_another_experiment(load: Callable[..., Study]) -> None:
    study = load("resources.on_oom=halve_batch", "train.batch_size=64")
    member = Member("trials/0003", "running")
    again = halved(study, member, "out of memory")
    assert again is not None and again.changes == {"train.accumulate": 2}
    assert halved(study, again, "out of memory") is None
    assert halved(study, member, "exception") is None
    assert halved(load("train.batch_size=64"), member, "out of memory") is None
    assert halved(load("resources.on_oom=halve_batch", "train.batch_size=3"), member, "out of memory") is None
    folder = StudyFolder(study)
    configs = [folder.config_of(m) for m in (member, again)]
    assert configs[0].train.batch_size == configs[1].train.batch_size
    assert identity(configs[0], {}) != identity(configs[1], {})


def test_a_run_that_was_ended_meanwhile_does_not_begin(
    load: Callable[..., Study], config: Callable[..., RunConfig], prepared: Callable[..., Inputs]
) -> None:
    folder = StudyFolder(load())
    run = folder.study.config()
    inputs = prepared(run)
    member = folder.start(Member("trials/0000"), run, inputs)
    task = folder.task(member, run, inputs, test=False)
    folder.fail(member, "hang", "hang", None)
    with pytest.raises(Superseded):
        Run(task, torch.device("cpu"))


class _Trial:
    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def test_a_hang_is_no_report_for_the_stated_time_or_ten_of_the_longest_epochs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    stated, auto = Stalls(2.0), Stalls("auto")
    trials = [_Trial("a"), _Trial("b")]
    for stalls in (stated, auto):
        assert stalls.among(trials) == []
    now = 100.0
    for stalls in (stated, auto):
        stalls.heard("a")
    now = 121.0
    assert [(t.trial_id, reason) for t, reason in stated.among(trials)] == [
        ("b", "hang: no report for 2 minutes")
    ]
    assert stated.among(trials) == []  # said once
    now = 1100.0
    assert auto.limit() == 1000.0  # ten epochs of 100 s
    assert [t.trial_id for t, _ in auto.among(trials)] == ["b"]
    now = 1100.1
    assert [t.trial_id for t, _ in auto.among(trials)] == ["a"]


def test_a_member_that_starts_over_leaves_nothing_of_its_first_try(
    load: Callable[..., Study], prepared: Callable[..., Inputs]
) -> None:
    folder = StudyFolder(load("resources.on_oom=halve_batch"))
    run = folder.study.config()
    member = folder.start(Member("trials/0000"), run, prepared(run))
    folder.storage.put("trials/0000/metrics.jsonl", b'{"epoch": 1}\n')
    folder.storage.put("trials/0000/last.pt", b"x")
    again = halved(folder.study, member, "out of memory")
    assert again is not None
    folder.begin_again(again)
    # A kill here: the next start goes on with halves.
    known = folder.member("trials/0000")
    assert known is not None and known.status == "running"
    started = folder.start(known, folder.config_of(known), prepared(run))
    assert folder.lines(started) == [] and not folder.storage.exists("trials/0000/last.pt")
    assert folder.resolved(started)["run"]["train"]["accumulate"] == 2
    assert started.identity != member.identity and replace(started, attempt=1).changes == again.changes
