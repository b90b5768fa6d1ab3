"""A trained model put to use gives the numbers of its run, from whatever names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_runs import finished
from numpy.typing import NDArray

from data.faces import Faces
from model.ir import SmallIR
from orchestration import predictions
from orchestration.errors import UserError
from orchestration.estimator import Estimator, load
from orchestration.run import Run, Task

QUANTILES = {"model.age_head.name": "quantile", "model.age_head.quantiles": [0.05, 0.5, 0.95]}
TRAINED = {"model.train_backbone": True}


@pytest.fixture
def run(task: Callable[..., Task]) -> Run:
    """A finished frozen run of an `evr` head with gender and position."""
    return finished(task("frozen", {"train.epochs": 2}))


def faces_of(run: Run) -> NDArray[np.uint8]:
    faces = Faces.open(run.task.inputs.data)
    return faces.gather(run.training.batches.split.test)


def _require_same(estimator: Estimator, run: Run, atol: float) -> None:
    kept = predictions.read(run.storage, "test")
    assert kept is not None
    found = estimator.predict(faces_of(run))
    assert set(found) == {*kept.spread, "predicted_age", "position_age", "female_probability"}
    for name, values in found.items():
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, kept.column(name), atol=atol, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("values", "atol"),
    [
        ({}, 1e-4),
        ({"train.precision": "float64"}, 1e-4),  # the features of a frozen backbone are float32
        ({"average.name": "ema", "model.neck.norm": "batch"}, 1e-4),
        ({**TRAINED, "train.precision": "float64"}, 1e-9),
        ({**TRAINED, **QUANTILES, "augment.name": "random_crop", "augment.size": 20}, 1e-4),
        ({**TRAINED, "model.gender_head": False, "model.position_head.name": "none"}, 1e-4),
    ],
)
def test_a_run_predicts_what_its_file_of_predictions_says(
    task: Callable[..., Task], values: dict[str, Any], atol: float
) -> None:
    run = finished(task("said", {"train.epochs": 2, **values}))
    _require_same(load(run.task.folder), run, atol)


def test_what_a_checkpoint_says_of_its_faces(run: Run) -> None:
    estimator = load(f"{run.task.folder}/best.pt")
    manifest = Faces.open(run.task.inputs.data).manifest
    assert estimator.preparation == manifest.preparation and estimator.size == 24
    assert estimator.labels == run.task.inputs.labels
    with pytest.raises(ValueError, match=r"must be \[n, 24, 24, 3\] uint8. Received: \[2, 30, 30, 3\] uint8"):
        estimator.predict(np.zeros((2, 30, 30, 3), np.uint8))
    assert all(len(values) == 0 for values in estimator.predict(np.zeros((0, 24, 24, 3), np.uint8)).values())


def test_flip_is_the_mean_over_the_face_and_its_mirror_image(run: Run) -> None:
    images = faces_of(run)
    plain, both = load(run.task.folder), load(run.task.folder, flip=True)
    straight, mirrored = plain.predict(images), plain.predict(images[:, :, ::-1])
    for name, values in both.predict(images).items():
        np.testing.assert_allclose(values, (straight[name] + mirrored[name]) / 2, atol=1e-4)
    assert np.abs(straight["predicted_age"] - mirrored["predicted_age"]).max() > 1e-3


def test_an_ensemble_is_the_mean_of_its_members_and_runs_their_backbone_once(
    task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"train.epochs": 1, "model.age_head.name": "gaussian"}
    runs = [finished(task(f"seed{seed}", {**values, "seed": seed})) for seed in (0, 1)]
    images = faces_of(runs[0])
    single = [load(run.task.folder).predict(images) for run in runs]
    ensemble = load(*(run.task.folder for run in runs))
    passes = []
    forward = SmallIR.forward
    monkeypatch.setattr(SmallIR, "forward", lambda self, x: (passes.append(len(x)), forward(self, x))[1])
    found = ensemble.predict(images)
    assert sum(passes) == len(images)
    ages = np.stack([one["predicted_age"] for one in single])
    np.testing.assert_allclose(found["predicted_age"], ages.mean(0), atol=1e-9)
    # The variance of an equal mixture: the mean of the variances and the variance of the means.
    variance = np.stack([one["sd"] for one in single]) ** 2
    np.testing.assert_allclose(found["sd"] ** 2, variance.mean(0) + ages.var(0), rtol=1e-9)


def test_members_that_want_other_faces_are_no_ensemble(task: Callable[..., Task]) -> None:
    small = finished(task("small", {"train.epochs": 1}))
    large = finished(task("large", {"train.epochs": 1, "data.root": "synthetic:300x32"}))
    with pytest.raises(UserError, match=r"takes faces of 24 pixels.* of 32 pixels"):
        load(small.task.folder, large.task.folder)


def test_a_frozen_run_asks_for_its_backbone_where_that_is_gone(
    run: Run, weights: Path, tmp_path: Path
) -> None:
    state = torch.load(f"{run.task.folder}/best.pt", weights_only=True)
    config = json.loads(state["config"])
    config["model"]["backbone"]["weights"] = str(tmp_path / "gone.pt")
    torch.save({**state, "config": json.dumps(config)}, tmp_path / "moved.pt")
    with pytest.raises(UserError, match=r"came from .*gone\.pt .*does not exist.*--weights FILE"):
        load(str(tmp_path / "moved.pt"))
    torch.save(SmallIR.Config(width=8).build().state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"SHA-256 \w{12}…; .*other\.pt has \w{12}…"):
        load(str(tmp_path / "moved.pt"), weights=str(tmp_path / "other.pt"))
    _require_same(load(str(tmp_path / "moved.pt"), weights=str(weights)), run, 1e-4)


def test_a_checkpoint_of_before_finds_the_preparation_in_its_data_set(run: Run, tmp_path: Path) -> None:
    state = torch.load(f"{run.task.folder}/best.pt", weights_only=True)
    del state["origin"]["preparation"]
    torch.save(state, tmp_path / "old.pt")
    assert load(str(tmp_path / "old.pt")).preparation == load(run.task.folder).preparation
    state["origin"]["fingerprint"] = "another"
    torch.save(state, tmp_path / "old.pt")
    assert load(str(tmp_path / "old.pt")).preparation is None


def test_what_is_no_model_is_said(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = Path(run.task.folder).parents[1]
    with pytest.raises(UserError, match=rf"frozen2 does not exist. Did you mean {study.name!r}"):
        load(str(study.with_name("frozen2")))
    with pytest.raises(UserError, match=r"holds no checkpoint .* its runs that have one:\n  .*single/a"):
        load(str(study))
    with monkeypatch.context() as elsewhere, pytest.raises(UserError, match="no MLflow store"):
        elsewhere.setenv("RAPL_CACHE", str(tmp_path))  # a study in an object store leaves one there
        load("models:/none/1")
    (tmp_path / "text.pt").write_text("no tensors")
    with pytest.raises(UserError, match=r"text\.pt: not a PyTorch checkpoint"):
        load("text.pt")
    torch.save(SmallIR.Config(width=8).build().state_dict(), tmp_path / "trunk.pt")
    with pytest.raises(UserError, match=r"trunk\.pt: no released RAPL checkpoint"):
        load("trunk.pt")
