"""Single-run mode: python -m orchestration.train --space utkface.yaml"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.folder import Member
    from orchestration.session import Opened


def main() -> int:
    """Train the file's own values once; the same command goes on after a kill."""
    arguments = cli.parser(
        "train", "Train one run: the file's fixed values, on one GPU or the CPU."
    ).parse_args()
    return train(arguments)


def train(arguments: argparse.Namespace) -> int:
    """Run, or show, the single run that the arguments name."""
    from orchestration import session, study_file
    from orchestration.config import identity
    from orchestration.folder import Member
    from orchestration.lock import Lock

    loaded = study_file.load(arguments.space, arguments.overrides)
    address = session.address_of(arguments.address)
    config = loaded.config()
    opened = session.open_study(loaded, [config], address)
    digest = identity(config, opened.prepared.inputs(config).for_identity())
    name = f"single/{digest[:8]}-seed{config.seed}"
    with Lock(opened.folder.storage.child(name)):
        if arguments.fresh:
            opened.folder.set_aside(name)
        member = opened.folder.member(name) or Member(name, seed=config.seed)
        if member.status == "complete":
            print("finished already; --fresh trains it again")
        else:
            member = _run(opened, member, address, arguments.verbose)
    return _summary(opened, member)


def _run(opened: Opened, member: Member, address: str | None, verbose: bool) -> Member:
    from orchestration import session
    from orchestration.single import run_here, run_in_workers
    from orchestration.tracking import Tracker

    opened.compute_features()
    resources = opened.study.resources
    with Tracker(opened.folder, [member.name], session.code_tags()) as tracker:
        if address is not None or resources.workers > 1 or resources.launcher == "train":
            member = run_in_workers(opened, member, tracker, address, verbose)
        else:
            member = run_here(opened, member, tracker)
        tracker.summary = {}
    return member


def _summary(opened: Opened, member: Member) -> int:
    from orchestration.console import number, scores
    from orchestration.tracking import uri_of

    metric = opened.study.objective.metric
    if member.status == "failed":
        print(f"failed: {member.reason}")
    if member.value is not None:
        print(f"best {metric} {number(member.value)}")
    if member.test is not None:
        print(f"test, at the best epoch: {scores(member.test)}")
    print(f"results: {opened.folder.storage.root}/{member.name}")
    print(f"compare: mlflow ui --backend-store-uri {uri_of(opened.folder)}")
    return cli.DONE if member.status == "complete" else cli.NOTHING


if __name__ == "__main__":
    cli.run(main)
