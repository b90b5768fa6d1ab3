"""One door to everything that is opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data.cache import local
from data.errors import DataError
from data.faces import Faces

ROOT = Path(__file__).parents[2]


def test_a_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faces").mkdir()
    monkeypatch.chdir(tmp_path)
    assert local("faces") == tmp_path / "faces"


def test_a_missing_path_is_answered_with_the_nearest_beside_it(tmp_path: Path) -> None:
    (tmp_path / "utkface").mkdir()
    with pytest.raises(DataError, match=r"utkfase does not exist\. Did you mean 'utkface'\?"):
        local(tmp_path / "utkfase")


def test_synthetic_faces_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAPL_CACHE", str(tmp_path))
    faces = Faces.open("synthetic:90x16")
    assert faces.root == tmp_path / "synthetic-90x16-v1.2"
    assert (len(faces), faces.image_size, faces.labels) == (90, 16, tuple(range(1, 81)))
    stamp = (faces.root / "faces.arrow").stat().st_mtime_ns
    assert Faces.open(Path("synthetic:90x16")).fingerprint == faces.fingerprint
    assert (faces.root / "faces.arrow").stat().st_mtime_ns == stamp


def test_two_processes_at_once_get_one_data_set(tmp_path: Path) -> None:
    code = (
        "from data.cache import local; p = local('synthetic:600x48'); "
        "print(p, (p / 'faces.arrow').stat().st_ino, (p / 'faces.arrow').stat().st_mtime_ns)"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "RAPL_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert answers[0] == answers[1]
    assert not list(tmp_path.glob(".*.partial-*"))
