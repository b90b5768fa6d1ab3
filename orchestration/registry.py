"""The winner's checkpoint as a version of a model in MLflow's registry, with where it comes from.

What a version holds is made by a Builder, which fills an empty folder: `files` puts the checkpoint and
its study file there, serving.py makes of them a model that serves pictures.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from orchestration.final_seeds import Finalist, winner
from orchestration.folder import StudyFolder
from orchestration.layers import flatten
from orchestration.records import Member

Builder = Callable[[StudyFolder, Member, Path], None]
ARTIFACTS = "model"  # where a version's files lie in its run


def files(folder: StudyFolder, member: Member, into: Path) -> None:
    """The checkpoint of the best epoch, and the file that trains it again."""
    for name in ("best.pt", "resolved.yaml"):
        data = folder.storage.get(f"{member.name}/{name}")
        if data is not None:
            (into / name).write_bytes(data)


def lineage(
    folder: StudyFolder, finalist: Finalist, member: Member, tags: Mapping[str, str]
) -> dict[str, str]:
    """What the version's numbers depend on, and the honest ones among them."""
    run = flatten(folder.resolved(member)["run"])
    hashes = folder.storage.get_json("inputs.json") or {}
    tests = finalist.tests
    spread = f"{mean(tests):.3f} ± {stdev(tests):.3f}" if len(tests) > 1 else f"{tests[0]:.3f}"
    found = {
        "identity": member.identity,
        "fingerprint": member.fingerprint,
        "protocol": str(run["data.protocol"]),
        "split_hash": str(hashes.get("split_hash", "")),
        "weights_sha256": str(hashes.get("weights_sha256") or "random weights"),
        "git_commit": tags.get("git_commit", "unknown"),
        "study": folder.study.study,
        "trial": f"{finalist.trial:04d}",
        "seed": str(member.seed),
        "chosen_by": f"mean {folder.study.objective.metric} of {len(finalist.members)} seeds",
        "validation": f"{finalist.validation:.6g}",
        "test_age_mae": spread,
    }
    return {key: value for key, value in found.items() if value}


def register(
    folder: StudyFolder,
    client: Any,
    runs: Mapping[str, str],
    tags: Mapping[str, str],
    build: Builder = files,
) -> str | None:
    """Make the winner a version of the model named after the study, once. Returns `name/version`, or None
    where no finalist has all its seeds. `runs` gives the MLflow run of every member's name.
    """
    found = winner(folder)
    if found is None or found[1].name not in runs:
        return None
    finalist, member = found
    name, run_id = folder.study.study, runs[member.name]
    for version in client.search_model_versions(f"name = '{name}'"):
        if version.run_id == run_id and version.tags.get("identity") == member.identity:
            return f"{name}/{version.version}"
    with tempfile.TemporaryDirectory() as scratch:
        build(folder, member, Path(scratch))
        client.log_artifacts(run_id, scratch, ARTIFACTS)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"best of the search {name}, one version a winner")
    version = client.create_model_version(
        name,
        source=f"runs:/{run_id}/{ARTIFACTS}",
        run_id=run_id,
        tags=lineage(folder, finalist, member, tags),
    )
    return f"{name}/{version.version}"
