"""The search: python -m orchestration.tune --space rapl.yaml"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.engine import Engine
    from orchestration.folder import StudyFolder
    from orchestration.session import Opened
    from orchestration.tracking import Tracker


def main() -> int:
    """Search the file's space; the same command goes on where a killed one was."""
    arguments = cli.parser(
        "tune", "Search a space with Ray Tune and Optuna, then train the best on fresh seeds."
    ).parse_intermixed_args()
    return cli.start(arguments, "tune", tune)


def tune(arguments: argparse.Namespace) -> int:
    """Open the study the arguments name, run what is missing of it, and say what came out."""
    from orchestration import final_seeds, plan, provenance, sampler_choice, session, space, study_file
    from orchestration.errors import UserError
    from orchestration.lock import Lock
    from orchestration.stop import StopWatch
    from orchestration.tracking import Tracker

    loaded = study_file.load(arguments.space, arguments.overrides)
    if not loaded.space:
        raise UserError("space: nothing to search; add parameters, or train one run with orchestration.train")
    sampler_choice.require_packages(loaded)
    address = cli.address_of(arguments)
    opened = session.open_study(loaded, space.input_variants(loaded), address)
    if arguments.dry_run:
        return cli.dry_run(opened, address, search=True)
    folder = opened.folder
    with Lock(folder.storage), StopWatch(folder.storage):
        if arguments.fresh:
            folder.set_aside()
        folder.begin(opened.prepared.inputs(loaded.config()))
        with Tracker(folder, ["trials", "finals"], provenance.tags()) as tracker:
            opened.compute_features()
            _search(opened, tracker, address, arguments.verbose)
            from orchestration import outcome  # it draws with Optuna, which the search has loaded by now

            lines = [*outcome.trials(folder), *outcome.conclude(folder)] if plan.ranked(folder) else []
            tracker.summary = final_seeds.summary(folder)
        folder.done()
    return _summary(folder, tracker, lines)


def _search(opened: Opened, tracker: Tracker, address: str | None, verbose: bool) -> None:
    """Run the trials and final seeds that are missing."""
    from orchestration import placement, plan, space
    from orchestration.budget import Spending
    from orchestration.journal import Journal

    folder, study = opened.folder, opened.study
    trials, finals_left = plan.missing(folder)
    planned = space.planned_trials(study)
    print(f"study {study.study}: {planned} trials, {trials} to run; in {folder.storage.root}")
    spending = Spending(folder)
    ended = spending.reached()
    Journal(folder)  # a kill may have come between the last trial's end and Optuna's file
    if ended is not None:
        trials, finals_left = 0, len(plan.finals(folder))
    if trials == 0 and finals_left == 0:
        return
    with placement.placed(opened, address, verbose) as place:
        placement.announce(place)
        from orchestration import search
        from orchestration.engine import Engine

        spending.place(place.gpus * place.workers, place.concurrent)
        with plan.console(folder) as console:
            engine = Engine(folder, opened.prepared, place, console, tracker, spending)
            if ended is None:
                search.run(engine)
        _run_finals(engine)


def _run_finals(engine: Engine) -> None:
    from orchestration import plan
    from orchestration.members import Listed

    members = plan.finals(engine.folder)
    if members:
        with plan.finals_console(engine.folder, members) as engine.console:
            engine.run(Listed(members), test=True)


def _summary(folder: StudyFolder, tracker: Tracker, lines: list[str]) -> int:
    from orchestration import final_seeds, plan
    from orchestration.errors import NothingFinished

    ranked = plan.ranked(folder)
    if not ranked:
        failed = [m for m in folder.members("trials") if m.status == "failed"]
        reasons = "; ".join(sorted({m.reason or "" for m in failed}))
        broken = sum(bool(m.broken) for m in folder.members("trials") if m.status == "complete")
        words = [f"no trial finished ({len(failed)} failed: {reasons})"]
        if broken:
            words = [f"no trial keeps to the constraints ({broken} finished, {len(failed)} failed)"]
        raise NothingFinished("; ".join(filter(None, [*words, _ended_by(folder)])))
    for line in lines:
        print(line)
    if ended := _ended_by(folder):
        print(ended)
    if tracker.problem:
        print(
            f"MLflow at {tracker.uri} did not take everything ({tracker.problem}); the same command sends it"
        )
    print(f"results: {folder.storage.root}")
    print(f"compare: {tracker.look}")
    best = shlex.quote(folder.storage.address(f"{final_seeds.best_trial(folder)}/resolved.yaml"))
    print(f"train the best again: python -m orchestration.train --space {best}")
    return cli.DONE


def _ended_by(folder: StudyFolder) -> str:
    """What to say where the budget, not the plan, ended the search."""
    from orchestration import plan
    from orchestration.budget import Spending

    left, _ = plan.missing(folder)
    reached = Spending(folder).reached() if left else None
    words = f"the budget ended the search ({reached}); {left} trials are left: raise it to go on"
    return words if reached else ""


if __name__ == "__main__":
    cli.run(main)
