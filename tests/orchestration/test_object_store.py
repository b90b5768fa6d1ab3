"""A study in an object store, against an S3 server on this machine: killed, gone on with, and read again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import ray
import torch
import yaml
from optuna import load_study
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from data import cache as cache_module
from data.errors import MachineError, RefusedError
from data.features import open_features
from orchestration import cluster, estimator, session, shelf, study_file
from orchestration.errors import UserError
from orchestration.evaluate import evaluate
from orchestration.folder import StudyFolder
from orchestration.journal import NAME, differences
from orchestration.lock import Lock, holder
from orchestration.mlflow_runs import cache_file
from orchestration.records import Member
from orchestration.report import report
from orchestration.run import Run
from orchestration.storage import Storage
from orchestration.studies import show
from orchestration.study import Study
from orchestration.tune import tune

ROOT = Path(__file__).parents[2]
FROZEN = {"model.train_backbone": False, "model.neck.name": "mlp", "model.neck.width": 16}
TRIALS, EPOCHS = 3, 12


@pytest.fixture
def place(object_store: str, request: pytest.FixtureRequest) -> str:
    """A storage of this test's own; its address says where the server is."""
    name = re.sub(r"\W+", "-", request.node.name)[:40]
    return f"s3://studies/{name}?endpoint_override={object_store}&scheme=http"


@pytest.fixture(scope="module")
def searched(
    object_store: str,
    tiny: dict[str, Any],
    ray_session: cluster.Capacity,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[StudyFolder, dict[str, bytes]]]:
    """A search whose driver was killed in the middle, and which the same command finished.

    With what the state of each trial was when it was killed.
    """
    file = tmp_path_factory.mktemp("searched") / "study.yaml"
    storage = f"s3://studies/searched?endpoint_override={object_store}&scheme=http"
    document = {**tiny, "storage": storage, "search": {"trials": TRIALS, "startup": 2, "scheduler": "none"}}
    document["run"] = {**tiny["run"], "train": {"epochs": EPOCHS, "batch_size": 64}}
    document["resources"] = {**tiny["resources"], "concurrent": 1}
    file.write_text(yaml.safe_dump(document))
    folder = StudyFolder(study_file.load(str(file)))
    _until_killed(file, folder)
    killed = {member.name: _state(folder, member.name) for member in folder.members("trials")}
    asked = {"address": None, "fresh": False, "verbose": False, "dry_run": False, "overrides": []}
    assert tune(Namespace(space=str(file), **asked)) == 0
    yield folder, killed


def _until_killed(file: Path, folder: StudyFolder) -> None:
    """Kill a driver on this session's Ray once a trial has ended and the next one has trained an epoch."""
    command = [sys.executable, "-m", "orchestration.tune", "--space", str(file)]
    address = ray.get_runtime_context().gcs_address
    # Its MLflow is away: the next driver sends what this one could not.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    driver = subprocess.Popen([*command, "--address", address], cwd=ROOT, env=environment)
    try:
        end = time.monotonic() + 120
        while not (_state(folder, "trials/0000") and folder.lines(Member("trials/0001"))):
            assert driver.poll() is None and time.monotonic() < end
            time.sleep(0.2)  # the server answers in this process
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()


def _state(folder: StudyFolder, name: str) -> bytes:
    return folder.storage.get(f"{name}/state.json") or b""


def test_a_search_killed_in_the_middle_goes_on_and_has_every_trial_once(
    searched: tuple[StudyFolder, dict[str, bytes]],
) -> None:
    folder, killed = searched
    ended = {name for name, state in killed.items() if json.loads(state)["status"] == "complete"}
    assert "trials/0000" in ended and len(ended) < TRIALS
    assert {name: _state(folder, name) for name in ended} == {name: killed[name] for name in ended}
    members = StudyFolder(folder.study).members("trials")
    assert [m.name for m in members] == [f"trials/{number:04d}" for number in range(TRIALS)]
    assert len({json.dumps(m.params, sort_keys=True) for m in members}) == TRIALS
    assert {m.name: m.attempt for m in members} == {
        m.name: 2 if m.name in killed and m.name not in ended else 1 for m in members
    }
    for member in members:
        assert [line["epoch"] for line in folder.lines(member)] == list(range(1, EPOCHS + 1))
    (final,) = folder.members("finals")
    assert final.test is not None and final.status == "complete"
    kept = folder.storage.list(final.name)
    assert "best.pt" in kept and "last.pt" not in kept  # what it went on from goes when it ends
    assert [entry["run"] for entry in _ledger(folder)] == [final.name]
    assert holder(folder.storage) is None and "figures" in folder.storage.list(folders=True)


def _ledger(folder: StudyFolder) -> list[dict[str, Any]]:
    names = folder.storage.list("test_ledger")
    return [folder.storage.get_json(f"test_ledger/{name}") or {} for name in names]


