"""intervals.json: which band is widened, what is claimed, and that a file says what was fitted."""

import math
from pathlib import Path

import numpy as np
import pytest

from orchestration import intervals, predictions
from orchestration.errors import UserError
from orchestration.predictions import Origin, Predictions
from orchestration.storage import Storage

ORIGIN = Origin("calibration", "toy", "f" * 64, {}, "s" * 64, {"name": "evr"}, "i" * 64, 3, 7)


def kept(n: int = 400, quantiles: bool = False) -> Predictions:
    random = np.random.default_rng(0)
    age = random.integers(0, 80, n).astype(float)
    columns = {
        "sample_id": np.arange(n),
        "age": age,
        "predicted_age": age + random.normal(0, 5, n),
        "position_age": np.full(n, np.nan),
        "gender": np.full(n, -1),
        "female_probability": np.full(n, np.nan),
    }
    if quantiles:
        columns |= {name: columns["predicted_age"] + by for name, by in (("q05", -2.0), ("q95", 3.0))}
    return predictions.from_columns(ORIGIN, columns)


def test_overall_threshold_is_the_ranked_absolute_error() -> None:
    given = kept(99)
    error = np.sort(np.abs(given.column("predicted_age") - given.column("age")))
    fitted = intervals.fit(given, 0.9, [None] * 99)
    assert fitted.overall.thresholds == (error[89],)  # the ⌈100 · 0.9⌉-th
    low, high = fitted.of({"predicted_age": np.array([50.0])}, "overall")
    assert (low[0], high[0]) == (50 - error[89], 50 + error[89])


def test_quantiles_are_the_band_of_a_head_that_has_them() -> None:
    given = kept(99, quantiles=True)
    fitted = intervals.fit(given, 0.9, [None] * 99)
    age, low, high = (given.column(name) for name in ("age", "q05", "q95"))
    assert fitted.band == ("q05", "q95")
    assert fitted.overall.thresholds == (np.sort(np.maximum(low - age, age - high))[89],)


def test_band_is_the_pair_of_quantiles_nearest_to_the_level() -> None:
    names = ["q01", "q05", "q25", "q50", "q75", "q95", "q975"]
    assert intervals.band(names, 0.5) == ("q25", "q75")
    assert intervals.band(names, 0.95) == ("q01", "q975")
    assert intervals.band(["sd"], 0.9) == ("predicted_age", "predicted_age")


@pytest.mark.parametrize(("names", "people"), [(["a", "b"] * 200, 2), (["a", None] * 200, None)])
def test_new_people_are_promised_nothing_unless_everybody_is_named(
    names: list[str | None], people: int | None
) -> None:
    fitted = intervals.fit(kept(), 0.9, names)
    assert fitted.people == people
    assert (intervals.NOT_FOR_NEW_PEOPLE in fitted.claim("overall")) is (people is None)


def test_two_people_are_too_few_for_nine_in_ten() -> None:
    fitted = intervals.fit(kept(), 0.9, ["a", "b"] * 200)
    assert fitted.overall.thresholds == (math.inf,)


def test_a_file_gives_back_what_was_fitted(tmp_path: Path) -> None:
    fitted = intervals.fit(kept(), 0.9, ["a", "b"] * 200)  # with infinite thresholds
    intervals.write(Storage(str(tmp_path)), fitted)
    assert intervals.read(Storage(str(tmp_path))) == fitted
    assert "Infinity" not in (tmp_path / intervals.FILE).read_text()


def test_a_run_that_was_not_calibrated_has_none(tmp_path: Path) -> None:
    assert intervals.read(Storage(str(tmp_path))) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    intervals.write(Storage(str(tmp_path)), intervals.fit(kept(), 0.9, [None] * 400))
    path = tmp_path / intervals.FILE
    path.write_text(path.read_text().replace('"edges": []', '"edges": [10.0]'))
    with pytest.raises(UserError, match=str(path)):
        intervals.read(Storage(str(tmp_path)))


def test_a_level_outside_nought_and_one_is_refused() -> None:
    with pytest.raises(UserError, match="Received: 90"):
        intervals.fit(kept(), 90, [None] * 400)
