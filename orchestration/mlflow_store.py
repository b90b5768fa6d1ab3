"""One MLflow store and one study: what a study folder holds, as runs, params, metrics and tags.

Study = parent run, trial = child, final seed = child of its trial; in an ablation variant = child, seed =
child of its variant. Sending twice changes nothing.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration import predictions, provenance, registry
from orchestration.audit_line import audit_line
from orchestration.folder import StudyFolder
from orchestration.layers import flatten
from orchestration.mlflow_runs import NAME, UID, connect, default_file, key_of
from orchestration.records import ENDED, FIGURES, Member
from orchestration.space import varying_keys

STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}
LINES_AT_ONCE = 20  # some 30 metrics each; MLflow takes 1000 at once


class MlflowStore:
    """Talks to one MLflow store about one study."""

    def __init__(self, folder: StudyFolder, uri: str, kinds: Sequence[str], tags: dict[str, str]) -> None:
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.kinds = kinds
        self.tags = tags
        self.client = connect(uri)
        self.keys = varying_keys(folder.study)
        self.names = {"best": f"{folder.study.objective.metric}_best"}
        self.sent: dict[str, int] = {}
        self.closed: set[str] = set()
        self._over: set[str] = set()  # members that have ended here and there
        self.described: set[str] = set()  # runs whose params were sent by this process
        self.experiment = self._experiment()
        self.uid = self._uid()
        self.runs = self._known_runs()
        self.parent = self._run("study", folder.study.study, None, tags, time.time())
        self.client.update_run(self.parent, status="RUNNING")

    def _experiment(self) -> str:
        name = self.folder.study.experiment or self.folder.study.study
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.client.tracking_uri.startswith("sqlite:///"):
            location = (default_file(self.folder.storage).parent / "mlartifacts").as_uri()
        made = str(self.client.create_experiment(name, artifact_location=location))
        # The UI then opens the experiment as model training, with its charts, not as GenAI.
        self.client.set_experiment_tag(made, "mlflow.experimentKind", "custom_model_development")
        return made

    def _uid(self) -> str:
        """Ties MLflow runs to this folder, so that a restart finds them and a fresh study does not."""
        known = self.folder.storage.get_json("mlflow.json")
        if known is None:
            known = {"uid": uuid.uuid4().hex}
            self.folder.storage.put_json("mlflow.json", known)
        return str(known["uid"])

    def _known_runs(self) -> dict[str, str]:
        runs: dict[str, str] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.`{UID}` = '{self.uid}'", max_results=1000, page_token=token
            )
            runs.update({run.data.tags[NAME]: run.info.run_id for run in page})
            self.closed |= {run.data.tags[NAME] for run in page if run.info.status in STATUS.values()}
            token = page.token
            if not token:
                return runs

    def _run(self, key: str, title: str, parent: str | None, tags: Mapping[str, str], started: float) -> str:
        if key not in self.runs:
            own = {UID: self.uid, NAME: key, "mlflow.source.name": "rapl", **tags}
            if parent is not None:
                own["mlflow.parentRunId"] = parent
            run = self.client.create_run(self.experiment, int(started * 1000), tags=own, run_name=title)
            self.runs[key] = run.info.run_id
            self.sent[key] = 0
        return self.runs[key]

    def send(self) -> None:
        """Send every run, metric line and end that lies in the folder and is not sent yet."""
        for kind in self.kinds:
            names = [kind] if "/" in kind else [f"{kind}/{name}" for name in self.folder.storage.list(kind)]
            for name in names:
                # What is over is not read again: thousands of files each second in a long search.
                member = None if name in self._over else self.folder.member(name)
                if member is None or self._pooled(member):
                    continue
                if key_of(member) not in self.closed:
                    self._send_member(member)
                elif member.status in ENDED:
                    self._over.add(name)

    @property
    def count(self) -> int:
        """Grows with everything that is sent."""
        return len(self.runs) + len(self.described) + len(self.closed) + sum(self.sent.values())

    def _send_member(self, member: Member) -> None:
        run_id = self._child(member)
        self._send_lines(member, run_id)
        if member.status in ENDED:
            self._close(member, run_id)

    def _child(self, member: Member) -> str:
        key = key_of(member)
        if key in self.described:
            return self.runs[key]
        kind, _, title = member.name.partition("/")
        parent = self.parent
        values = flatten(self.folder.resolved(member)["run"])
        if kind == "finals":
            parent = self.runs.get(f"trials/{member.number:04d}", self.parent)
        elif member.cell:
            parent = self._variant(member, values)
        tags = {
            **self.tags,
            "identity": member.identity,
            "kind": kind,
            "fingerprint": member.fingerprint,
            "protocol": str(values["data.protocol"]),
            "audit": audit_line(member.audit),
        }
        title = title.replace("-seed", " seed ") if member.cell else f"{kind.removesuffix('s')} {title}"
        run_id = self._run(key, title, parent, tags, member.started or time.time())
        self._params(run_id, values)
        self._input(run_id, member, values)
        self.described.add(key)
        return run_id

    def _pooled(self, member: Member) -> bool:
        """Whether a cell is one fold of many: its variant's run has the pooled result."""
        ablation = self.folder.study.ablation
        pooled = bool(member.cell) and ablation is not None and ablation.splits == "folds"
        if pooled and f"variants/{_variant_name(member)}" not in self.runs:
            self._variant(member, flatten(self.folder.resolved(member)["run"]))
        return pooled

    def _variant(self, member: Member, values: Mapping[str, Any]) -> str:
        """The run of a cell's variant: parent of its seeds, with their common values."""
        name = _variant_name(member)
        key = f"variants/{name}"
        if key in self.described:
            return self.runs[key]
        tags = {**self.tags, "kind": "variant", "variant": name, "fingerprint": member.fingerprint}
        run_id = self._run(key, name, self.parent, tags, member.started or time.time())
        varying = ("seed", "data.split_seed", "data.fold")
        self._params(run_id, {k: v for k, v in values.items() if k not in varying})
        self.described.add(key)
        return run_id

    def _input(self, run_id: str, member: Member, values: Mapping[str, Any]) -> None:
        """Record the data set of a run: its name, fingerprint, protocol and split."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = {k.removeprefix("data."): v for k, v in values.items() if k.startswith("data.")}
        source = {"fingerprint": member.fingerprint, "split": member.split_hash, **data}
        dataset = Dataset(
            name=member.dataset or str(data["root"]),
            digest=member.fingerprint[:32],
            source_type="rapl",
            source=json.dumps(source),
            profile=json.dumps({"protocol": data["protocol"], "split": member.split_hash}),
        )
        # What tells two splits of one data set apart in the UI is the context.
        context = InputTag("mlflow.data.context", f"{data['protocol']} {member.split_hash[:8]}")
        self.client.log_inputs(run_id, [DatasetInput(dataset, [context])])

    def _params(self, run_id: str, values: Mapping[str, Any]) -> None:
        """The study's union of keys on every run, `-` where one is not used: the UI compares by key."""
        from mlflow.entities import Param

        params = [Param(key, _text(values.get(key, "-"))) for key in self.keys]
        for first in range(0, len(params), 100):
            self.client.log_batch(run_id, params=params[first : first + 100])

    def _send_lines(self, member: Member, run_id: str) -> None:
        from mlflow.entities import Metric

        run = key_of(member)
        if run not in self.sent:
            self.sent[run] = self._last_step(run_id)
        new = [line for line in self.folder.lines(member) if line["epoch"] > self.sent[run]]
        # Whole epochs: what the server has of the last one tells what it has of all.
        for first in range(0, len(new), LINES_AT_ONCE):
            lines = new[first : first + LINES_AT_ONCE]
            metrics = [
                Metric(self.names.get(key, key), float(value), int(line["time"] * 1000), int(line["epoch"]))
                for line in lines
                for key, value in line.items()
                if key not in ("epoch", "time")
            ]
            self.client.log_batch(run_id, metrics=metrics)
            self.sent[run] = int(lines[-1]["epoch"])

    def finish(self, summary: Mapping[str, float], variants: Mapping[str, Mapping[str, float]]) -> None:
        """Put outcomes on the study's and the variants' runs, what it ran with and its figures; end them."""
        self._put_metrics(self.parent, summary)
        for name, values in variants.items():
            run_id = self.runs.get(f"variants/{name}")
            if run_id is not None:
                self._put_metrics(run_id, values)
                self.client.set_terminated(run_id, "FINISHED")
        for name, text in provenance.files().items():
            self.client.log_text(self.parent, text, f"provenance/{name}")
        version = registry.register(self.folder, self.client, self.runs, self.tags, _serving)
        if version is not None:
            self.client.set_tag(self.parent, "registered_model", version)
        file = self.folder.storage.get("study.yaml")
        if file is not None:
            self.client.log_text(self.parent, file.decode(), "study.yaml")
        self._files(self.parent, FIGURES, FIGURES)
        self.client.set_terminated(self.parent, "FINISHED")

    def _files(self, run_id: str, folder: str, artifacts: str) -> None:
        """Send what lies in a folder of the study's."""
        names = [f"{folder}/{name}" for name in self.folder.storage.list(folder)]
        with self.folder.storage.on_disk(*names) as paths:
            for path in paths:
                self.client.log_artifact(run_id, str(path), artifacts)

    def _put_metrics(self, run_id: str, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(run_id, [Metric(key, value, now, 0) for key, value in values.items()])

    def _last_step(self, run_id: str) -> int:
        """The last epoch MLflow has of a run that an earlier start began, 0 for none."""
        history = self.client.get_metric_history(run_id, self.names["best"])
        return max((metric.step for metric in history), default=0)

    def _close(self, member: Member, run_id: str) -> None:
        from mlflow.entities import Metric

        ended = int((member.ended or time.time()) * 1000)
        scores = [Metric(f"test/{name}", value, ended, 0) for name, value in (member.test or {}).items()]
        words = {
            "status": member.status,
            "failure": member.reason,
            "cause": member.cause,
            "source": member.source,
            "constraints_broken": "; ".join(member.broken),
        }
        self.client.log_batch(run_id, metrics=scores)
        for tag, text in words.items():
            if text:
                self.client.set_tag(run_id, tag, text[:4000])
        trace = self.folder.storage.get(f"{member.name}/error.txt") if member.status == "failed" else None
        if trace is not None:
            self.client.log_text(run_id, trace.decode(errors="replace"), "error.txt")
        self._files(run_id, f"{member.name}/{predictions.FOLDER}", predictions.FOLDER)
        self.client.set_terminated(run_id, STATUS[member.status], ended)
        self.closed.add(key_of(member))


def _serving(folder: StudyFolder, member: Member, into: Path) -> None:
    from orchestration.serving import serving  # imports torch, which sending a study does without

    serving(folder, member, into)


def _variant_name(member: Member) -> str:
    """`variant`, or `variant-dataset` where the ablation names data sets."""
    return "-".join(filter(None, [member.cell["variant"], member.cell["dataset"]]))


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:5900]