def test_optunas_file_and_mlflow_say_what_the_folder_says(
    searched: tuple[StudyFolder, dict[str, bytes]],
) -> None:
    from mlflow import MlflowClient

    folder, _ = searched
    with folder.storage.on_disk(NAME) as (path,):
        journal = JournalStorage(JournalFileBackend(str(path)))
        assert differences(folder, load_study(study_name="tiny", storage=journal)) == []
    client = MlflowClient(tracking_uri=f"sqlite:///{cache_file()}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    uid = (folder.storage.get_json("mlflow.json") or {})["uid"]
    runs = client.search_runs([experiment.experiment_id], f"tags.`rapl.study` = '{uid}'")
    names = Counter(run.data.tags["rapl.run"] for run in runs)
    members = [*folder.members("trials"), *folder.members("finals")]
    assert names == Counter(["study", *[member.name for member in members]])
    (final,) = [run for run in runs if run.data.tags["rapl.run"].startswith("finals")]
    artifacts = [one.path for one in client.list_artifacts(final.info.run_id, "predictions")]
    assert "predictions/test.parquet" in artifacts


def test_a_study_there_is_listed_reported_evaluated_and_its_model_used(
    searched: tuple[StudyFolder, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = searched
    root, (final,) = folder.storage, folder.members("finals")
    show(root.parent())
    listed = capsys.readouterr().out
    assert re.search(r"tiny +complete +trials: 3 complete; finals: 1 complete +val/age_mae", listed)
    asked = Namespace(study=root.root, format="md", faces=False, out=None)
    assert report(asked) == 0
    page = (root.get("report/report.md") or b"").decode()
    assert f"trial {final.number}" in page
    assert f"report: in MLflow at sqlite:///{cache_file()}" in capsys.readouterr().out
    model = root.address(final.name)
    asked = Namespace(models=[model], data=[], part=None, flip=False, ensemble=False, legal=18)
    asked = Namespace(**vars(asked), challenge="18", names=False, format="json", out=None)
    assert evaluate(asked) == 0
    found = json.loads(root.child(final.name).get("evaluation/evaluation.json") or b"")["evaluations"][0]
    assert final.test is not None and found["metrics"]["age_mae"] == pytest.approx(final.test["age_mae"])
    assert len(_ledger(folder)) == 2
    file = root.address(f"{final.name}/best.pt")
    assert estimator.load(model, device="cpu").labels == estimator.load(file, device="cpu").labels


@pytest.fixture
def frozen_run(
    place: str, document: dict[str, Any], weights: Path, arguments: Callable[..., Namespace]
) -> Namespace:
    """The command line of one run on fixed features, in the object store."""
    values = [f"{path}={value}" for path, value in FROZEN.items()]
    document["space"] = {}
    document["run"]["train"]["epochs"] = 3
    return arguments({**document, "storage": place}, f"model.backbone.weights={weights}", *values)


def test_a_run_goes_on_from_its_checkpoint_there_and_its_features_are_fetched_once_a_node(
    frozen_run: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = study_file.load(frozen_run.space, frozen_run.overrides)
    opened = session.open_study(loaded, [loaded.config()], None)
    storage, config = opened.folder.storage, loaded.config()
    opened.compute_features()
    features = opened.prepared.inputs(config).features or ""
    name = Storage(features).name
    assert [one.name for one in storage.parent().child("features").files()] == [name, f"{name}.sha256"]
    inputs = opened.prepared.inputs(config)
    member = opened.folder.start(Member("single/a"), config, inputs)
    cut = Run(opened.folder.task(member, config, inputs, test=True), torch.device("cpu"))
    first = cut.step()
    assert {"last.pt", "best.pt", "metrics.jsonl"} <= set(storage.list("single/a"))
    member = opened.folder.start(member, config, inputs)
    # Another node: its cache is empty, and it takes the file that is there.
    monkeypatch.setenv("RAPL_CACHE", str(tmp_path / "node"))
    monkeypatch.setattr("orchestration.frozen._compute", None)
    capsys.readouterr()
    again = Run(opened.folder.task(member, config, inputs, test=True), torch.device("cpu"))
    assert again.lines == [first] and again.training.epoch == 1
    assert f"fetch {features.partition('?')[0]}" in capsys.readouterr().err
    assert len(open_features(cache_module.local(features)).array) == 300
    again.step()
    again.step()
    again.conclude()
    assert [line["epoch"] for line in opened.folder.lines(member)] == [1, 2, 3]


def test_storage_that_is_missing_refuses_or_does_not_answer_is_one_message(
    place: str, object_store: str, load: Callable[..., Study]
) -> None:
    def message(storage: str, kind: type[Exception]) -> str:
        loaded = load(f"storage={storage}")
        with pytest.raises(kind) as caught:
            session.open_study(loaded, [loaded.config()], None)
        return str(caught.value)

    missing = message(place.replace("studies", "nowhere"), RefusedError)
    assert missing == "there is no bucket 'nowhere'; make it (aws s3 mb s3://nowhere), or name another one"
    address = f"http://{object_store}/moto-api/reset-auth"
    try:
        urlopen(Request(address, b"0", {"Content-Type": "text/plain"}))  # no keys are known from now on
        refused = message(place, RefusedError)
        assert "the storage denies access (ACCESS_DENIED" in refused and "AWS_SECRET_ACCESS_KEY" in refused
    finally:
        urlopen(Request(address, b"1000000000", {"Content-Type": "text/plain"}))
    away = message("s3://studies?endpoint_override=127.0.0.1:9&scheme=http", MachineError)
    assert away.startswith("s3://studies") and "the storage does not answer" in away and "port 9" in away


def test_a_fresh_start_sets_the_study_aside_and_deleting_takes_it_away(
    place: str, load: Callable[..., Study]
) -> None:
    folder = StudyFolder(load(f"storage={place}"))
    folder.put(Member("trials/0000", "complete", value=5.0))
    folder.put(Member("single/a", "complete", value=5.0))
    assert [m.value for m in folder.members("trials")] == [5.0]
    with Lock(folder.storage):
        folder.set_aside()
        assert folder.storage.list() == ["driver.lock", "single"] and folder.members("trials") == []
    storage = folder.storage.parent()
    (aside,) = storage.list(".before")
    assert [f.name for f in storage.child(".before").files()] == [f"{aside}/trials/0000/state.json"]
    assert shelf.delete(storage, "tiny") > 0
    assert storage.list() == [".before"]
    with pytest.raises(UserError, match="has no study 'tiny'"):
        shelf.delete(storage, "tiny")
