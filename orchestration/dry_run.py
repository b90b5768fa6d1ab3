"""What a command would run and what that would cost. Starts no Ray, trains nothing, writes no study."""

from __future__ import annotations

import os
import shutil

import torch

from data.faces import Faces
from model.network import Network
from orchestration import cluster, costs, feature_files, pace, placement, plan
from orchestration.cluster import Capacity
from orchestration.console import number, size, table
from orchestration.costs import Epochs
from orchestration.layers import flatten
from orchestration.nodes import Node
from orchestration.pace import Pace
from orchestration.placement import Placement
from orchestration.records import ENDED
from orchestration.session import Opened
from orchestration.space import in_order, planned_trials
from orchestration.study import Study, dump

# Of a line of metrics where none was measured: that of demo.yaml.
LINE_BYTES = 1000.0


def lines(opened: Opened, address: str | None, search: bool) -> list[str]:
    """The plan in words. Raises UserError for one that can't fit the machine or the cluster."""
    study = opened.study
    place = placement.placement(study.resources, opened.configs[0].frozen, capacity(address))
    measured = seconds_per_epoch(opened)
    wanted = epochs(opened) if search else Epochs(0, 0, study.config().train.epochs)
    found = [f"study {study.study}, in {opened.folder.storage.root}"]
    if search:
        found += [f"space, {len(study.space)} parameters:", *space(study), *_trials(opened, wanted)]
    else:
        found.append(f"one run, {wanted.finals} epochs")
    found.append(f"{place.concurrent if search else 1} at once, each {place}")
    found += costs.time(wanted, place, measured, search)
    found += costs.budget(opened.folder, wanted, place, measured) if search else []
    return [*found, *_disk(opened, wanted, place, measured, search)]


def capacity(address: str | None) -> Capacity:
    """What there is: of the running cluster at `address`, else of this machine, Ray not asked."""
    if address is not None:
        with cluster.session(address, dashboard=False) as joined:
            return joined
    return Capacity((Node(len(os.sched_getaffinity(0)), torch.cuda.device_count()),))


def space(study: Study) -> list[str]:
    """The space as a table; the last column is the file's own value."""
    own = flatten(study.config().model_dump(mode="json"))
    rows = []
    for path in in_order(study.space):
        param = study.space[path]
        spread = f"{number(param.low)} … {number(param.high)}"
        values = ", ".join(map(str, param.choices)) if param.choices is not None else spread
        when = ", ".join(f"{name}: {value}" for name, value in param.when.items())
        rows.append([path, values, "log" if param.log else "", when, number(own.get(path, "-"))])
    return table(["parameter", "values", "scale", "when", "file's own"], rows)


def seconds_per_epoch(opened: Opened) -> Pace | None:
    """Measured in this study, else in one like it, else as the file states it; None if nothing is known."""
    study, folder = opened.study, opened.folder
    config = opened.configs[0]
    wanted = pace.signature({"run": config.model_dump(mode="json"), "resources": dump(study.resources)})
    fingerprint = opened.prepared.inputs(config).fingerprint
    stated = study.resources.seconds_per_epoch
    return (
        pace.own(folder, study.study)
        or pace.others(folder.storage.parent(), study.study, wanted, fingerprint)
        or (Pace(stated, "stated in resources.seconds_per_epoch") if stated is not None else None)
    )


def epochs(opened: Opened) -> Epochs:
    """What is left of the study, in epochs."""
    study, folder = opened.study, opened.folder
    rule = plan.stopping(study)
    ended = sum(m.status in ENDED for m in folder.members("trials"))
    total = max(planned_trials(study), ended)
    _, finals = plan.missing(folder)
    expected = rule.expected(total) - rule.expected(ended)
    return Epochs(expected, (total - ended) * rule.epochs, finals * rule.epochs)


def _trials(opened: Opened, wanted: Epochs) -> list[str]:
    study, rule = opened.study, plan.stopping(opened.study)
    trials, finals = plan.missing(opened.folder)
    planned = planned_trials(study)
    found = [f"{planned} trials, {trials} to run; then {finals} final seeds of {rule.epochs} epochs"]
    words = f"{wanted.most} epochs without early stopping"
    if rule.brackets:
        rungs = ", ".join(map(str, rule.rungs()))
        words += f"; about {wanted.expected:.0f} with {study.search.scheduler} (rungs at epochs {rungs})"
        words += " when trials come in random order of quality; a sampler that learns stops fewer"
    return [*found, f"{words}; {wanted.finals} by final seeds"]


def _disk(
    opened: Opened, wanted: Epochs, placement: Placement, measured: Pace | None, search: bool
) -> list[str]:
    features = feature_bytes(opened)
    final = opened.study.final
    kept = final.top_k * final.seeds if search else 1
    # Runs that train hold a checkpoint to go on from; finals and single runs keep their best one, too.
    checkpoint = checkpoint_bytes(opened)
    checkpoints = checkpoint * (kept + (placement.concurrent if search else 1))
    each = measured.line_bytes if measured is not None and measured.line_bytes else LINE_BYTES
    metrics = int(each * (wanted.expected + wanted.finals))
    total = features + checkpoints + metrics
    parts = f"features {size(features)}, checkpoints {size(checkpoints)}, metrics {size(metrics)}"
    folder = opened.folder.storage.local
    if folder is None:
        return [f"storage: {size(total)} ({parts})"]
    there = next(parent for parent in [folder, *folder.parents] if parent.exists())
    free = shutil.disk_usage(there).free
    lines = [f"disk: {size(total)} ({parts}); {size(free)} free"]
    return lines if total < free else [*lines, f"warning: {there} has too little room for it"]


def feature_bytes(opened: Opened) -> int:
    """Bytes of the feature files that frozen runs read and that are not there yet."""
    missing: dict[str, int] = {}
    for config in opened.configs:
        if config.frozen:
            inputs = opened.prepared.inputs(config)
            name = feature_files.missing(config, inputs, opened.folder.storage.parent())
            if name is not None:
                channels = config.model.backbone.build().channels
                missing[name] = len(Faces.open(inputs.data)) * len(config.features.views) * channels * 4
    return sum(missing.values())


def checkpoint_bytes(opened: Opened) -> int:
    """Bytes of one checkpoint: the network, and Adam's two moments of what is trained."""
    config = opened.configs[0]
    inputs = opened.prepared.inputs(config)
    channels = config.model.backbone.build().channels if config.frozen else None
    network = Network(config.model, inputs.labels, 0.0, 1.0, channels)
    held = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    trained = (p for p in network.parameters() if p.requires_grad)
    return int(held + 2 * sum(p.numel() * p.element_size() for p in trained))
