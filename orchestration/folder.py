"""The study folder: what exists. Tune, Optuna and MLflow are rebuilt from it at every start."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import yaml

from orchestration import ledger
from orchestration.config import RunConfig, identity
from orchestration.errors import UserError
from orchestration.inputs import Inputs
from orchestration.layers import flatten
from orchestration.records import ENDED, ENDED_FILE, STATE, Member, Records
from orchestration.run import Task
from orchestration.storage import FORMAT_VERSION, Storage
from orchestration.study import Study, dump

# What may differ from the study on disk when a command goes on.
MAY_CHANGE = (
    "search.trials",
    "budget.",
    "resources.",
    "storage",
    "final.",
    "ablation.seeds",
    "tracking_uri",
    "experiment",
)
PATHS = ("run.data.root", "run.data.listing", "run.model.backbone.weights")

# PyYAML's safe loader and dumper, in C where it was built with libyaml: 0.7 ms a trial for both, not 4.3.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class StudyFolder(Records):
    """Reads and writes a study's folder through Storage. One driver at a time (see lock.py)."""

    def __init__(self, study: Study) -> None:
        super().__init__(Storage(study.storage).child(study.study))
        self.study = study
        self._ended: dict[str, Member] = {}
        self._writes = 0
        self._guard = threading.Lock()  # MLflow's thread reads, too

    def begin(self, inputs: Inputs) -> None:
        """Compare with what is there, then record the study. Raises UserError on a difference."""
        hashes = {**inputs.for_identity(), "labels": list(inputs.labels), "format_version": FORMAT_VERSION}
        mine = dump(self.study)
        data = self.storage.get("study.yaml")
        if data is not None:
            theirs = yaml.safe_load(data)
            if not isinstance(theirs, dict):
                raise UserError(f"{self.storage.address('study.yaml')} is damaged; start over with --fresh")
            before = self.storage.get_json("inputs.json") or {}
            changed = difference({**theirs, "inputs": before}, {**mine, "inputs": hashes})
            if changed:
                raise UserError(
                    f"{self.storage.root}: this study was started with other values:\n  "
                    + "\n  ".join(changed)
                    + "\ngo on with the old values, choose another name (study=NAME), or start over (--fresh)"
                )
        header = f"# python -m orchestration.tune --space {self.storage.address('study.yaml')}\n"
        body = yaml.safe_dump(mine, sort_keys=False, allow_unicode=True)
        self.storage.delete(ENDED_FILE)
        self.storage.put_json("inputs.json", hashes)
        self.storage.put("study.yaml", (header + body).encode())

    def done(self) -> None:
        """Record that the driver did all there was to do: what is left undone then is no interruption."""
        self.storage.put_json(ENDED_FILE, {"time": time.time()})

    def set_aside(self, name: str = "") -> None:
        """For --fresh: move what the folder `name` holds to `.before/` beside the study; nothing is deleted.

        The lock stays, since it is held, and so do single runs, which are their own folders.
        """
        stamp = f"{self.storage.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        kept = self.storage.parent().child(".before").child(stamp)
        source = self.storage.child(name) if name else self.storage
        for entry in source.list():
            if entry not in ("driver.lock", "single"):
                source.move(entry, kept.child(name) if name else kept)
        self._ended.clear()

    def members(self, kind: str) -> list[Member]:
        """As read from the folder; one that ended is not read again, since this driver alone changes it."""
        names = [f"{kind}/{entry}" for entry in self.storage.list(kind)]
        writes = self._writes
        read = {m.name: m for m in self.read([name for name in names if name not in self._ended])}
        with self._guard:
            # Else one that ended may have begun again since it was read.
            known = read if writes == self._writes else {}
            self._ended |= {name: member for name, member in known.items() if member.status in ENDED}
        found = {**self._ended, **read}
        return [found[name] for name in names if name in found]

    def put(self, member: Member) -> None:
        """Write a member's state."""
        self.storage.put_json(f"{member.name}/{STATE}", dict(member.__dict__))
        with self._guard:
            self._writes += 1
            self._ended.pop(member.name, None)

    def start(self, member: Member, config: RunConfig, inputs: Inputs) -> Member:
        """Record that a member runs now: a new attempt, with its resolved config beside it."""
        member = replace(
            member,
            status="running",
            attempt=member.attempt + 1,
            # A run that failed begins again; one that was killed goes on.
            started=time.time() if member.status == "failed" or not member.started else member.started,
            reason=None,
            cause=None,
            ended=None,
            value=None,
            values=None,
            broken=[],
            test=None,
            identity=identity(config, inputs.for_identity()),
            fingerprint=inputs.fingerprint,
            audit=dict(inputs.audit),
            dataset=inputs.name,
            split_hash=inputs.split_hash,
        )
        self.storage.clear_partials(member.name)
        if not self.storage.exists(f"{member.name}/resolved.yaml"):
            self.put_resolved(member, config)
        self.put(member)
        return member

    def config_of(self, member: Member) -> RunConfig:
        """What a member trains: the study's run, its point and seed, and what the machine forced."""
        return self.study.config({**member.params, **member.changes}, member.seed)

    def put_resolved(self, member: Member, config: RunConfig) -> None:
        """Write a member's `resolved.yaml`."""
        self.storage.put(f"{member.name}/resolved.yaml", self._resolved(member, config))

    def end(self, member: Member, status: str, **values: Any) -> Member:
        """Record a member's end, and drop the checkpoint that was only there to go on from."""
        member = replace(member, status=status, ended=time.time(), **values)
        if member.test is not None:
            self._enter_in_ledger(member)
        self.put(member)
        self.storage.delete(f"{member.name}/last.pt")
        return member

    def fail(self, member: Member, reason: str, cause: str, trace: str | None, **values: Any) -> Member:
        """Record a failure, with the last lines of its traceback in `error.txt`."""
        if trace is not None:
            self.storage.put(f"{member.name}/error.txt", trace.encode())
        return self.end(member, "failed", reason=reason, cause=cause, **values)

    def begin_again(self, member: Member) -> Member:
        """Record that a member starts over as another experiment: what it left is gone."""
        for name in ("metrics.jsonl", "last.pt", "best.pt", "resolved.yaml"):
            self.storage.delete(f"{member.name}/{name}")
        self.put(member)
        return member

    def _enter_in_ledger(self, member: Member) -> None:
        result = self.storage.get_json(f"{member.name}/result.json") or {}
        ledger.enter(self.storage, member.name, member.identity, result.get("time"))

    def test_scores(self, member: Member) -> dict[str, float] | None:
        """The test metrics its workers left, if they scored the test part."""
        result = self.storage.get_json(f"{member.name}/result.json")
        return dict(result["test"]) if result is not None else None

    def task(self, member: Member, config: RunConfig, inputs: Inputs, test: bool) -> Task:
        """What the member's workers are told."""
        objective = self.study.objective
        return Task(
            config,
            inputs,
            self.storage.address(member.name),
            member.attempt,
            objective.metric,
            objective.mode,
            test,
        )

    def resolved(self, member: Member) -> dict[str, Any]:
        """The member's `resolved.yaml`: a study file of its own."""
        return dict(yaml.load(self.storage.get(f"{member.name}/resolved.yaml") or b"{}", _LOADER))

    def _resolved(self, member: Member, config: RunConfig) -> bytes:
        study = {
            "study": f"{self.study.study}-{member.name.replace('/', '-')}",
            "run": config.model_dump(mode="json"),
            "objective": dump(self.study.objective),
            "resources": dump(self.study.resources),
            "storage": self.study.storage,
        }
        place = self.storage.address(f"{member.name}/resolved.yaml")
        header = f"# python -m orchestration.train --space {place}\n"
        return (header + yaml.dump(study, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)).encode()


def difference(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    """Lines `path: was X, received Y` for what may not change on going on. Paths may: hashes decide."""
    old, new = flatten(theirs), flatten(mine)
    lines = []
    for path in sorted(set(old) | set(new)):
        if path.startswith(MAY_CHANGE) or path in PATHS or old.get(path) == new.get(path):
            continue
        lines.append(f"{path}: was {old.get(path)!r}, received {new.get(path)!r}")
    return lines
