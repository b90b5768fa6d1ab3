"""What a run records of leaks: by its split, by what its checkpoint was trained on, by pretraining."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from data import splits
from data.faces import Faces
from data.verdicts import against_name
from model import weights as weights_file
from orchestration.audit_line import audit_line
from orchestration.config import RunConfig
from orchestration.folder import StudyFolder
from orchestration.inputs import resolve
from orchestration.records import Member
from orchestration.study import Study
from orchestration.verdict import verdict


def _checkpoint(path: Path, weights: Path, **origin: Any) -> Path:
    torch.save({**weights_file.read(weights), "origin": origin}, path)
    return path


@pytest.fixture
def faces(config: Callable[..., RunConfig]) -> Faces:
    return Faces.open(config().data.root)


@pytest.fixture
def split(faces: Faces, config: Callable[..., RunConfig]) -> splits.Split:
    return splits.load(faces, config().data.spec())


def test_random_weights_have_seen_nobody(faces: Faces, split: splits.Split) -> None:
    found = verdict(faces, split, None)
    assert (found["fine_tuning"], found["pretraining"]) == ("none found", "none found")


def test_what_others_weights_have_seen_cannot_be_determined(
    faces: Faces, split: splits.Split, weights: Path
) -> None:
    found = verdict(faces, split, weights)
    assert (found["fine_tuning"], found["pretraining"]) == ("none found", "cannot be determined")


@pytest.mark.parametrize(
    ("origin", "fine_tuning", "pretraining"),
    [
        (
            {"fingerprint": "same", "split": "same", "started_from": "random weights"},
            "none found",
            "none found",
        ),
        ({"fingerprint": "same", "split": "other", "started_from": "ab12"}, "leak", "cannot be determined"),
        ({"fingerprint": "other", "started_from": "random weights"}, "cannot be determined", "none found"),
    ],
)
def test_one_of_our_checkpoints_says_what_it_was_trained_on(
    faces: Faces,
    split: splits.Split,
    weights: Path,
    tmp_path: Path,
    origin: dict[str, str],
    fine_tuning: str,
    pretraining: str,
) -> None:
    told = {
        **origin,
        "data": "elsewhere",
        "fingerprint": faces.fingerprint if origin["fingerprint"] == "same" else "0" * 64,
        "split": json.dumps({"hash": split.hash if origin.get("split") == "same" else "0" * 64}),
    }
    found = verdict(faces, split, _checkpoint(tmp_path / "c.pt", weights, **told))
    assert (found["fine_tuning"], found["pretraining"]) == (fine_tuning, pretraining)


def test_a_comparison_with_the_checkpoints_data_is_used(
    faces: Faces, split: splits.Split, weights: Path, tmp_path: Path
) -> None:
    kept = faces.root / against_name("1" * 64)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps({"verdict": "leak", "reasons": ["3 images identical"], "counts": {}}))
    checkpoint = _checkpoint(tmp_path / "c.pt", weights, data="other", fingerprint="1" * 64, split="{}")
    found = verdict(faces, split, checkpoint)
    assert found["fine_tuning"] == "leak"
    assert "3 images identical" in found["reasons"]
    kept.unlink()


def test_a_run_records_its_verdict(load: Callable[..., Study]) -> None:
    """Synthetic people have several faces, so images at random show people of train."""
    study = load(space={})
    folder, config = StudyFolder(study), study.config()
    folder.start(Member("single/x"), config, resolve(config))
    member = folder.member("single/x")
    assert member is not None
    line = audit_line(member.audit)
    assert line == "splits: leak; fine-tuning data: none found; pretraining: none found"
    assert "test images show a person of train" in member.audit["reasons"]


def test_a_run_of_before_verdicts_says_so() -> None:
    assert audit_line(Member("single/x").audit) == "not audited"
