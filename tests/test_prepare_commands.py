"""What data.prepare says to type next is a study that loads, and docs/get_data.md types what it accepts."""

import re
import shlex
from pathlib import Path

import pytest

from data.prepare_arguments import NEXT, READERS, parser
from orchestration import study_file

GUIDE = Path(__file__).parents[1] / "docs" / "get_data.md"


@pytest.mark.parametrize("reader", NEXT)
def test_the_next_command_of_a_reader_is_a_valid_study(reader: str) -> None:
    space, *overrides = shlex.split(NEXT[reader].format("mine"))
    study = study_file.load(space, [*overrides, "data.root=faces/mine"])
    assert study.config({}).data.root.endswith("faces/mine")


def test_the_guide_has_a_command_for_every_reader_that_the_parser_accepts() -> None:
    commands = re.findall(r"^ *python -m data\.prepare ((?!READER).*)$", GUIDE.read_text(), re.MULTILINE)
    parsed = [parser("").parse_args(shlex.split(command, comments=True)) for command in commands]
    assert {arguments.reader for arguments in parsed} == set(READERS)
