"""Single-run mode: python -m orchestration.train --space utkface.yaml"""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.records import Member
    from orchestration.session import Opened
    from orchestration.study import Objective
    from orchestration.tracking import Tracker


def main() -> int:
    """Train the file's own values once; the same command goes on after a kill."""
    arguments = cli.parser(
        "train", "Train one run: the file's fixed values, on one GPU or the CPU."
    ).parse_intermixed_args()
    return cli.start(arguments, "train", train)


def train(arguments: argparse.Namespace) -> int:
    """Run, or show, the single run that the arguments name."""
    from orchestration import provenance, session, study_file
    from orchestration.config import identity
    from orchestration.lock import Lock
    from orchestration.records import Member
    from orchestration.stop import StopWatch
    from orchestration.tracking import Tracker

    loaded = study_file.load(arguments.space, arguments.overrides)
    address = cli.address_of(arguments)
    config = loaded.config()
    opened = session.open_study(loaded, [config], address)
    if arguments.dry_run:
        return cli.dry_run(opened, address, search=False)
    digest = identity(config, opened.prepared.inputs(config).for_identity())
    name = f"single/{digest[:8]}-seed{config.seed}{_objective(loaded.objective)}"
    own = opened.folder.storage.child(name)
    with Lock(own), StopWatch(own):
        if arguments.fresh:
            opened.folder.set_aside(name)
        member = opened.folder.member(name) or Member(name, seed=config.seed)
        with Tracker(opened.folder, [member.name], provenance.tags()) as tracker:
            if member.status == "complete":
                print("finished already; --fresh trains it again")
            else:
                member = _run(opened, member, tracker, address, arguments.verbose)
            tracker.summary = {}
    return _summary(opened, member, tracker)


def _objective(objective: Objective) -> str:
    """What tells runs apart whose best epoch is chosen by something else than the lowest MAE."""
    if (objective.metric, objective.mode) == ("val/age_mae", "min"):
        return ""
    return f"-{objective.mode}-{objective.metric.removeprefix('val/')}"


def _run(opened: Opened, member: Member, tracker: Tracker, address: str | None, verbose: bool) -> Member:
    from orchestration.single import run_here, run_in_workers

    opened.compute_features()
    resources = opened.study.resources
    if address is not None or resources.workers > 1 or resources.launcher == "train":
        return run_in_workers(opened, member, tracker, address, verbose)
    return run_here(opened, member, tracker)


def _summary(opened: Opened, member: Member, tracker: Tracker) -> int:
    from orchestration.audit_line import audit_line
    from orchestration.console import number, scores

    metric = opened.study.objective.metric
    if member.status == "failed":
        print(f"failed: {member.reason}")
    if member.value is not None:
        print(f"best {metric} {number(member.value)}")
    if member.test is not None:
        print(f"test, at the best epoch: {scores(member.test)}")
        print(f"leaks into test: {audit_line(member.audit)}")
    folder = opened.folder.storage.child(member.name)
    print(f"results: {folder.root}")
    if member.status == "complete" and opened.study.config().model.train_backbone:
        weights = shlex.quote(f"model.backbone.weights={folder.address('best.pt')}")
        print(f"start another run from it: {weights}")
    if tracker.problem:
        print(
            f"MLflow at {tracker.uri} did not take everything ({tracker.problem}); the same command sends it"
        )
    print(f"compare: {tracker.look}")
    return cli.DONE if member.status == "complete" else cli.NOTHING


if __name__ == "__main__":
    cli.run(main)
