"""On two Ray nodes with networks, temporary folders and disks of their own: pytest -m cluster"""

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import two_nodes
from two_nodes import ADDRESS, HEAD, OTHER, ROOT, TwoNodes

from data.cache import local

pytestmark = pytest.mark.cluster


@pytest.fixture
def nodes(tmp_path: Path, cache: Path) -> Iterator[TwoNodes]:
    """The namespaces; a test starts the nodes as it needs them."""
    reason = two_nodes.why_not()
    if reason is not None:
        pytest.skip(reason)
    home = tmp_path / "home"
    home.mkdir()
    with two_nodes.two_nodes(home) as made:
        yield made


def _command(module: str, study: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        f"orchestration.{module}",
        "--space",
        str(study),
        "--address",
        ADDRESS,
        *more,
    ]


def _states(folder: Path, kind: str = "trials") -> dict[str, dict[str, Any]]:
    return {p.parent.name: json.loads(p.read_bytes()) for p in sorted(folder.glob(f"{kind}/*/state.json"))}


def _lines(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def _nodes_of(folder: Path) -> set[str]:
    """Ids of the nodes that trials of a study ran on, as their processes wrote them."""
    found = folder.glob("*/*/processes/*.json")
    return {json.loads(path.read_bytes())["node"] for path in found}


def _until(condition: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_trials_go_to_both_nodes_and_mlflow_runs_on_the_head(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    from mlflow import MlflowClient

    nodes.start(HEAD)
    nodes.start(OTHER)
    database = f"sqlite:///{tmp_path}/server.db"
    server = [sys.executable, "-m", "mlflow", "server", "--host", HEAD, "--port", "5000"]
    server += ["--allowed-hosts", "*", "--backend-store-uri", database]
    nodes.popen(HEAD, [*server, "--artifacts-destination", str(tmp_path / "art")], tmp_path / "server.log")
    document["search"] = {"trials": 12, "scheduler": "none"}
    document["run"]["train"]["epochs"] = 6
    study = written({**document, "tracking_uri": f"http://{HEAD}:5000"})
    done = nodes.run(HEAD, _command("tune", study))
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "runs" / "tiny"
    assert {s["status"] for s in _states(folder).values()} == {"complete"}
    assert len(_nodes_of(folder)) == 2
    rows = [line for line in done.stderr.splitlines() if re.search(rf"\(({HEAD}|{OTHER})\)", line)]
    assert len(rows) == 2 and all("NO" not in row for row in rows)
    assert "did not take" not in done.stdout
    client = MlflowClient(tracking_uri=database)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    kinds = [run.data.tags.get("kind") for run in client.search_runs([experiment.experiment_id])]
    assert kinds.count("trials") == len(_states(folder))


def test_a_run_over_both_nodes_has_the_metrics_of_one_machine(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD)
    nodes.start(OTHER)
    document["space"] = {}
    document["resources"] = {"launcher": "train", "workers": 2, "device": "cpu"}
    study = written(document)
    over = nodes.run(HEAD, _command("train", study, "study=over"))
    assert over.returncode == 0, over.stdout + over.stderr
    assert len(_nodes_of(tmp_path / "runs" / "over")) == 2
    local = _command("train", study, "study=local")
    local[local.index("--address") : local.index("--address") + 2] = []
    on_one = nodes.run(HEAD, local)
    assert on_one.returncode == 0, on_one.stdout + on_one.stderr
    mine, theirs = (_lines(next((tmp_path / "runs" / s / "single").iterdir())) for s in ("over", "local"))
    assert len(mine) == len(theirs) == 2
    for a, b in zip(mine, theirs, strict=True):
        for name in ("val/age_mae", "train/age_loss", "val/gender_accuracy"):
            assert a[name] == pytest.approx(b[name], abs=1e-5), name


def test_a_node_may_go_and_another_come(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD)
    nodes.start(OTHER)
    document["run"]["data"]["root"] = "synthetic:2000x24"  # long enough for a node to come meanwhile
    document["run"]["train"]["epochs"] = 6
    document["search"] = {"trials": 24, "scheduler": "none"}
    folder, log = tmp_path / "runs" / "tiny", tmp_path / "log"
    driver = nodes.popen(HEAD, _command("tune", written(document), "final.top_k=0"), log)
    _until(lambda: len(_nodes_of(folder)) == 2 and len(_lines(folder / "trials/0001")) >= 1)
    nodes.kill(OTHER)
    before = _nodes_of(folder)
    nodes.start(OTHER)
    _until(lambda: bool(_nodes_of(folder) - before))
    assert driver.wait(timeout=600) == 0, log.read_text()
    states = _states(folder)
    assert [s["status"] for s in states.values()] == ["complete"] * 24
    assert all(
        [line["epoch"] for line in _lines(folder / "trials" / n)] == [1, 2, 3, 4, 5, 6] for n in states
    )


def test_the_head_may_be_started_again(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD)
    document["search"]["scheduler"] = "none"
    study, folder, log = written(document), tmp_path / "runs" / "tiny", tmp_path / "log"
    driver = nodes.popen(HEAD, _command("tune", study), log)
    _until(lambda: "complete" in [s["status"] for s in _states(folder).values()])
    nodes.kill(HEAD)  # the driver too
    driver.wait(timeout=30)
    ended = {n: s for n, s in _states(folder).items() if s["status"] == "complete"}
    nodes.start(HEAD)
    done = nodes.run(HEAD, _command("tune", study))
    assert done.returncode == 0, done.stdout + done.stderr
    states = _states(folder)
    assert [s["status"] for s in states.values()] == ["complete"] * 4
    assert {name: states[name] for name in ended} == ended


def test_a_node_with_a_disk_of_its_own_is_found_before_the_first_trial(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    nodes.start(HEAD)
    nodes.start(OTHER, hidden=[runs])
    done = nodes.run(HEAD, _command("tune", written(document)))
    assert done.returncode == 3
    assert re.search(rf"{OTHER}.* NO", done.stderr), done.stderr
    assert "a folder that all nodes share" in done.stderr
    assert not (runs / "tiny" / "trials").exists()


_BUCKETS = """
import sys
from pyarrow import fs
at, faces, weights = sys.argv[1:]
store = fs.FileSystem.from_uri(f"s3://faces?{at}&allow_bucket_creation=true")[0]
for bucket in ("faces", "studies"):
    store.create_dir(bucket)
fs.copy_files(faces, "faces/drawn", destination_filesystem=store)
fs.copy_files(weights, "faces/small_ir.pt", destination_filesystem=store)
"""
_READ = """
import json, sys
from orchestration.storage import Storage
trials = Storage(sys.argv[1]).child("trials")
names = trials.list(folders=True)
print(json.dumps([[trials.child(n).get_json(f) for f in ("state.json", "processes/0.json")] for n in names]))
"""


def test_nodes_with_disks_of_their_own_work_through_an_object_store(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path, weights: Path
) -> None:
    faces, disk = local("synthetic:300x24"), tmp_path / "disk"
    disk.mkdir()
    nodes.environment["RAPL_CACHE"] = str(disk)
    nodes.start(HEAD)
    nodes.start(OTHER, hidden=[disk])
    log, at = tmp_path / "server.log", f"endpoint_override={HEAD}:5555&scheme=http"
    nodes.popen(HEAD, [sys.executable, "-m", "moto.server", "-H", HEAD, "-p", "5555"], log)
    _until(lambda: "Running on" in log.read_text())
    made = nodes.run(HEAD, [sys.executable, "-c", _BUCKETS, at, str(faces), str(weights)])
    assert made.returncode == 0, made.stderr
    document["run"]["data"]["root"] = f"s3://faces/drawn?{at}"
    document["run"]["model"]["backbone"]["weights"] = f"s3://faces/small_ir.pt?{at}"
    document["run"]["model"] |= {"train_backbone": False, "neck": {"name": "mlp", "width": 16}}
    document["run"]["train"]["epochs"] = 12
    document["search"] = {"trials": 12, "scheduler": "none"}
    done = nodes.run(HEAD, _command("tune", written({**document, "storage": f"s3://studies?{at}"})))
    assert done.returncode == 0, done.stdout + done.stderr
    read = nodes.run(HEAD, [sys.executable, "-c", _READ, f"s3://studies/tiny?{at}"])
    states, processes = zip(*json.loads(read.stdout), strict=True)
    assert [state["status"] for state in states] == ["complete"] * 12
    assert len({process["node"] for process in processes}) == 2
    # The head made features of the faces and weights it fetched; the other node fetched faces and features,
    # each file once, though several trials ran there.
    gets = re.findall(rf"({HEAD}|{OTHER}) .*GET /(\S+)", log.read_text())
    fetched = Counter((node, re.split("[?/]", path)[-1]) for node, path in gets)
    (features,) = {name for _, name in fetched if re.fullmatch(r"[0-9a-f]{16}\.arrow", name)}
    for name, wanted in {"faces.arrow": (1, 1), "small_ir.pt": (1, 0), features: (0, 1)}.items():
        assert (fetched[HEAD, name], fetched[OTHER, name]) == wanted, name
    assert {"faces.arrow", features} <= _files(nodes.disk(OTHER, disk))
    assert {"faces.arrow", "small_ir.pt"} <= _files(disk)


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("fetched/**/*") if path.is_file()}


def test_the_code_goes_along_to_a_node_without_it(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD)
    nodes.start(OTHER, hidden=[ROOT / name for name in ("orchestration", "model", "data", "search_spaces")])
    done = nodes.run(HEAD, _command("tune", written(document)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"the code goes along to the cluster's nodes: \d", done.stderr)
    assert len(_nodes_of(tmp_path / "runs" / "tiny")) == 2


def test_a_submitted_job_can_be_stopped_and_submitted_again(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD, cpus=2)
    document["run"] |= {"data": {"root": "synthetic:2000x24"}, "train": {"epochs": 6, "batch_size": 64}}
    document["search"] = {"trials": 8, "scheduler": "none"}
    study, folder = written(document), tmp_path / "runs" / "tiny"
    submit = ["ray", "job", "submit", "--address", "http://127.0.0.1:8265", "--working-dir", str(ROOT)]
    entry = ["--", "python", "-m", "orchestration.tune", "--space", str(study)]
    first = nodes.run(HEAD, [*submit, "--no-wait", "--submission-id", "first", *entry])
    assert first.returncode == 0, first.stdout + first.stderr
    _until(lambda: "complete" in [s["status"] for s in _states(folder).values()])
    stopped = nodes.run(HEAD, ["ray", "job", "stop", "--address", "http://127.0.0.1:8265", "first"])
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert len(_states(folder)) < 8  # it was stopped before its end
    done = nodes.run(HEAD, [*submit, *entry])
    assert done.returncode == 0, done.stdout + done.stderr
    assert [s["status"] for s in _states(folder).values()] == ["complete"] * 8


def test_through_ray_client_the_command_runs_on_the_head(
    nodes: TwoNodes, document: dict[str, Any], written: Callable[..., Path], tmp_path: Path
) -> None:
    nodes.start(HEAD, cpus=2)
    study, home = written(document), tmp_path / "home"
    command = _command("tune", study, "study=away", "storage=runs")
    command[command.index(ADDRESS)] = f"ray://{HEAD}:10001"
    done = nodes.run(OTHER, command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"results: {home}/runs/away" in done.stdout
    assert "[4/4]" in done.stderr
    wrong = nodes.run(OTHER, [*command, "train.epochs=0"])
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-2].startswith("error:") and "Traceback" not in wrong.stderr
