"""An export says what the model says: every age head as ONNX, three formats, metadata and a model card."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from finished_runs import finished

from data.faces import Faces
from data.schema import Preparation
from model.heads import AgeHeadConfig
from model.ir import SmallIR
from model.network import Network
from orchestration import cli, export, exported
from orchestration.deployed import Deployed, run_onnx, to_onnx
from orchestration.errors import UserError
from orchestration.estimator import load
from orchestration.run import Run, Task
from orchestration.trained import Trained

HEADS = list(get_args(get_args(AgeHeadConfig)[0]))
CPU = torch.device("cpu")


@pytest.fixture
def run(task: Callable[..., Task]) -> Run:
    values = {"train.epochs": 2, "model.age_head.name": "quantile"}
    return finished(task("frozen", {**values, "model.age_head.quantiles": [0.05, 0.5, 0.95]}))


def _images(run: Run, n: int = 50) -> np.ndarray:
    return np.array(Faces.open(run.task.inputs.data).images[:n])


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["export", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.run(export.main)
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.model_fields["name"].default)
def test_every_age_head_runs_in_onnxruntime_with_any_batch(head: type[Any]) -> None:
    torch.manual_seed(0)
    config = Network.Config(backbone=SmallIR.Config(width=8), age_head=head())
    network = Network(config, list(range(10, 60)), 35.0, 12.0)
    with torch.no_grad():
        for parameter in network.age_head.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)  # heads start from zeros
    module = Deployed(Trained("drawn", network.eval(), None, None, Preparation(24), {}, CPU))
    content = to_onnx(module, 24, {})
    images = np.random.default_rng(0).integers(0, 256, (7, 24, 24, 3), np.uint8)
    with torch.no_grad():
        expected = dict(zip(module.outputs, module(torch.from_numpy(images)), strict=True))
    for batch in (1, 3, 7):
        found = run_onnx(content, images, batch)
        assert found.keys() == expected.keys()
        for name, values in found.items():
            np.testing.assert_allclose(values, expected[name].numpy(), atol=1e-3 if name != "age" else 2e-4)
    assert np.ptp(found["age"]) > 0 or head.model_fields["name"].default in ("ce", "or_cnn", "coral")


@pytest.mark.parametrize("kind", ["onnx", "torch", "safetensors"])
def test_an_export_gives_the_ages_of_its_run_without_its_files(
    run: Run, typed: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    images = _images(run)
    expected = load(run.task.folder).predict(images)
    code, out, _ = typed(run.task.folder, "--to", kind, "--out", tmp_path / "out")
    assert code == cli.DONE and "compared on 64 faces: ages differ by at most" in out
    (file,) = (path for path in (tmp_path / "out").iterdir() if path.name != "README.md")
    if kind == "onnx":
        model = onnx.load(file)
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(said["labels"]) == list(run.task.inputs.labels)
        assert json.loads(said["preparation"])["size"] == 24 and "24 × 24 pixels" in said["input"]
        found = run_onnx(file.read_bytes(), images)
        assert [o.name for o in model.graph.output] == ["age", "female_probability", "q05", "q50", "q95"]
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
        np.testing.assert_allclose(found["age"], expected["predicted_age"], atol=1e-3)
    else:
        Path(run.task.config.model.backbone.weights or "").rename(tmp_path / "weights away")
        try:
            alone = load(str(tmp_path / "out"))
        finally:
            (tmp_path / "weights away").rename(run.task.config.model.backbone.weights or "")
        found = alone.predict(images)
        assert np.isnan(found["position_age"]).all() and str(tmp_path).encode() not in file.read_bytes()
        np.testing.assert_array_equal(found["predicted_age"], expected["predicted_age"])
        assert alone.preparation == load(run.task.folder).preparation
    for name in ("q05", "q95"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
    np.testing.assert_allclose(found["female_probability"], expected["female_probability"], atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_onnx_computes_in_float32_whatever_the_run_did(
    task: Callable[..., Task], tmp_path: Path, precision: str
) -> None:
    run = finished(task(precision, {"train.epochs": 1, "train.precision": precision}))
    file, difference = exported.write(load(run.task.folder), "onnx", tmp_path / "out", _images(run))
    expected = load(run.task.folder).predict(_images(run))["predicted_age"]
    error = np.abs(run_onnx(file.read_bytes(), _images(run))["age"] - expected).max()
    assert difference < 1e-3 and (error < 1e-3) == (precision == "float64")


def test_the_card_says_what_must_be_said(run: Run, typed: Callable[..., Any], tmp_path: Path) -> None:
    folder = Path(run.task.folder)
    typed(folder, "--to", "torch", "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    for words in (
        "not proof of age",
        "access, asylum, employment or policing",
        "binary annotation",
        "minors and people who did not consent",
        "MS-Celeb-1M",
        "Research-only licences",
        "biometric law is the user's duty",
        f"fingerprint {run.task.inputs.fingerprint}",
        "protocol image_random",
        "the whole picture as the data set has it",
    ):
        assert words in card, words
    assert sum(
        int(line.split("|")[3]) for line in card.splitlines() if line.startswith("| ") and "age" not in line
    )
    assert str(tmp_path) not in card


def test_an_export_that_says_something_else_is_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported, "TOLERANCE", 0.0)
    with pytest.raises(UserError, match="nothing was written"):
        exported.write(load(run.task.folder), "onnx", tmp_path / "out", _images(run))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_mistakes_are_one_message(run: Run, typed: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    code, _, err = typed(run.task.folder, "--to", "onxx", "--out", tmp_path / "out")
    assert code == cli.USER and "Received: 'onxx'. Did you mean 'onnx'?" in err
    code, _, err = typed(run.task.folder, "--to", "onnx", "--out", tmp_path / "full")
    assert code == cli.USER and "not an empty folder" in err
    code, _, err = typed(
        run.task.folder, "--to", "onnx", "--out", tmp_path / "out", "--faces", tmp_path / "fu"
    )
    assert code == cli.USER and "Did you mean 'full'" in err and "--faces DIR" in err
    (tmp_path / "no.safetensors").write_bytes(b"nothing")
    code, _, err = typed(tmp_path / "no.safetensors", "--to", "onnx", "--out", tmp_path / "out")
    assert code == cli.USER and "not an export of ours as safetensors" in err
