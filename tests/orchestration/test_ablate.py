"""The ablation as typed: cells, comparison, going on, folds pooled, a search inside every variant, MLflow."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from data import splits
from data.faces import Faces
from orchestration import cluster, predictions, study_file
from orchestration.ablate import ablate
from orchestration.errors import UserError
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.report import report

VARIANTS = {"evr": {}, "fc_norm": {"model.age_head.name": "fc_norm"}, "gp": {"model.gender_head": True}}
Arguments = Callable[..., Namespace]


@pytest.fixture
def asked(document: dict[str, Any], arguments: Arguments) -> Callable[..., Namespace]:
    """The command's arguments for the tiny study with an ablation in it."""
    document["space"] = {}
    document["run"]["model"] |= {"gender_head": False, "position_head": {"name": "none"}}
    document["ablation"] = {"variants": VARIANTS, "seeds": 3}

    def ask(*overrides: str, dry_run: bool = False, **sections: Any) -> Namespace:
        made = arguments({**document, **sections}, *overrides)
        return Namespace(**{**vars(made), "dry_run": dry_run})

    return ask


def _cells(folder: Path) -> dict[str, Member]:
    records = StudyFolder(study_file.load(str(folder / "study.yaml")))
    return {member.name.removeprefix("cells/"): member for member in records.members("cells")}


