"""python -m orchestration.calibrate on a run's folder."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_intervals import kept

from orchestration import calibrate, coverage, intervals, predictions
from orchestration.errors import UserError
from orchestration.storage import Storage


@pytest.fixture
def run(tmp_path: Path) -> Storage:
    """A finished run with predictions of its calibration and test part, whose data set is gone."""
    storage = Storage(str(tmp_path / "toy" / "single" / "abc-seed3"))
    storage.put_json("state.json", {"name": "single/abc-seed3"})
    storage.put("resolved.yaml", b"run: {data: {root: nowhere}}")
    given = kept(400)
    predictions.write(storage, given)
    predictions.write(storage, replace(given, origin=replace(given.origin, part="test")))
    return storage


def test_intervals_are_written_checked_and_entered_in_the_ledger(
    run: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate.calibrate(Namespace(run=run.root, level=0.9)) == 0
    fitted = intervals.read(run)
    assert fitted is not None
    assert fitted.people is None
    printed = capsys.readouterr().out
    assert intervals.NOT_FOR_NEW_PEOPLE in printed
    assert f"{run.root}/intervals.json" in printed
    entry = next((Path(run.root).parents[1] / "test_ledger").iterdir())
    assert json.loads(entry.read_text())["run"] == "single/abc-seed3"


def test_too_few_faces_are_said(run: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    calibrate.calibrate(Namespace(run=run.root, level=0.995))
    printed = capsys.readouterr().out
    assert "by_true_age: too few faces for 99.5 %, so no bound" in printed


def test_coverage_of_the_calibration_part_is_its_rank() -> None:
    given = kept(99)
    fitted = intervals.fit(given, 0.9, [None] * 99)
    overall = coverage.coverage(fitted, given, [None] * 99)[0]
    assert (overall.kind, overall.group, overall.images) == ("overall", coverage.ALL, 99)
    assert overall.share == pytest.approx(90 / 99)
    error = np.sort(np.abs(given.column("predicted_age") - given.column("age")))
    # Intervals that would begin before birth are cut there.
    cut = np.maximum(0, error[89] - given.column("predicted_age")).mean()
    assert overall.width == pytest.approx(2 * error[89] - cut, rel=0.02)


def test_a_run_without_calibration_part_is_told_how_to_get_one(run: Storage) -> None:
    run.delete("predictions/calibration.parquet")
    with pytest.raises(UserError, match=r"data\.calibration=true"):
        calibrate.calibrate(Namespace(run=run.root, level=0.9))


def test_a_misspelt_folder_is_answered_with_the_nearest(run: Storage) -> None:
    with pytest.raises(UserError, match="abc-seed3"):
        calibrate.calibrate(Namespace(run=run.root[:-1], level=0.9))
