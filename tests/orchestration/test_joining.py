"""A node that does not fit the driver is named with what to do, before anything runs."""

import pytest

from orchestration import probe
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
