"""A search against plain Ray Tune: wall time, the driver's CPU and memory a trial, its calls' own cost.

Trials are --epochs epochs of --work seconds without torch, on virtual nodes of 16 CPUs on this machine
(ray.cluster_utils.Cluster). `plain` is a Tuner with random search and an empty trainable; `ours` is the
search as tune.py runs it: study folder, Optuna (random), journal, MLflow on SQLite; only the trial is
replaced. Each is measured in a process of its own. Wanted: at most 1.3 times plain's wall time, 1.1 times its
memory, and 100 kB a trial.

    python benchmarks/scale.py --trials 1000 5000 --at-once 16 48
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CPUS_OF_NODE = 16


def resident(line: str) -> float:
    """Bytes of this process in memory: VmRSS, or VmHWM, the most there were since `Measured` began."""
    return float(re.search(rf"{line}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


@contextmanager
def virtual_cluster(at_once: int) -> Iterator[None]:
    """Nodes with CPUs for so many trials; they are processes of this machine."""
    import os

    from orchestration.cluster import ENVIRONMENT

    os.environ.update(ENVIRONMENT)
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": CPUS_OF_NODE})
    for _ in range(at_once // CPUS_OF_NODE - 1):
        nodes.add_node(num_cpus=CPUS_OF_NODE)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        yield
    finally:
        ray.shutdown()
        nodes.shutdown()


class OnDriver:
    """Holds on to a value in this process and leaves it behind where it is sent elsewhere, torch with it."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> OnDriver:
        return OnDriver(self.value)

    def __reduce__(self) -> tuple[type[OnDriver], tuple[()]]:
        return OnDriver, ()


class Calls:
    """CPU milliseconds that a method takes in its own thread, and how often it is called."""

    def __init__(self, owner: type, name: str) -> None:
        self.count, self.seconds = 0, 0.0
        inner = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return inner(*given, **named)
            finally:
                self.count += 1
                self.seconds += time.thread_time() - start

        setattr(owner, name, timed)

    def each(self) -> float:
        """Milliseconds a call."""
        return self.seconds / max(self.count, 1) * 1e3


class Measured:
    """Wall and CPU seconds of the block, and how much more memory there was in it at most."""

    def __enter__(self) -> Measured:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        self._memory = resident("VmRSS")
        self._cpu, self._start = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall = time.perf_counter() - self._start
        self.cpu = time.process_time() - self._cpu
        self.kept = resident("VmHWM") - self._memory


