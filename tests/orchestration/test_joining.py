"""A node that does not fit the driver is named with what to do, before anything runs."""

from pathlib import Path

import pytest

from orchestration import client, interface, probe, study_file
from orchestration.joining import difference

HERE: dict[str, str | None] = dict.fromkeys(probe.NEEDED, "2.1.0") | {"Python": "3.11.7", "ray": "2.60.0"}


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({}, ""),
        ({"Python": "3.11.9", "torch": "2.6.0"}, ""),
        ({"Python": "3.12.1"}, "Python 3.12.1, here 3.11.7: install the same on every node"),
        ({"ray": "2.60.1"}, "ray 2.60.1, here 2.60.0: install the same on every node"),
        ({"torch": None, "PyYAML": None}, "torch, PyYAML missing: pip install torch PyYAML there"),
    ],
)
def test_what_keeps_a_node_from_working_along(there: dict[str, str | None], words: str) -> None:
    assert difference(HERE, {**HERE, **there}) == words


def test_a_node_that_does_not_answer_is_named_so() -> None:
    assert difference(HERE, TimeoutError("no answer in 90 s")) == "no answer: no answer in 90 s"


def test_the_codes_hash_changes_with_a_file_and_not_with_a_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("code")
    for name in probe.OURS:
        (folder / name / "__pycache__").mkdir(parents=True)
        (folder / name / "__init__.py").write_text("")
    monkeypatch.setattr(probe, "folder_of", lambda package: folder / package)
    before = probe.code_hash()
    (folder / "model" / "__pycache__" / "x.py").write_text("1")
    assert probe.code_hash() == before
    (folder / "model" / "x.py").write_text("1")
    assert probe.code_hash() != before


@pytest.mark.parametrize(
    "typed",
    [
        ["--space", "a.yaml", "x=1", "--address", "ray://h:1", "--fresh"],
        ["x=1", "--fresh", "--address=ray://h:1", "--space=a.yaml"],
    ],
)
def test_what_the_head_is_told_is_what_was_typed_but_for_the_way_to_it(typed: list[str]) -> None:
    assert client.without(typed, ("--address", "--space")) == ["x=1", "--fresh"]


def test_a_study_goes_to_the_head_with_the_files_it_builds_on(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "mine.yaml").write_text("base: below.yaml\nstudy: mine\n")
    (tmp_path / "here" / "below.yaml").write_text("base: demo.yaml\n")
    (tmp_path / "there").mkdir()
    there = tmp_path / "there" / client.send_study(tmp_path / "there", str(tmp_path / "here" / "mine.yaml"))
    assert [path.name for path, _ in study_file.chain(there)] == ["demo.yaml", "below.yaml", "mine.yaml"]
    assert all(path.parent == there.parent for path, _ in study_file.chain(there))


def test_an_address_is_found_on_its_interface() -> None:
    assert interface.interface_of("127.0.0.1") == "lo"
    assert interface.interface_of("192.0.2.255") is None  # an address for documentation, RFC 5737
