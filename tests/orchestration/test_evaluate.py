"""python -m orchestration.evaluate: what is scored, what is said of leaks, whether numbers are the run's."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from finished_runs import finished

from data.faces import Faces
from data.verdicts import LEAK, UNKNOWN
from orchestration import evaluation_plan, evaluation_run, exposure, predictions
from orchestration.errors import UserError
from orchestration.estimator import load
from orchestration.evaluation import Asked, Evaluation
from orchestration.evaluation_mlflow import send
from orchestration.mlflow_store import MlflowStore
from orchestration.run import Run, Task
from orchestration.storage import Storage

OTHER = "synthetic:240x24"


@pytest.fixture
def run(task: Callable[..., Task]) -> Run:
    """A finished frozen run with gender and position, in the study `known`."""
    return finished(task("known", {"train.epochs": 2}))


def evaluated(run: Run, *data: str, part: str | None = None) -> list[Evaluation]:
    plan = evaluation_plan.plan([run.storage.root], data, part)
    return evaluation_run.run(plan, Asked())


def test_a_run_is_scored_on_its_own_test_part_as_when_it_ended(run: Run) -> None:
    (found,) = evaluated(run)
    result = run.storage.get_json("result.json")
    assert result is not None
    assert found.part == "test"
    for name in ("count", "age_mae", "age_rmse", "age_cs5", "gender_accuracy"):
        assert found.metrics[name] == pytest.approx(result["test"][name], rel=1e-6)
    assert [row["score"] for row in found.confidence] == [row["score"] for row in result["confidence"]]


def test_every_evaluation_is_in_the_studys_ledger(run: Run) -> None:
    study = Path(run.storage.root).parents[1]
    before = set((study / "test_ledger").glob("*"))
    evaluated(run, run.task.inputs.data, OTHER)
    entries = [json.loads(path.read_text()) for path in set((study / "test_ledger").glob("*")) - before]
    assert {entry.get("data") for entry in entries} == {None, Faces.open(OTHER).name}
    assert {entry["run"] for entry in entries} == {"single/a"}


def test_other_faces_are_all_scored_as_the_model_predicts_them(run: Run) -> None:
    (found,) = evaluated(run, OTHER)
    faces = Faces.open(OTHER)
    predicted = load(run.storage.root).predict(faces.gather(np.arange(len(faces))))["predicted_age"]
    assert found.images == 240
    assert found.metrics["age_mae"] == pytest.approx(np.abs(predicted - faces.ages).mean(), rel=1e-5)
    (asked,) = evaluated(run, OTHER, part="test")
    assert (asked.part, asked.images) == ("test", 48)


def test_with_flip_an_age_is_the_mean_of_the_face_and_its_mirror_image(run: Run) -> None:
    for data in (run.task.inputs.data, OTHER):  # its own test part was predicted when it ended, unmirrored
        plan = evaluation_plan.plan([run.storage.root], [data], None, flip=True)
        (found,) = evaluation_run.run(plan, Asked())
        images = plan.parts[0].faces.gather(plan.parts[0].rows)
        estimator = load(run.storage.root)
        seen = [estimator.predict(np.ascontiguousarray(i)) for i in (images, images[:, :, ::-1])]
        age = np.mean([one["predicted_age"] for one in seen], axis=0)
        assert found.kept.column("predicted_age") == pytest.approx(age, rel=1e-5)


def test_an_ensemble_is_the_mean_of_its_members_face_by_face(task: Callable[..., Task]) -> None:
    runs = [finished(task(f"s{seed}", {"train.epochs": 1, "seed": seed})) for seed in (0, 1)]
    plan = evaluation_plan.plan([run.storage.root for run in runs], [], None, ensemble=True)
    *each, both = evaluation_run.run(plan, Asked())
    ages = np.mean([one.kept.column("predicted_age") for one in each], axis=0)
    female = np.mean([one.kept.column("female_probability") for one in each], axis=0)
    true = both.kept.column("age")
    assert both.model == "ensemble of 2" and both.images == each[0].images
    assert both.metrics["age_mae"] == pytest.approx(np.abs(ages - true).mean(), rel=1e-9)
    assert both.kept.column("female_probability") == pytest.approx(female, rel=1e-9)
    assert {kind: one.verdict for kind, one in both.leaks.items()} == {
        kind: one.verdict for kind, one in each[0].leaks.items()
    }
    with pytest.raises(UserError, match="one model is no ensemble"):
        evaluation_plan.plan([runs[0].storage.root], [], None, ensemble=True)


def test_predictions_of_another_checkpoint_are_not_taken_for_this_ones(run: Run) -> None:
    kept = predictions.read(run.storage, "test")
    assert kept is not None
    column = kept.table.column_names.index("predicted_age")
    wrong = kept.table.set_column(column, "predicted_age", [np.full(len(kept), 500.0)])
    stale = replace(kept, table=wrong, origin=replace(kept.origin, epoch=kept.origin.epoch + 1))
    predictions.write(run.storage, stale)
    assert evaluated(run)[0].metrics["age_mae"] < 100


def test_faces_that_the_model_was_trained_on_are_never_scored(run: Run) -> None:
    with pytest.raises(UserError, match="errors on those say nothing"):
        evaluated(run, run.task.inputs.data, part="all")


def test_models_of_different_splits_are_not_put_side_by_side(task: Callable[..., Task]) -> None:
    runs = [finished(task(f"s{s}", {"train.epochs": 1, "data.split_seed": s})) for s in (0, 1)]
    with pytest.raises(UserError, match="different splits"):
        evaluation_plan.plan([run.storage.root for run in runs], [runs[0].task.inputs.data], None)


def test_people_of_the_training_data_are_found_by_name_where_it_lies(run: Run) -> None:
    plan = evaluation_plan.plan([run.storage.root], [OTHER], None)
    told = plan.leaks[0][0]["fine_tuning"]
    assert told.verdict == LEAK  # drawn people carry the same names
    assert "  single/a: leaks from fine-tuning data: leak" in "\n".join(plan.audit())
    without = exposure.leaks(plan.models[0].trained, None, plan.parts[0])
    assert without["fine_tuning"].verdict == UNKNOWN


def test_shots_count_training_faces_alone(run: Run) -> None:
    plan = evaluation_plan.plan([run.storage.root], [], None)
    (seen,) = plan.known
    assert seen is not None
    assert sum(seen.counts().values()) == len(run.training.batches.split.train)
    (found,) = evaluation_run.run(plan, Asked())
    assert [(shot.name, shot.images) for shot in found.shots] == [("many", 0), ("medium", 0), ("few", 60)]


def test_files_hold_the_numbers_and_no_file_names_unless_asked(run: Run, tmp_path: Path) -> None:
    plan = evaluation_plan.plan([run.storage.root], [], None)
    found = evaluation_run.run(plan, Asked())
    out = Storage(str(tmp_path / "out"))
    for named in (False, True):
        pages = evaluation_run.write(plan, found, ["md", "html", "json"], out, named)
        assert pages == ["evaluation.md", "evaluation.html", "evaluation.json"]
        texts = [(tmp_path / "out" / page).read_text() for page in pages[:2]]
        assert all(("face-0000" in text) is named for text in texts)
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["evaluations"][0]["metrics"]["age_mae"] == found[0].metrics["age_mae"]
    kept = predictions.read(out.child(f"{found[0].data}/single-a"), "test")
    assert kept is not None
    assert kept.table.equals(found[0].kept.table)


def test_metrics_lie_on_the_models_run_in_mlflow(run: Run, tmp_path: Path) -> None:
    """One test, since a fresh SQLite store takes seconds to make."""
    plan = evaluation_plan.plan([run.storage.root], [], None)
    found = evaluation_run.run(plan, Asked())
    assert "no store beside the study" in send(plan.models[0], found, [], False)
    _track(run)
    file = tmp_path / "evaluation.json"
    file.write_text("{}")
    told = send(plan.models[0], found, [file], False)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    logged = client.get_run(told.rpartition(" ")[2])
    name = found[0].data
    assert logged.data.metrics[f"eval/{name}/age_mae"] == found[0].metrics["age_mae"]
    assert logged.data.tags[f"eval.{name}.leaks"].startswith("fine_tuning: ")
    assert [one.path for one in client.list_artifacts(logged.info.run_id, "evaluation")] == [
        "evaluation/evaluation.json"
    ]


def _track(run: Run) -> None:
    """Send the run's study to MLflow, as its command does."""
    from orchestration.folder import StudyFolder
    from orchestration.study import Study

    root = Path(run.storage.root).parents[1]
    document = run.task.config.model_dump(mode="json")
    folder = StudyFolder(Study(study=root.name, run=document, storage=str(root.parent)))
    MlflowStore(folder, f"sqlite:///{root.parent}/mlflow.db", ["single/a"], {}).send()


def test_a_model_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="nothing_here"):
        evaluation_plan.plan(["nothing_here"], [OTHER], None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing_here", "--format", "htm"), "Did you mean 'html'"),
        (("nothing_here", "--challenge", "18;25"), "18;25"),
    ],
)
def test_mistakes_are_one_message(
    command: Callable[..., subprocess.CompletedProcess[str]], arguments: tuple[str, ...], words: str
) -> None:
    done = command("evaluate", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
