"""Before the first trial: does every node of the cluster reach what a run reads and writes?"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pyarrow.fs import FileType

from data import cache, remote
from data.faces import Faces
from orchestration import nodes
from orchestration.console import size, table
from orchestration.errors import MachineError, first_line
from orchestration.inputs import Inputs, file_sha256
from orchestration.nodes import Node
from orchestration.storage import Storage

if TYPE_CHECKING:
    from orchestration.session import Opened

FINE = "ok"


@dataclass(frozen=True)
class Seen:
    """What a node answered: a column each of `FINE` or the words of what is wrong."""

    columns: dict[str, str]
    gpu_gib: tuple[float, ...]  # memory of each GPU that torch sees


def check(opened: Opened) -> list[float]:
    """Ask every node that can be given a trial, and print the table of nodes.

    Returns GiB of every GPU. Raises MachineError, with that table, where a node can't run this study.
    """
    storage = opened.folder.storage
    token = uuid.uuid4().hex
    found = [node for node in nodes.alive() if node.runs_trials]
    inputs = list({str(i): i for i in map(opened.prepared.inputs, opened.configs)}.values())
    storage.put("preflight", token.encode())
    try:
        answers = nodes.ask_each(found, look, storage.root, token, inputs)
        seen = [
            _back(storage, token, node, answer)
            if isinstance(answer, Seen)
            else Seen({"answer": first_line(answer)}, ())
            for node, answer in zip(found, answers, strict=True)
        ]
    finally:
        for name in ("preflight", *(n for n in storage.list() if n.startswith("preflight-"))):
            storage.delete(name)
    lines = report(found, seen)
    if any(value != FINE for one in seen for value in one.columns.values()):
        raise MachineError("\n".join(["not every node of the cluster can run this study:", *lines]))
    print("\n".join(lines), file=sys.stderr)
    return [gib for one in seen for gib in one.gpu_gib]


def report(found: list[Node], seen: list[Seen]) -> list[str]:
    """The table of nodes; below it, what is wrong, once each."""
    names = list(dict.fromkeys(name for one in seen for name in one.columns))
    rows, wrong = [], []
    for node, one in zip(found, seen, strict=True):
        gpus = f"{node.gpus:g}"
        if one.gpu_gib:
            gpus += " × " + "/".join(sorted({f"{gib:.0f} GiB" for gib in one.gpu_gib}))
        cells = [FINE if one.columns.get(name, FINE) == FINE else "NO" for name in names]
        rows.append([node.name, f"{node.cpus:g}", gpus, size(node.memory), *cells])
        wrong += [f"{node.name}, {k}: {v}" for k, v in one.columns.items() if v != FINE]
    return [*table(["node", "CPU", "GPU", "memory", *names], rows), *wrong]


def look(root: str, token: str, inputs: list[Inputs]) -> Seen:
    """On a node: the answers to `check`."""
    columns = {"storage": _answer(lambda: _storage(root, token))}
    for one in inputs:
        for name, question in (("data", _data), ("weights", _weights), ("features", _features)):
            answer = _answer(partial(question, one))
            if columns.get(name, FINE) == FINE:
                columns[name] = answer
    counted = _counted_gpus()
    gpu_gib = _gpus() if counted else ()
    if counted > len(gpu_gib):
        columns["torch"] = (
            f"Ray counts {counted} GPU(s), torch sees {len(gpu_gib)}: install a CUDA build of torch there"
        )
    return Seen(columns, gpu_gib)


def _answer(question: Callable[[], str]) -> str:
    try:
        return question()
    except Exception as error:
        return first_line(error)


def _storage(root: str, token: str) -> str:
    storage = Storage(root)
    if storage.get("preflight") != token.encode():
        return f"{root} is not the driver's folder; give `storage:` a folder that all nodes share, or s3://…"
    import ray

    storage.put(f"preflight-{ray.get_runtime_context().get_node_id()}", token.encode())
    return FINE


def _back(storage: Storage, token: str, node: Node, answer: Seen | Exception) -> Seen:
    """What a node wrote must have come here too."""
    if isinstance(answer, Exception):
        return Seen({"answer": first_line(answer)}, ())
    if answer.columns["storage"] == FINE and storage.get(f"preflight-{node.id}") != token.encode():
        columns = {**answer.columns, "storage": "what the node writes does not arrive here"}
        return Seen(columns, answer.gpu_gib)
    return answer


def _data(inputs: Inputs) -> str:
    if cache.named(inputs.data):
        return _reached(inputs.data)
    found = Faces.open(inputs.data).fingerprint
    if found != inputs.fingerprint:
        return f"{inputs.data} holds another data set there ({found}, here {inputs.fingerprint})"
    return FINE


def _weights(inputs: Inputs) -> str:
    if inputs.weights is None:
        return FINE
    if cache.named(inputs.weights):
        return _reached(inputs.weights)
    path = cache.local(inputs.weights)
    if file_sha256(str(path), path.stat().st_mtime_ns) != inputs.weights_sha256:
        return f"{path} is another file there; copy the driver's"
    return FINE


def _features(inputs: Inputs) -> str:
    if inputs.features is None or cache.named(inputs.features) or Path(inputs.features).is_file():
        return FINE
    return f"{inputs.features} is not there"


def _reached(address: str) -> str:
    """An object is fetched when a run needs it; here it is only looked for."""
    if "://" not in address:
        return FINE
    files, path = remote.opened(address)
    return f"{address} is not found" if files.get_file_info(path).type == FileType.NotFound else FINE


def _counted_gpus() -> int:
    import ray

    here = ray.get_runtime_context().get_node_id()
    return next((int(node.gpus) for node in nodes.alive() if node.id == here), 0)


def _gpus() -> tuple[float, ...]:
    """GiB of each GPU of this node.

    Asked of a process of its own: Ray hides the GPUs from a task that takes none, and showing them to CUDA
    here would bind this process, which Ray uses again, to all of them.
    """
    words = "from orchestration.memory import gpu_memory; print(*gpu_memory())"
    hidden = {"CUDA_VISIBLE_DEVICES", "PYTHONPATH"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    asked = subprocess.run(
        [sys.executable, "-c", words],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return tuple(map(float, asked.stdout.split()))
