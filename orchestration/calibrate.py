"""Prediction intervals of a run, from its calibration part: python -m orchestration.calibrate RUN"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.predictions import Predictions
    from orchestration.storage import Storage


def main() -> int:
    """Fit the intervals of a run on its calibration part, and check them on its test part."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestration.calibrate",
        description="Fit prediction intervals on a run's calibration part, for predict and evaluate.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, such as runs/utkface/finals/0007-seed1")
    parser.add_argument(
        "--level", type=float, default=0.9, help="share of true ages that intervals cover (0.9)"
    )
    return calibrate(parser.parse_args())


def calibrate(arguments: argparse.Namespace) -> int:
    """Fit, check, and write `intervals.json`."""
    from orchestration import coverage, intervals, ledger, predictions
    from orchestration.console import table
    from orchestration.storage import Storage

    storage = Storage(arguments.run)
    kept = predictions.read(storage, "calibration")
    if kept is None:
        raise _missing(storage)
    fitted = intervals.fit(kept, arguments.level, _identities(storage, kept))
    intervals.write(storage, fitted)
    print(f"calibrated on {fitted.faces:,} faces of {fitted.data}; {fitted.claim('overall')}")
    for kind in intervals.KINDS:
        count, bins = fitted.unbounded(kind), len(fitted.by(kind).faces)
        if count:
            what = "faces" if fitted.people is None else "people"
            print(
                f"{kind}: too few {what} for {100 * fitted.level:g} %, so no bound, in {count} of {bins} bins"
            )
    test = predictions.read(storage, "test")
    if test is not None:
        study = ledger.study_of(storage)
        if study is not None:
            ledger.enter(*study, test.origin.identity)
        checked = coverage.table(fitted, coverage.coverage(fitted, test, _identities(storage, test)))
        print(f"on the {len(test):,} faces of the test part:")
        print("\n".join([*table(checked.columns, checked.rows), *checked.notes]))
    print(f"results: {storage.address(intervals.FILE)}")
    print(f"next: python -m orchestration.predict {shlex.quote(arguments.run)} IMAGE")
    return cli.DONE


def _identities(storage: Storage, kept: Predictions) -> list[str | None]:
    """Who the faces show, [n]; None throughout where the data set is not to be found any more."""
    import yaml

    from data.errors import DataError
    from data.faces import Faces
    from orchestration import predictions

    resolved = yaml.safe_load(storage.get("resolved.yaml") or b"{}") or {}
    root = resolved.get("run", {}).get("data", {}).get("root", kept.origin.data)
    try:
        joined = predictions.join(kept, Faces.open(root))
    except DataError:
        return [None] * len(kept)
    names: list[str | None] = joined.column("identity").to_pylist()
    return names


def _missing(folder: Storage) -> Exception:
    from orchestration.errors import UserError, nearest

    path = folder.root
    if not folder.list():
        folder.require()
        beside = folder.parent().list()
        return UserError(f"{path}: there is no such folder, or it is empty.{nearest(folder.name, beside)}")
    if not folder.exists("resolved.yaml"):
        return UserError(f"{path}: not a run's folder; give one such as runs/utkface/finals/0007-seed1")
    return UserError(
        f"{path}: no predictions of a calibration part: intervals need faces that neither trained nor chose"
        " the model. Train with data.calibration=true, which reserves half of the validation part"
    )


if __name__ == "__main__":
    cli.run(main)
