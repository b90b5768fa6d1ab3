"""What a person reads: labels, tables, the live table."""

import io

import pytest
from rich.console import Console as Terminal

from orchestration.console import labels, size, table
from orchestration.live import Console
from orchestration.progress import Progress
from orchestration.records import Member
from orchestration.stopping import Stopping


def test_labels_tell_paths_apart() -> None:
    paths = ["loss.gender_weight", "model.neck.name", "model.age_head.name", "references.k", "model.neck.k"]
    assert labels(paths) == {
        "loss.gender_weight": "gender_weight",
        "model.neck.name": "neck",
        "model.age_head.name": "age_head",
        "references.k": "references.k",
        "model.neck.k": "neck.k",
    }


def test_sizes_and_tables() -> None:
    assert [size(n) for n in (812, 3174, 5 * 2**30)] == ["812 B", "3.1 KiB", "5.0 GiB"]
    assert table(["a", "b"], [["long", "x"], ["s", ""]]) == ["  a     b", "  long  x", "  s"]


@pytest.fixture
def watched() -> Console:
    progress = Progress(4, Stopping(6, 2), "min")
    console = Console(progress, "val/age_mae", ["loss.gender_weight", "model.neck.width", "optimizer.lr"])
    first = Member("trials/0000", params={"loss.gender_weight": 0.5, "optimizer.lr": 0.001})
    second = Member("trials/0001", params={"loss.gender_weight": 2.0, "model.neck.width": 64})
    for member in (first, second):
        console.started(member)
    console.epoch(first, {"epoch": 1, "best": 7.125})
    return console


def drawn(console: Console, width: int) -> str:
    out = io.StringIO()
    Terminal(file=out, width=width).print(console.table(width))
    return out.getvalue()


def test_the_live_table_says_what_runs(watched: Console) -> None:
    lines = drawn(watched, 120).splitlines()
    assert lines[0].startswith("0/4 done: 2 running  |  0.0/min, about ")
    assert lines[1].split() == ["state", "epoch", "val/age_mae", "gender_weight", "width", "lr"]
    assert lines[2].split() == ["trials/0000", "running", "1/6", "7.125", "0.5", "-", "0.001"]
    assert lines[3].split() == ["trials/0001", "running", "0/6", "2", "64", "-"]


def test_a_narrow_terminal_hides_parameters_and_says_how_many(watched: Console) -> None:
    lines = drawn(watched, 68).splitlines()
    assert max(map(len, lines)) <= 68
    assert lines[1].split()[-2:] == ["gender_weight", "+2"]


def test_without_a_terminal_every_end_is_a_line(watched: Console, capsys: pytest.CaptureFixture[str]) -> None:
    with watched:
        member = Member("trials/0000", "pruned", {"loss.gender_weight": 0.5}, value=7.125)
        watched.ended(member)
    words = capsys.readouterr().err
    assert words.startswith("[1/4] trials/0000 pruned after epoch 1 val/age_mae 7.125  gender_weight=0.5  | ")
