"""The studies there are: python -m orchestration.studies --storage runs"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from orchestration import cli

if TYPE_CHECKING:
    from orchestration.shelf import Entry
    from orchestration.storage import Storage

STOP_SECONDS = 120.0


def main() -> int:
    """List studies, stop one, or delete one."""
    made = argparse.ArgumentParser(
        prog="python -m orchestration.studies",
        description="List the studies of a storage folder with their state and the command to go on.",
    )
    made.add_argument(
        "--storage", default="runs", metavar="FOLDER", help="holds study folders; or s3://… (default: runs)"
    )
    chosen = made.add_mutually_exclusive_group()
    chosen.add_argument("--stop", metavar="STUDY", help="ask its running driver to stop, as Ctrl-C does")
    chosen.add_argument("--delete", metavar="STUDY", help="delete its folder; MLflow keeps what it has")
    made.add_argument("--yes", action="store_true", help="delete without asking")
    arguments = made.parse_args()
    from orchestration.storage import Storage

    storage = Storage(arguments.storage)
    if arguments.stop is not None:
        return stop(storage, arguments.stop)
    if arguments.delete is not None:
        return delete(storage, arguments.delete, arguments.yes)
    return show(storage)


def show(storage: Storage) -> int:
    """Print every study, with the command that goes on with it."""
    from orchestration import shelf
    from orchestration.console import table

    found = shelf.entries(storage)
    if not found:
        storage.require()
        print(f"no studies in {storage.root}; python -m orchestration.tune --space demo.yaml makes one")
        return cli.DONE
    head = ["study", "state", "runs", "best", "size", "changed"]
    print("\n".join(table(head, [_row(one) for one in found], indent="")))
    for one in found:
        if one.holder:
            print(f"{one.name}: {one.holder}")
        if one.state == "running":
            print(f"stop {one.name}: {shelf.stop_command(one.folder)}")
        elif one.state == "interrupted" and one.go_on:
            print(f"go on with {one.name}: {one.go_on}")
        elif one.state == "complete" and one.planned:
            print(f"more trials of {one.name}: {one.go_on} search.trials={2 * one.planned}")
    return cli.DONE


def _row(one: Entry) -> list[str]:
    from orchestration.console import number, size

    best = f"{one.metric} {number(one.best)}" if one.best is not None else "-"
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.changed))
    return [one.name, one.state, _runs(one) or "-", best, size(one.size), changed]


def _runs(one: Entry) -> str:
    """Such as `trials 24/32: 6 complete, 18 pruned; finals: 3 complete`."""
    parts = []
    for kind, statuses in sorted(one.members.items(), key=lambda item: item[0] != "trials"):
        # A record that says `running` is of a run that a kill cut off, where no driver is there.
        names = {"running": "running" if one.state == "running" else "cut off"}
        words = ", ".join(f"{n} {names.get(status, status)}" for status, n in sorted(statuses.items()))
        whole = kind != "trials" or not one.planned or one.state == "complete"
        of = "" if whole else f" {statuses.total()}/{one.planned}"
        parts.append(f"{kind}{of}: {words}")
    return "; ".join(parts)


def stop(storage: Storage, name: str) -> int:
    """Ask the study's driver to stop, and wait until it has."""
    from orchestration import shelf
    from orchestration.errors import MachineError, UserError
    from orchestration.lock import holder
    from orchestration.stop import ask

    found = shelf.entry(shelf.find(storage, name))
    root = found.folder
    if found.state != "running":
        raise UserError(f"{root.root}: nothing runs this study; it is {found.state}")
    runs = [root, *(root.child(f"single/{entry}") for entry in root.list("single"))]
    held = [folder for folder in runs if holder(folder) is not None]
    for folder in held:
        ask(folder)
    print(f"asked {found.holder} to stop", file=sys.stderr)
    until = time.monotonic() + STOP_SECONDS
    while any(holder(folder) is not None for folder in held):
        if time.monotonic() > until:
            raise MachineError(f"{root.root}: {found.holder} does not answer; is that machine up?")
        time.sleep(0.5)
    print(f"stopped; what finished stays. Go on: {shelf.entry(root).go_on}")
    return cli.DONE


def delete(storage: Storage, name: str, sure: bool) -> int:
    """Delete a study's folder once that is confirmed."""
    from orchestration import shelf
    from orchestration.console import size
    from orchestration.errors import UserError

    found = shelf.entry(shelf.find(storage, name))
    print(f"{found.folder.root}: {_runs(found) or found.state}; {size(found.size)}")
    if not sure and found.state != "running":
        if not sys.stdin.isatty():
            raise UserError("--delete asks before it deletes; give --yes where nobody can answer")
        if input(f"delete it for good? type {name} to confirm: ").strip() != name:
            raise UserError("not confirmed; nothing was deleted")
    freed = shelf.delete(storage, name)
    print(f"deleted {found.folder.root}, {size(freed)}; its runs in MLflow stay until they are deleted there")
    return cli.DONE


if __name__ == "__main__":
    cli.run(main)