def _results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def test_an_ablation_compares_pairs_of_seeds_and_goes_on(
    asked: Callable[..., Namespace],
    ray_session: cluster.Capacity,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One ablation, seen from all sides: each start of Tune takes seconds."""
    from mlflow import MlflowClient

    folder = tmp_path / "runs" / "tiny"
    assert ablate(asked()) == 0
    said = capsys.readouterr().out
    found = _cells(folder)
    assert sorted(found) == sorted(f"{v}-seed{s}" for v in VARIANTS for s in range(3))
    assert all(m.status == "complete" and m.test is not None for m in found.values())
    ledger = [json.loads(path.read_text())["run"] for path in (folder / "test_ledger").iterdir()]
    assert sorted(ledger) == sorted(m.name for m in found.values()), "the test part was scored once per cell"

    mae = {name: (m.test or {})["age_mae"] for name, m in found.items()}
    table = _results(folder)["tables"][0]
    rows = {row["variant"]: row for row in table["rows"]}
    pairs = [mae[f"gp-seed{s}"] - mae[f"evr-seed{s}"] for s in range(3)]
    comparison = rows["gp"]["comparison"]
    assert rows["evr"]["mean"] == pytest.approx(np.mean([mae[f"evr-seed{s}"] for s in range(3)]))
    assert comparison["difference"] == pytest.approx(np.mean(pairs))
    assert comparison["p"] == pytest.approx(stats.ttest_1samp(pairs, 0).pvalue)
    low = stats.ttest_1samp(pairs, 0).confidence_interval(1 - 0.05 / 2).low
    assert comparison["interval"]["low"] == pytest.approx(low)
    assert comparison["words"] in said and "could have seen" in said
    assert "only" in comparison["headline_about"] and table["people"] < 40
    assert "orchestration.report" in said

    # In MLflow the variants are children of the study, seeds children of their variant.
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/runs/mlflow.db")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = {run.data.tags["rapl.run"]: run for run in client.search_runs([experiment.experiment_id])}
    variant, seed = runs["variants/gp"], runs["cells/gp-seed2"]
    assert variant.data.tags["mlflow.parentRunId"] == runs["study"].info.run_id
    assert seed.data.tags["mlflow.parentRunId"] == variant.info.run_id
    assert (variant.info.run_name, seed.info.run_name) == ("gp", "gp seed 2")
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert variant.data.params["model.gender_head"] == "True" and variant.data.params["seed"] == "-"
    assert variant.data.metrics["difference/mean"] == pytest.approx(comparison["difference"])
    assert variant.data.metrics["difference/p_holm"] == pytest.approx(comparison["p_holm"])
    data = seed.inputs.dataset_inputs[0].dataset
    assert found["gp-seed2"].fingerprint.startswith(data.digest)
    assert json.loads(data.source)["split"] == found["gp-seed2"].split_hash
    assert "version.torch" in runs["study"].data.tags and "hardware" in seed.data.tags
    artifacts = client.list_artifacts(runs["study"].info.run_id, "provenance")
    assert "provenance/packages.txt" in [artifact.path for artifact in artifacts]

    # So does its report.
    assert report(Namespace(study=str(folder), format="md", faces=False, out=None)) == 0
    pages = [artifact.path for artifact in client.list_artifacts(runs["study"].info.run_id, "report")]
    assert pages == ["report/figures", "report/report.md"]

    # The same command runs nothing; more seeds run what is new and keep the rest; the plan knows what ran.
    before = {p: p.read_bytes() for p in folder.glob("cells/*/state.json")}
    assert ablate(asked("ablation.seeds=4")) == 0
    after = {p: p.read_bytes() for p in folder.glob("cells/*/state.json")}
    assert {p: after[p] for p in before} == before and len(after) == len(before) + 3
    assert _results(folder)["seeds_at_looks"] == [3, 4]
    capsys.readouterr()
    assert ablate(asked("ablation.seeds=4", dry_run=True)) == 0
    planned = capsys.readouterr().out
    assert "0 cells ×" in planned and "the largest measured so far" in planned
    assert "sign flips with Holm over 2 comparisons cannot reject with 4 seeds" in planned
    assert "7 could" in planned  # 2·2/2⁶ = 0.0625 > 0.05 ≥ 2·2/2⁷

    with pytest.raises(UserError, match=r"ablation\.alpha: was 0\.05, received 0\.1"):
        ablate(asked("ablation.alpha=0.1"))


def test_folds_are_pooled_and_every_image_counts_once(
    asked: Callable[..., Namespace], ray_session: cluster.Capacity, tmp_path: Path, cache: Path
) -> None:
    folder = tmp_path / "runs" / "tiny"
    root = _without_the_nameless(tmp_path)
    overrides = ("data.protocol=folds", f"data.root={root}", "train.epochs=1", "ablation.splits=folds")
    two = {"evr": {}, "fc_norm": {"model.age_head.name": "fc_norm"}}
    assert ablate(asked(*overrides, ablation={"variants": two, "seeds": 1})) == 0
    faces = Faces.open(root)
    config = study_file.load(str(folder / "study.yaml")).config()
    assert splits.fold_count(faces, config.data.spec()) == 5 and len(_cells(folder)) == 10
    records = StudyFolder(study_file.load(str(folder / "study.yaml")))
    parts = [
        predictions.read(records.storage.child(f"cells/evr-fold{fold}-seed0"), "test") for fold in range(5)
    ]
    errors = np.concatenate([np.abs(p.column("predicted_age") - p.column("age")) for p in parts if p])
    assert len(errors) == len(faces)
    table = _results(folder)["tables"][0]
    row = next(row for row in table["rows"] if row["variant"] == "evr")
    assert row["mean"] == pytest.approx(errors.mean()) and row["units"] == 1
    assert table["images"] == len(faces) and table["people"] == len(set(faces.identities))
    other = next(row for row in table["rows"] if row["variant"] == "fc_norm")["comparison"]
    assert "checkpoints" in other["words"] and other["detectable"] is None


def _without_the_nameless(tmp_path: Path) -> str:
    """The tiny synthetic faces whose person is known, as a data set of their own."""
    import pandas as pd
    from PIL import Image

    from data.prepare import prepare

    faces = Faces.open("synthetic:300x24")
    source = tmp_path / "source"
    source.mkdir()
    kept = [row for row, name in enumerate(faces.identities) if name is not None]
    for row in kept:
        Image.fromarray(np.asarray(faces.images[row])).save(source / f"{row}.png")
    columns = {
        "path": [f"{row}.png" for row in kept],
        "age": faces.ages[kept],
        "identity": [faces.identities[row] for row in kept],
    }
    pd.DataFrame(columns).to_csv(source / "faces.csv", index=False)
    out = tmp_path / "faces"
    prepare("table", source / "faces.csv", out, size=24)
    return str(out)


@pytest.mark.slow
def test_a_search_inside_every_variant_has_one_budget_and_gives_its_best_to_the_cells(
    asked: Callable[..., Namespace], ray_session: cluster.Capacity, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "tiny"
    space = {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}}
    two = {"evr": {}, "fc_norm": {"model.age_head.name": "fc_norm"}}
    assert (
        ablate(
            asked("search.trials=2", "train.epochs=1", space=space, ablation={"variants": two, "seeds": 1})
        )
        == 0
    )
    for variant in two:
        trials = [json.loads(p.read_text()) for p in folder.glob(f"searches/{variant}/trials/*/state.json")]
        assert len(trials) == 2 and all(trial["test"] is None for trial in trials)
        best = min(trials, key=lambda trial: trial["value"])
        cell = _cells(folder)[f"{variant}-seed1"]
        assert cell.params["optimizer.lr"] == best["params"]["optimizer.lr"]
    run = study_file.load(str(folder / "searches/fc_norm/trials/0000/resolved.yaml")).config()
    assert run.model.age_head.name == "fc_norm"