def plain(trials: int, at_once: int, work: float, epochs: int, folder: str) -> dict[str, float]:
    """Tune alone."""
    from ray import tune

    class Empty(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.epoch = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.epoch = 0
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(work)
            self.epoch += 1
            return {"best": 1.0, "done": self.epoch == epochs}

    def search(count: int) -> Any:
        return tune.Tuner(
            tune.with_resources(Empty, {"cpu": 1}),
            param_space={"a": tune.uniform(0, 1), "b": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                num_samples=count, max_concurrent_trials=at_once, reuse_actors=True, metric="best", mode="min"
            ),
            run_config=tune.RunConfig(
                name=f"tune{count}",
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()

    search(at_once)  # imports, and the first worker processes
    with Measured() as taken:
        kept = search(trials)
    assert len(kept) == trials and not kept.errors
    return {"wall": taken.wall, "cpu": taken.cpu, "kept": taken.kept}


def replace_trials(work: float, epochs: int) -> type:
    """Let the engine run trials that train nothing; returns what gives them their tasks."""
    from ray import tune

    from orchestration import engine, suggested

    class Task(suggested.Members):
        def _task(self, trial_id: str, member: Any) -> Any:
            told = super()._task(trial_id, member)
            return {"folder": told["task"].folder, "told": OnDriver(told)}

    class Trial(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: dict[str, Any]) -> None:
            self.folder, self.lines = config["folder"], []

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(work)
            epoch = len(self.lines) + 1
            line = {"epoch": epoch, "val/age_mae": 9.0 / epoch, "best": 9.0 / epoch, "time": time.time()}
            self.lines.append(line)
            text = "".join(json.dumps(one) + "\n" for one in self.lines)
            path = Path(self.folder) / "metrics.jsonl"
            path.with_suffix(".new").write_text(text)
            path.with_suffix(".new").rename(path)
            return {**line, "done": epoch == epochs}

    engine.trainable = lambda placement: tune.with_resources(Trial, {"cpu": 1})
    engine.Members = Task  # type: ignore[misc]
    return Task


def ours(trials: int, at_once: int, work: float, epochs: int, folder: str) -> dict[str, float]:
    """The project's search."""
    from orchestration import plan, provenance, search, session, space, study_file, suggested
    from orchestration.engine import Engine
    from orchestration.kernels import PLAIN
    from orchestration.mlflow_store import MlflowStore
    from orchestration.placement import Placement
    from orchestration.tracking import Tracker

    task = replace_trials(work, epochs)

    def one(name: str, count: int) -> None:
        values = [f"study={name}", f"storage={folder}", f"search.trials={count}", "search.sampler=random"]
        values += ["search.scheduler=none", f"train.epochs={epochs}", "final.top_k=0"]
        study = study_file.load("demo.yaml", values)
        opened = session.open_study(study, space.input_variants(study), None)
        opened.folder.begin(opened.prepared.inputs(study.config()))
        place = Placement("inline", 1, 1, 0.0, at_once, PLAIN)
        with Tracker(opened.folder, ["trials"], provenance.tags()) as tracker:
            with plan.console(opened.folder) as console:
                search.run(Engine(opened.folder, opened.prepared, place, console, tracker))
            ended.append(time.perf_counter())

    ended: list[float] = []
    one("first", at_once)
    report = Calls(suggested.Members, "on_trial_result")
    suggest, end = Calls(task, "suggest"), Calls(suggested.Members, "on_trial_complete")
    batch = Calls(MlflowStore, "_send_member")
    with Measured() as taken:
        began = time.perf_counter()
        one("measured", trials)
    search_wall = ended[-1] - began
    return {
        "wall": search_wall,
        "cpu": taken.cpu,
        "kept": taken.kept,
        "mlflow": taken.wall - search_wall,
        "report": report.each(),
        "begin": suggest.seconds / trials * 1e3,
        "end": end.each(),
        "batch": batch.each(),
        "batches": batch.count / trials,
    }


def measure(kind: str, trials: int, at_once: int, work: float, epochs: int) -> dict[str, float]:
    """One measurement in a process of its own."""
    asked = [sys.executable, __file__, "--one", kind, "--trials", str(trials), "--at-once", str(at_once)]
    done = subprocess.run(
        [*asked, "--work", str(work), "--epochs", str(epochs)], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description="A search's cost against plain Ray Tune's, on virtual nodes")
    parser.add_argument("--trials", type=int, nargs="+", default=[1000])
    parser.add_argument("--at-once", type=int, nargs="+", default=[16])
    parser.add_argument("--work", type=float, default=0.3, help="seconds of an epoch")
    parser.add_argument("--epochs", type=int, default=3, help="reports of a trial")
    parser.add_argument("--one", choices=["plain", "ours"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        with virtual_cluster(args.at_once[0]), tempfile.TemporaryDirectory() as folder:
            found = globals()[args.one](args.trials[0], args.at_once[0], args.work, args.epochs, folder)
        print(json.dumps(found))
        return
    print("kind   trials  at once  wall s  trials/s  driver CPU ms/trial  driver kB/trial  MLflow after s")
    print("  of ours, CPU ms in the call's own thread: a trial's start, a report, an end; an MLflow batch")
    for at_once in args.at_once:
        for trials in args.trials:
            for kind in ("plain", "ours"):
                got = measure(kind, trials, at_once, args.work, args.epochs)
                cells = [f"{kind:6}", f"{trials:6}", f"{at_once:8}", f"{got['wall']:7.1f}"]
                cells += [f"{trials / got['wall']:9.1f}", f"{got['cpu'] / trials * 1e3:20.1f}"]
                cells += [f"{got['kept'] / trials / 1e3:16.1f}", f"{got.get('mlflow', 0.0):15.1f}"]
                print(" ".join(cells), flush=True)
                if kind == "ours":
                    print(
                        f"  start {got['begin']:.1f}, report {got['report']:.1f}, end {got['end']:.1f},"
                        f" MLflow {got['batch']:.1f} × {got['batches']:.1f} a trial",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
