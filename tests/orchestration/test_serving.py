"""A registered version gives its run's estimates, in this process and from `mlflow models serve`."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from finished_runs import finished
from PIL import Image

from data.faces import Faces
from orchestration.errors import UserError
from orchestration.estimator import load
from orchestration.folder import StudyFolder
from orchestration.run import Run, Task
from orchestration.serving import serving
from orchestration.study import Study

QUANTILES = {"model.age_head.name": "quantile", "model.age_head.quantiles": [0.05, 0.5, 0.95]}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(task: Callable[..., Task]) -> Run:
    return finished(task("served", {"train.epochs": 1, **QUANTILES}))


@pytest.fixture
def version(run: Run, tmp_path: Path) -> Path:
    """What a version of the run's model holds."""
    return _built(run, tmp_path)


def _built(run: Run, tmp_path: Path) -> Path:
    study = Study(study="served", run=run.task.config.model_dump(mode="json"), storage=str(tmp_path))
    folder = StudyFolder(study)
    member = folder.member("single/a")
    assert member is not None
    (tmp_path / "version").mkdir()
    serving(folder, member, tmp_path / "version")
    return tmp_path / "version"


@contextmanager
def _elsewhere(run: Run) -> Iterator[None]:
    """The weights of the run's backbone are not where the run found them."""
    weights = Path(run.task.config.model.backbone.weights or "")
    away = weights.rename(weights.with_suffix(".away"))
    try:
        yield
    finally:
        away.rename(weights)


def _faces(run: Run) -> np.ndarray:
    return np.array(Faces.open(run.task.inputs.data).images[:3])


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_bytes_paths_and_arrays_give_the_estimates_of_the_run(
    run: Run, version: Path, tmp_path: Path
) -> None:
    faces = _faces(run)
    expected = load(run.task.folder).predict(faces)
    (tmp_path / "face.png").write_bytes(_png(faces[1]))
    with _elsewhere(run):
        served = mlflow.pyfunc.load_model(str(version))
    given = [_png(faces[0]), tmp_path / "face.png", faces[2], b"no picture"]
    found = served.predict(pd.DataFrame({"image": given}))
    assert found["picture"].tolist() == [0, 1, 2, 3]
    for column, name in (("age", "predicted_age"), ("low", "q05"), ("high", "q95")):
        values = found[column][:3].astype(float)
        np.testing.assert_allclose(values, expected[name], atol=2e-4, err_msg=name)
    assert found["gender"][:3].tolist() == ["F" if p > 0.5 else "M" for p in expected["female_probability"]]
    assert found["problem"][3] and found["age"][3] is None
    signature = served.metadata.signature
    assert [c.name for c in signature.inputs] == ["image"] and list(found) == signature.outputs.input_names()
    # A text may come from a request: it names no file.
    with pytest.raises(UserError, match=r"row 0: bytes .* Received: str"):
        served.predict(pd.DataFrame({"image": [str(tmp_path / "face.png")]}))
    # The version is a MODEL too; and its example is a picture that it takes.
    np.testing.assert_array_equal(
        load(str(version)).predict(faces)["predicted_age"], expected["predicted_age"]
    )
    assert served.predict(served.input_example)["age"][0] > 0


def test_a_request_with_a_picture_is_answered(run: Run, version: Path) -> None:
    faces = _faces(run)
    expected = load(run.task.folder).predict(faces)["predicted_age"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(version)]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}
    server = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        texts = [base64.b64encode(_png(face)).decode() for face in faces]
        answer = _post(
            server, port, {"dataframe_split": {"columns": ["image"], "data": [[t] for t in texts]}}
        )
        assert [row["picture"] for row in answer["predictions"]] == [0, 1, 2]
        np.testing.assert_allclose([row["age"] for row in answer["predictions"]], expected, atol=2e-4)
        assert answer["predictions"][0]["problem"] is None
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


def _post(server: subprocess.Popen[bytes], port: int, content: Any) -> Any:
    """The JSON answer, once the server listens."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)


def test_a_checkpoint_that_does_not_stand_alone_is_registered_as_it_is(run: Run, tmp_path: Path) -> None:
    with _elsewhere(run):
        version = _built(run, tmp_path)
    assert "--weights FILE" in (version / "not_served.txt").read_text()
    kept = (Path(run.task.folder) / "best.pt").read_bytes()
    assert (version / "best.pt").read_bytes() == kept
