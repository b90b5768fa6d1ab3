"""`base:` in a study file: another file's values lie below its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestration import study_file
from orchestration.errors import ConfigError, UserError

Write = Callable[..., Path]

BASE: dict[str, Any] = {
    "study": "base",
    "run": {
        "data": {"root": "synthetic:300x24"},
        "model": {"neck": {"name": "mlp", "width": 32}, "position_head": {"name": "none"}},
        "train": {"epochs": 9, "batch_size": 32},
    },
    "final": {"top_k": 2, "seeds": 5},
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: dict[str, Any]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(content))
        return path

    return put


def test_a_file_changes_what_it_names_and_keeps_the_rest_of_its_base(write: Write) -> None:
    write("base.yaml", BASE)
    path = write("row.yaml", {"base": "base.yaml", "study": "row", "run": {"train": {"epochs": 3}}})
    study = study_file.load(str(path), ["final.seeds=7"])
    config = study.config()
    assert (config.train.epochs, config.train.batch_size) == (3, 32)
    assert (study.study, study.final.top_k, study.final.seeds) == ("row", 2, 7)
    assert config.model.neck.model_dump()["width"] == 32


def test_a_changed_class_drops_the_bases_keys_of_it(write: Write) -> None:
    write("base.yaml", BASE)
    path = write(
        "row.yaml", {"base": "base.yaml", "study": "row", "run": {"model": {"neck": {"name": "none"}}}}
    )
    assert study_file.load(str(path)).config().model.neck.name == "none"


def test_bases_of_bases_are_sought_beside_the_file_that_names_them(write: Write, tmp_path: Path) -> None:
    write("low/base.yaml", BASE)
    write("low/middle.yaml", {"base": "base.yaml", "run": {"train": {"epochs": 4}}})
    path = write("row.yaml", {"base": "low/middle.yaml", "run": {"train": {"batch_size": 16}}})
    train = study_file.load(str(path)).config().train
    assert (train.epochs, train.batch_size) == (4, 16)


def test_a_circle_and_a_missing_base_are_one_message_each(write: Write) -> None:
    first = write("a.yaml", {"base": "b.yaml"})
    write("b.yaml", {"base": "a.yaml"})
    with pytest.raises(UserError, match=r"in a circle: .*a\.yaml → .*b\.yaml → .*a\.yaml"):
        study_file.load(str(first))
    lost = write("lost.yaml", {"base": "utkfase.yaml"})
    with pytest.raises(
        UserError, match=r"lost\.yaml: base utkfase\.yaml: no such file\. Did you mean 'utkface"
    ):
        study_file.load(str(lost))
    with pytest.raises(ConfigError, match="base: expected the name of a study file, received 3"):
        study_file.load(str(write("three.yaml", {"base": 3})))


def test_an_unknown_key_names_the_base_it_is_in(write: Write) -> None:
    write("base.yaml", {**BASE, "serach": {"trials": 3}})
    path = write("row.yaml", {"base": "base.yaml", "study": "row", "basse": 1})
    with pytest.raises(ConfigError) as raised:
        study_file.load(str(path))
    text = str(raised.value)
    assert "serach: unknown key (in " in text and "base.yaml). Did you mean 'search'?" in text
    assert "basse: unknown key. Did you mean 'base'?" in text
