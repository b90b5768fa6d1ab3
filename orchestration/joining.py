"""Joining a Ray cluster: the connection, and this very code on every node of it."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from orchestration import nodes, probe
from orchestration.console import size, table
from orchestration.errors import MachineError, UserError, first_line


def join(address: str, options: dict[str, Any]) -> None:
    """Connect to the cluster at `address`; send the code along where the nodes do not have it.

    Raises UserError where nothing answers, and MachineError with a table of nodes where one of them lacks a
    package, has another Python, or gets the code neither way.
    """
    import ray

    if address.startswith("ray://"):
        raise UserError(f"--address {address}: this command joins as a node does; give HOST:PORT of the head")
    require_answer(address)
    connect(address, options)
    if not _without_our_code():
        return
    ray.shutdown()
    with tempfile.TemporaryDirectory() as folder:
        sent = staged(Path(folder))
        print(f"the code goes along to the cluster's nodes: {size(sent)}", file=sys.stderr)
        connect(address, {**options, "runtime_env": {"working_dir": folder}})
    without = _without_our_code()
    if without:
        raise MachineError(
            f"cluster at {address}: other code than here, although it was sent along, on"
            f" {', '.join(without)}; is another `orchestration` installed there? uninstall it, or install"
            " this version on every node"
        )


def connect(address: str, options: dict[str, Any]) -> None:
    """ray.init at an address. Raises UserError, in words, where that fails."""
    import ray

    try:
        ray.init(address=address, **options)
    except ray.exceptions.AuthenticationError as error:
        raise UserError(
            f"--address {address}: the cluster asks for a token ({first_line(error)}); set"
            " RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token as on the head"
        ) from error
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--address {address}: no Ray cluster answers there: {error}") from error


def require_answer(address: str) -> None:
    """Raise UserError where nothing listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # auto, or a name that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise UserError(f"--address {address}: nothing answers there: {error.strerror or error}") from None


def _without_our_code() -> list[str]:
    """The nodes whose code is not this one's. Raises MachineError where a package or Python is at fault."""
    from ray import cloudpickle

    # By value: a node that lacks our code could not import it to say so.
    cloudpickle.register_pickle_by_value(probe)
    try:
        found = [node for node in nodes.alive() if node.runs_trials]
        looks = nodes.ask_each(found, probe.look)
    finally:
        cloudpickle.unregister_pickle_by_value(probe)
    here = probe.look()
    problems = [difference(here, seen) for seen in looks]
    if any(problems):
        rows = [[node.name, words or "fits"] for node, words in zip(found, problems, strict=True)]
        listed = "\n".join(table(["node", "against this machine"], rows))
        raise MachineError(f"the cluster's nodes do not fit each other:\n{listed}")
    return [node.name for node, seen in zip(found, looks, strict=True) if seen["code"] != here["code"]]


def difference(here: dict[str, str | None], there: dict[str, str | None] | Exception) -> str:
    """What keeps a node from working with this machine, and what to do; empty where nothing does.

    The Python must agree to its minor version, Ray wholly; of the other packages each must be there.
    """
    if isinstance(there, Exception):
        return f"no answer: {first_line(there)}"
    found = []
    for name, digits in (("Python", 2), ("ray", 3)):
        mine, theirs = str(here[name]), str(there[name])
        if mine.split(".")[:digits] != theirs.split(".")[:digits]:
            found.append(f"{name} {theirs}, here {mine}: install the same on every node")
    missing = [name for name in probe.NEEDED if there[name] is None and here[name] is not None]
    if missing:
        found.append(f"{', '.join(missing)} missing: pip install {' '.join(missing)} there")
    return "; ".join(found)


def staged(folder: Path) -> int:
    """Copy our packages into `folder`, nothing else (no data sets, runs, environments). Returns bytes."""
    count = 0
    for package in probe.OURS:
        source = probe.folder_of(package)
        if source is None:
            raise MachineError(f"the package {package} is not found on this machine")
        for path in probe.files_of(source):
            target = folder / package / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            count += target.stat().st_size
    return count
