"""Predictions kept with a run: each sample once, the numbers of the run, and nobody's name."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from finished_runs import finished

from data.errors import DataError
from data.faces import Faces
from orchestration import predictions
from orchestration import run as run_module
from orchestration.errors import UserError
from orchestration.prediction_pass import PredictionPass
from orchestration.predictions import Predictions
from orchestration.records import read_metrics
from orchestration.run import Run, Task
from orchestration.storage import Storage


def _read(run: Run, part: str) -> Predictions:
    found = predictions.read(run.storage, part)
    assert found is not None
    return found


def test_the_file_gives_the_numbers_of_the_run_and_its_labels(task: Callable[..., Task]) -> None:
    values = {"train.precision": "float64", "data.calibration": True, "data.root": "synthetic:400x24"}
    run = finished(task("one", values))
    result = run.storage.get_json("result.json")
    assert result is not None
    best = min(read_metrics(run.storage), key=lambda line: line["val/age_mae"])
    told = {"test": result["test"], "val": {k[4:]: v for k, v in best.items() if k.startswith("val/")}}
    faces = Faces.open(run.task.inputs.data)
    split = run.training.batches.split
    for part in ("val", "test", "calibration"):
        kept = _read(run, part)
        ids = kept.column("sample_id")
        np.testing.assert_array_equal(ids, getattr(split, part))
        np.testing.assert_array_equal(kept.column("age"), faces.ages[ids].astype(float))
        codes = {"M": 0, "F": 1, None: -1}
        assert [codes[g] for g in kept.table["gender"].to_pylist()] == faces.genders[ids].tolist()
        assert kept.origin.epoch == result["best_epoch"] == best["epoch"]
        assert kept.origin.split_hash == split.hash and kept.origin.fingerprint == faces.fingerprint
        assert kept.origin.protocol == {**split.spec.used()} and kept.origin.age_head["name"] == "evr"
        if part == "calibration":
            continue
        error = kept.column("predicted_age") - kept.column("age")
        assert told[part]["age_mae"] == pytest.approx(np.abs(error).mean(), rel=1e-14)
        assert told[part]["age_cs5"] == pytest.approx(100 * (np.abs(error) <= 5).mean(), rel=1e-14)
        assert told[part]["age_rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=1e-14)
        known = np.array([g is not None for g in kept.table["gender"].to_pylist()])
        female = np.array([g == "F" for g in kept.table["gender"].to_pylist()])
        right = (kept.column("female_probability") > 0.5) == female
        assert told[part]["gender_accuracy"] == pytest.approx(100 * right[known].mean(), rel=1e-14)
    kept = _read(run, "test")
    gap = np.abs(kept.column("predicted_age") - kept.column("position_age"))
    for tolerance in (0, 3, 10):
        share = 100 * (gap <= tolerance).mean()
        assert result["test"][f"confidence_{tolerance}"] == pytest.approx(share, rel=1e-14)


def test_a_run_that_was_killed_keeps_what_an_uninterrupted_one_keeps(
    task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "CHECKPOINT_SECONDS", 0.0)
    whole = finished(task("whole", {}))
    first = Run(killed := task("killed", {}), torch.device("cpu"))
    first.step()
    first.step()
    again = finished(killed)
    for part in ("val", "test"):
        assert _read(again, part).table.equals(_read(whole, part).table)


def _worker(rank: int, count: int, folder: str, told: Task) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=count)
    run = finished(told)
    # A part of one sample: one worker has no share at all.
    batches = run.training.batches
    batches.split = replace(batches.split, test=batches.split.test[:1])
    kept = PredictionPass(run.training.network)
    run.training.score("test", kept)
    assert kept.columns(batches.split.test, run.training.workers)["sample_id"].tolist() == [
        int(batches.split.test[0])
    ]
    gc.collect()
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # see test_many_workers


def test_several_workers_keep_each_sample_once(task: Callable[..., Task], tmp_path: Path) -> None:
    """Were rank 1 not to wait for rank 0's last best.pt, it would predict with an older network."""
    values = {"data.root": "synthetic:303x24", "train.precision": "float64"}
    alone = finished(task("alone", values))
    together = task("together", values)
    (tmp_path / "group").mkdir()
    mp.spawn(_worker, (2, str(tmp_path / "group"), together), nprocs=2)
    for part in ("val", "test"):
        kept = predictions.read(Storage(together.folder), part)
        assert kept is not None
        mine = _read(alone, part)
        assert len(mine) == {"val": 61, "test": 60}[part]
        np.testing.assert_array_equal(kept.column("sample_id"), mine.column("sample_id"))
        np.testing.assert_allclose(kept.column("predicted_age"), mine.column("predicted_age"), atol=1e-6)


