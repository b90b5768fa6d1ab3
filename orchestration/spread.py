"""How sure an estimator is, as an interval: calibrated where its run was, else as its age head says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestration import intervals
from orchestration.intervals import Intervals
from orchestration.storage import Storage

LEVEL = 0.9  # of a normal distribution's interval
Ends = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Spread:
    """Intervals at `level`, None where there are none; `claim` says in words what they promise."""

    level: float | None
    claim: str
    calibrated: Intervals | None = None
    band: tuple[str, str] | None = None  # quantiles

    def of(self, columns: Mapping[str, NDArray[Any]]) -> Ends:
        """Lower and upper ends [n] in years for predictions; NaN where there is no interval."""
        age = np.asarray(columns["predicted_age"], np.float64)
        if self.calibrated is not None:
            return self.calibrated.of(columns)
        if self.band is not None:
            return columns[self.band[0]], columns[self.band[1]]
        if self.level is None:
            return np.full_like(age, np.nan), np.full_like(age, np.nan)
        reach = NormalDist().inv_cdf((1 + self.level) / 2) * columns["sd"]
        return age - reach, age + reach


def spread(folders: list[Storage], columns: tuple[str, ...], flip: bool) -> Spread:
    """What is known of an estimator whose runs lie in `folders` and that gives these columns.

    Calibrated intervals hold for the run as it was calibrated: one model, without flip.
    """
    found = intervals.read(folders[0])
    make = f"python -m orchestration.calibrate {folders[0].root}"
    why = f"none; {make} makes them where a calibration part was kept"
    if found is not None:
        if len(folders) == 1 and not flip:
            return Spread(found.level, found.claim("by_predicted_age"), calibrated=found)
        why = "none: the run's calibrated ones hold for one model without flip averaging"
    quantiles = sorted((float(f"0.{name[1:]}"), name) for name in columns if name[0] == "q")
    if len(quantiles) > 1:
        (low, first), (high, last) = quantiles[0], quantiles[-1]
        level = round(high - low, 6)
        return Spread(
            level, f"{100 * level:g} % by the head's own quantiles, not calibrated", band=(first, last)
        )
    if "sd" in columns:
        return Spread(LEVEL, f"{100 * LEVEL:g} % by the head's own standard deviation, not calibrated")
    return Spread(None, why)
