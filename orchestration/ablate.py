"""Ablations: python -m orchestration.ablate --space ablation_components.yaml"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.ablation_results import Table
    from orchestration.cells import Arm
    from orchestration.folder import StudyFolder
    from orchestration.layers import Flat
    from orchestration.session import Opened
    from orchestration.tracking import Tracker


def main() -> int:
    """Run every cell of the file's design, compare the variants; the same command goes on."""
    arguments = cli.parser(
        "ablate", "Train variants on the same seeds and splits, and say which differ and by how much."
    ).parse_intermixed_args()
    return cli.start(arguments, "ablate", ablate)


def ablate(arguments: argparse.Namespace) -> int:
    """Plan or run the ablation that the arguments name."""
    from orchestration import ablation_run, sampler_choice, session, study_file
    from orchestration.errors import UserError

    study = study_file.load(arguments.space, arguments.overrides)
    if study.ablation is None:
        raise UserError("ablation: nothing to compare; give variants, or search with orchestration.tune")
    if study.space:
        sampler_choice.require_packages(study)
    arms = ablation_run.arms_of(study)
    if arguments.dry_run:
        for line in ablation_run.plan_lines(study, arms):
            print(line)
        return cli.DONE
    address = cli.address_of(arguments)
    opened = session.open_study(study, ablation_run.configs(study, arms), address)
    return _run(opened, arms, address, arguments)


def _run(opened: Opened, arms: list[Arm], address: str | None, arguments: argparse.Namespace) -> int:
    from orchestration import ablation_results, ablation_text, cells, provenance
    from orchestration.lock import Lock
    from orchestration.tracking import Tracker

    folder, study = opened.folder, opened.study
    with Lock(folder.storage):
        if arguments.fresh:
            folder.set_aside()
        folder.begin(opened.prepared.inputs(study.config(arms[0].values)))
        cells.require_same(folder, opened.prepared.inputs)
        with Tracker(folder, ["cells"], provenance.tags()) as tracker:
            opened.compute_features()
            _missing(opened, arms, tracker, address, arguments.verbose)
            found = ablation_results.tables(folder)
            looks = ablation_results.store(folder, found)
            tracker.variants = ablation_text.metrics(found)
            tracker.summary = {}
    return _summary(folder, tracker, found, looks)


def _missing(opened: Opened, arms: list[Arm], tracker: Tracker, address: str | None, verbose: bool) -> None:
    """Search inside the arms, where the file has a space, and run the cells that are missing."""
    from orchestration import ablation_run, cells, placement
    from orchestration.engine import Engine
    from orchestration.members import Listed
    from orchestration.plan import finals_console

    folder, study = opened.folder, opened.study
    to_run = cells.missing(folder, cells.cells(study, arms))
    total = len(arms) * len(cells.seeds(study))
    print(f"ablation {study.study}: {total} cells, {len(to_run)} to run; in {folder.storage.root}")
    if not to_run:
        return
    with placement.placed(opened, address, verbose) as place:
        placement.announce(place)
        tuned: dict[str, Flat] = {}
        if study.space:
            tuned = ablation_run.search_arms(opened, place, arms)
            to_run = cells.missing(folder, cells.cells(study, arms, tuned))
        with finals_console(folder, to_run) as console:
            Engine(folder, opened.prepared, place, console, tracker).run(Listed(to_run), test=True)


def _summary(folder: StudyFolder, tracker: Tracker, found: list[Table], looks: list[int]) -> int:
    from orchestration import ablation_text
    from orchestration.errors import NothingFinished

    if not found:
        failed = [m for m in folder.members("cells") if m.status == "failed"]
        reasons = "; ".join(sorted({m.reason or "" for m in failed}))
        raise NothingFinished(f"no cell finished ({len(failed)} failed: {reasons})")
    for table in found:
        for line in ablation_text.table_lines(table):
            print(line)
    if len(looks) > 1:
        print(
            f"looked at with {', '.join(map(str, looks))} seeds: p values hold for a number of seeds that was"
            " fixed beforehand"
        )
    if tracker.problem:
        print(
            f"MLflow at {tracker.uri} did not take everything ({tracker.problem}); the same command sends it"
        )
    print(f"results: {folder.storage.root} (results.json has these tables)")
    print(f"compare: {tracker.look}")
    print(f"report: python -m orchestration.report {shlex.quote(folder.storage.root)}")
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