@pytest.mark.parametrize(
    ("head", "spread"),
    [
        ({"name": "gaussian"}, ["sd"]),
        ({"name": "quantile", "quantiles": [0.025, 0.1, 0.5, 0.9]}, ["q025", "q10", "q50", "q90"]),
        ({"name": "coral"}, []),
    ],
)
def test_heads_keep_their_spread_and_absent_ones_are_null(
    task: Callable[..., Task], head: dict[str, Any], spread: list[str]
) -> None:
    values = {f"model.age_head.{key}": value for key, value in head.items()}
    values |= {"train.epochs": 1, "model.gender_head": False, "model.position_head.name": "none"}
    kept = _read(finished(task("spread", values)), "test")
    assert kept.spread == spread
    for name in ("position_age", "female_probability"):
        assert kept.table[name].null_count == len(kept)
    predicted = kept.column("predicted_age")
    if spread == ["sd"]:
        assert (kept.column("sd") > 0).all()
    elif spread:
        np.testing.assert_array_equal(kept.column("q50"), predicted)
        assert (kept.column("q025") <= kept.column("q10")).all()
        assert (kept.column("q10") <= predicted).all() and (predicted <= kept.column("q90")).all()


def test_positions_before_the_first_references_are_null(task: Callable[..., Task]) -> None:
    kept = _read(finished(task("first", {"train.epochs": 1})), "test")
    assert kept.table["position_age"].null_count == len(kept)
    assert kept.table["female_probability"].null_count == 0


def test_joined_with_the_faces_and_only_with_those(task: Callable[..., Task]) -> None:
    run = finished(task("join", {"train.epochs": 1}))
    kept, faces = _read(run, "test"), Faces.open(run.task.inputs.data)
    joined = predictions.join(kept, faces)
    ids = kept.column("sample_id").tolist()
    assert joined["identity"].to_pylist() == [faces.identities[row] for row in ids]
    assert joined["gender"].to_pylist() == kept.table["gender"].to_pylist()
    assert joined["ethnicity"].null_count == len(kept)
    with pytest.raises(DataError, match=r"predictions of .* with fingerprint"):
        predictions.join(kept, Faces.open("synthetic:120x24"))
    # The sources of real sets are people's names; none may lie in the file.
    raw = pq.read_table(f"{run.storage.root}/predictions/test.parquet")
    assert "source" not in raw.column_names and "identity" not in raw.column_names
    said = str(raw.schema.metadata)
    assert not any(source in said for source in faces.sources)


def test_a_file_that_is_none_of_ours_is_said(task: Callable[..., Task], tmp_path: Path) -> None:
    run = finished(task("damaged", {"train.epochs": 1}))
    assert predictions.read(run.storage, "train") is None
    table = pq.read_table(f"{run.storage.root}/predictions/test.parquet")
    pq.write_table(table.replace_schema_metadata({}), f"{run.storage.root}/predictions/test.parquet")
    (Path(run.storage.root) / "predictions" / "val.parquet").write_bytes(b"PAR1")
    for part in ("test", "val"):
        with pytest.raises(UserError, match=rf"{part}\.parquet: not a file of predictions"):
            predictions.read(run.storage, part)
