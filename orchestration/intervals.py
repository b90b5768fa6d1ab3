"""A run's prediction intervals: fitted on its calibration part, kept as `intervals.json` in its folder.

    {"format_version": 1,
     "level": 0.9,                              the share of ages that intervals are to cover
     "band": ["predicted_age", "predicted_age"],  columns that thresholds widen; two quantiles for CQR
     "faces": 2311, "people": null,             of the calibration part; null: not everybody is named
     "overall":          {"edges": [], "faces": [2311], "thresholds": [11.2]},
     "by_predicted_age": {"edges": [10.0, 20.0], "faces": [213, 380, 1718], "thresholds": [3.1, 9.0, 12.7]},
     "by_true_age":      {…},                   null among thresholds is infinite: too few for the level
     "identity": …, "seed": …, "epoch": …, "data": …, "fingerprint": …}    what was calibrated, on what

A bin begins at its edge; there is one threshold more than there are edges. `Intervals.of` applies them to the
columns that `prediction_pass` makes. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestration import conformal
from orchestration.conformal import Binned
from orchestration.errors import UserError
from orchestration.predictions import Predictions
from orchestration.statistics import Values
from orchestration.storage import Storage

FILE = "intervals.json"
Kind = Literal["overall", "by_predicted_age", "by_true_age"]
KINDS: tuple[Kind, ...] = ("overall", "by_predicted_age", "by_true_age")
NOT_FOR_NEW_PEOPLE = "coverage not guaranteed for new people"
CLAIMS: dict[Kind, str] = {
    "overall": "over all faces",
    "by_predicted_age": "within each bin of predicted age, not of true age",
    "by_true_age": "within each bin of true age",
}


@dataclass(frozen=True)
class Intervals:
    """The content of intervals.json; see the module."""

    level: float
    band: tuple[str, str]
    faces: int
    people: int | None
    overall: Binned
    by_predicted_age: Binned
    by_true_age: Binned
    identity: str
    seed: int
    epoch: int
    data: str
    fingerprint: str

    def of(
        self, columns: Mapping[str, NDArray[Any]], kind: Kind = "by_predicted_age"
    ) -> tuple[Values, Values]:
        """Lower and upper ends [n] in years of intervals around predictions; infinity is no bound.

        `columns` hold `predicted_age` [n] and those of the band.
        """
        low, high = (np.asarray(columns[name], np.float64) for name in self.band)
        if kind == "by_true_age":
            return conformal.of_accepting_bins(low, high, self.by_true_age)
        predicted = np.asarray(columns["predicted_age"], np.float64)
        return conformal.widened(low, high, self.by(kind).at(predicted))

    @property
    def whom(self) -> str:
        """In words, for which people the coverage is promised."""
        return NOT_FOR_NEW_PEOPLE if self.people is None else "for new people like the calibration part's"

    def claim(self, kind: Kind) -> str:
        """In words, for whom which coverage is promised."""
        return f"{100 * self.level:g} % {CLAIMS[kind]}; {self.whom}"

    def by(self, kind: Kind) -> Binned:
        """The thresholds of a kind of interval."""
        found: Binned = getattr(self, kind)
        return found

    def unbounded(self, kind: Kind) -> int:
        """In how many bins faces or people are too few for the level, so that intervals have no bound."""
        return sum(map(math.isinf, self.by(kind).thresholds))


def fit(kept: Predictions, level: float, identities: Sequence[str | None]) -> Intervals:
    """Intervals of a run from the predictions of its calibration part; `identities` [n] of its faces.

    Where everybody is named thresholds count people, else faces. Raises UserError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise UserError(f"the level of intervals must lie between 0 and 1, such as 0.9. Received: {level:g}")
    low_name, high_name = band(kept.spread, level)
    age, predicted = kept.column("age"), kept.column("predicted_age")
    given = conformal.scores(kept.column(low_name), kept.column(high_name), age)
    people = None if None in identities else len(set(identities))
    names = None if people is None else identities
    return Intervals(
        level=level,
        band=(low_name, high_name),
        faces=len(kept),
        people=people,
        overall=conformal.fit(given, level, names),
        by_predicted_age=conformal.fit(given, level, names, predicted),
        by_true_age=conformal.fit(given, level, names, age),
        identity=kept.origin.identity,
        seed=kept.origin.seed,
        epoch=kept.origin.epoch,
        data=kept.origin.data,
        fingerprint=kept.origin.fingerprint,
    )


def band(spread: Sequence[str], level: float) -> tuple[str, str]:
    """The columns that are widened: the quantiles nearest to (1 ∓ level)/2, else the estimate itself."""
    known = {name: float(f"0.{name[1:]}") for name in spread if name.startswith("q")}
    low = {name: value for name, value in known.items() if value < 0.5}
    high = {name: value for name, value in known.items() if value > 0.5}
    if not low or not high:
        return "predicted_age", "predicted_age"
    return (
        min(low, key=lambda name: abs(low[name] - (1 - level) / 2)),
        min(high, key=lambda name: abs(high[name] - (1 + level) / 2)),
    )


def write(storage: Storage, fitted: Intervals) -> None:
    """Write `intervals.json` into a run's folder, whole. Raises MachineError."""
    document = asdict(fitted)
    for kind in KINDS:
        finite = [None if math.isinf(t) else t for t in document[kind]["thresholds"]]
        document[kind]["thresholds"] = finite
    storage.put_json(FILE, document)


def read(storage: Storage) -> Intervals | None:
    """The intervals of the run in this folder; None where it was not calibrated. Raises UserError."""
    document = storage.get_json(FILE)
    if document is None:
        return None
    try:
        document.pop("format_version")
        document["band"] = tuple(document["band"])
        for kind in KINDS:
            document[kind] = _binned(document[kind])
        return Intervals(**document)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{storage.address(FILE)}: damaged ({error}); run orchestration.calibrate again"
        ) from None


def _binned(document: Mapping[str, Any]) -> Binned:
    thresholds = tuple(math.inf if t is None else float(t) for t in document["thresholds"])
    found = Binned(tuple(map(float, document["edges"])), tuple(document["faces"]), thresholds)
    if not len(found.thresholds) == len(found.faces) == len(found.edges) + 1:
        raise ValueError("one threshold and one count for each bin")
    return found
