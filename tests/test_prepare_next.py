"""What data.prepare says to type next is a study that loads, for every reader."""

import shlex

import pytest

from data.prepare import NEXT
from orchestration import study_file


@pytest.mark.parametrize("reader", NEXT)
def test_the_next_command_of_a_reader_is_a_valid_study(reader: str) -> None:
    space, *overrides = shlex.split(NEXT[reader].format("mine"))
    study = study_file.load(space, [*overrides, "data.root=faces/mine"])
    assert study.config({}).data.root.endswith("faces/mine")
