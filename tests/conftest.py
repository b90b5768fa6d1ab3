"""What the tests of orchestration/ and of the whole share: tiny studies, their inputs, one Ray."""

import copy
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings
from pyarrow import fs

from model.ir import SmallIR
from orchestration import cluster, frozen, inputs, study_file
from orchestration.config import RunConfig
from orchestration.inputs import Inputs
from orchestration.study import Study

ROOT = Path(__file__).parents[1]

# A deadline would be an assertion of speed.
settings.register_profile("house", deadline=None, max_examples=50)
settings.load_profile("house")

TINY: dict[str, Any] = {
    "study": "tiny",
    "run": {
        "data": {"root": "synthetic:300x24"},
        "model": {"backbone": {"name": "small_ir", "width": 8}},
        "train": {"epochs": 2, "batch_size": 64},
        "augment": {"name": "none"},
    },
    "space": {
        "loss.gender_weight": {"low": 0.1, "high": 10, "log": True},
        "loss.position_weight": {"low": 0.01, "high": 10, "log": True},
    },
    "search": {"trials": 4, "startup": 2},
    "final": {"top_k": 1, "seeds": 1},
    "resources": {"launcher": "inline", "device": "cpu"},
}

FROZEN: dict[str, Any] = {"model.train_backbone": False, "model.neck.name": "mlp", "model.neck.width": 16}


# Trials give way to everything else on the machine unless Ray is told otherwise; tests beside them are that.
os.environ.setdefault("RAY_worker_niceness", "0")


if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # the processes are as many as the cores


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread over processes (pytest -n), the tests with the session's Ray or object store stay in one.

    The longest come first, so that no process has one left when the others are done.
    """
    for item in items:
        if {"ray_session", "object_store"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("ray"))
    items.sort(key=lambda item: item.path.name not in ("test_faults.py", "test_end_to_end.py"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """RAPL_CACHE for this session, where synthetic faces are drawn; and keys for the object store."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAPL_CACHE", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("RAY_ADDRESS", raising=False)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "tester",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(scope="session")
def object_store(cache: Path) -> Iterator[str]:
    """HOST:PORT of an S3 server on this machine with the buckets `faces` and `studies`."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer(
        ip_address="127.0.0.1", port=0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    for name in ("faces", "studies"):
        made = f"s3://{name}?endpoint_override={host}:{port}&scheme=http&allow_bucket_creation=true"
        fs.FileSystem.from_uri(made)[0].create_dir(name)
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the tiny studies' backbone, with random values."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "small_ir.pt"
    torch.save(SmallIR.Config(width=8).build().state_dict(), path)
    return path


@pytest.fixture
def document(tmp_path: Path, tiny: dict[str, Any]) -> dict[str, Any]:
    """The tiny study as read from YAML, to be changed; its results go to this test's folder."""
    return {**copy.deepcopy(tiny), "storage": str(tmp_path / "runs")}


@pytest.fixture(scope="session")
def tiny(cache: Path) -> dict[str, Any]:
    """The tiny study as read from YAML."""
    return TINY


@pytest.fixture
def written(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes a study file; returns its path."""

    def write(content: dict[str, Any]) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    return write


@pytest.fixture
def load(document: dict[str, Any], written: Callable[..., Path]) -> Callable[..., Study]:
    """The tiny study with overrides (dotted, as on the command line) and another `space:` where given."""

    def make(*overrides: str, space: dict[str, Any] | None = None, **sections: Any) -> Study:
        content = {**document, **sections}
        if space is not None:
            content["space"] = space
        return study_file.load(str(written(content)), overrides)

    return make


@pytest.fixture
def config(load: Callable[..., Study]) -> Callable[..., RunConfig]:
    """A run of the tiny study with dotted values on top."""

    def make(values: dict[str, Any] | None = None, seed: int | None = None) -> RunConfig:
        return load(space={}).config(values or {}, seed)

    return make


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[[RunConfig], Inputs]:
    """A run's inputs, its feature file included."""

    def make(run: RunConfig) -> Inputs:
        found = inputs.resolve(run)
        if run.frozen:
            found = replace(found, features=str(frozen.ensure(run, found, tmp_path / "features")))
        return found

    return make


@pytest.fixture(scope="session")
def ray_session(cache: Path) -> Iterator[cluster.Capacity]:
    """One Ray for all tests of this process; commands called in the process use it."""
    with cluster.session(None, dashboard=True) as capacity:
        yield capacity


@pytest.fixture
def arguments(written: Callable[..., Path]) -> Callable[..., Namespace]:
    """What a command's parser makes of `--space FILE path=value …`."""

    def make(content: dict[str, Any], *overrides: str, fresh: bool = False) -> Namespace:
        return Namespace(
            space=str(written(content)),
            overrides=list(overrides),
            address=None,
            fresh=fresh,
            verbose=False,
            dry_run=False,
        )

    return make


@pytest.fixture
def command(cache: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m orchestration.…` as a user does, from the project's folder."""

    def run(module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"orchestration.{module}", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            timeout=400,
        )

    return run


@pytest.fixture(scope="session")
def real_faces() -> Path:
    """The folder with utkface/ and fgnet/ as distributed."""
    folder = os.environ.get("RAPL_FACES")
    if not folder:
        pytest.skip("set RAPL_FACES to a folder that holds utkface/ and fgnet/ as distributed")
    return Path(folder)


@pytest.fixture(scope="session")
def real_weights() -> Path:
    """MobileFaceNet's published state dict."""
    path = os.environ.get("RAPL_WEIGHTS")
    if not path:
        pytest.skip("set RAPL_WEIGHTS to mobilefacenet.pt (foamliu/MobileFaceNet)")
    return Path(path)
