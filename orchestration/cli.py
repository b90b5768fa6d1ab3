"""What every command shares: arguments, exit codes, and one message instead of a traceback."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestration.session import Opened

DONE, NOTHING, USER, MACHINE, INTERRUPTED = 0, 1, 2, 3, 130


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The arguments that train and tune have in common."""
    made = argparse.ArgumentParser(
        prog=f"python -m orchestration.{command}",
        description=description,
        epilog="Any value of the study file can be given as path=value, such as loss.position_weight=0.5"
        " or search.trials=64.",
    )
    made.add_argument(
        "--space", required=True, metavar="FILE", help="a study file, or a name in search_spaces/"
    )
    made.add_argument("--address", metavar="ADDRESS", help="join this Ray cluster (auto, HOST:PORT, ray://…)")
    made.add_argument(
        "--fresh", action="store_true", help="set an existing study folder aside and start over"
    )
    made.add_argument(
        "--dry-run", action="store_true", help="say what would run and what it would cost; run nothing"
    )
    made.add_argument("--verbose", action="store_true", help="show what Ray logs")
    made.add_argument("overrides", nargs="*", metavar="path=value", help="values on top of the file's")
    return made


def address_of(arguments: argparse.Namespace) -> str | None:
    """--address, else RAY_ADDRESS, else None: this machine."""
    return arguments.address or os.environ.get("RAY_ADDRESS") or None


def start(arguments: argparse.Namespace, module: str, command: Callable[[argparse.Namespace], int]) -> int:
    """Run the command here, or on the head of a cluster that is reached through Ray Client."""
    address = address_of(arguments)
    if address is None or not address.startswith("ray://"):
        return command(arguments)
    from orchestration import client

    return client.run(address, module, sys.argv[1:], arguments.space)


def dry_run(opened: Opened, address: str | None, search: bool) -> int:
    """Print what a command would do, and how to do it."""
    from orchestration import dry_run

    print("\n".join(dry_run.lines(opened, address, search)))
    print(f"run it: {again().replace(' --dry-run', '')}")
    return DONE


def run(command: Callable[[], int]) -> None:
    """Call a command's main and exit with its code; a user's mistake is one message and exit 2."""
    try:
        sys.exit(_guarded(command))
    except BrokenPipeError:
        os._exit(DONE)  # the reader of our output went away


def _guarded(command: Callable[[], int]) -> int:
    foreign = foreign_package()
    if foreign is not None:  # before anything of `data` is imported
        print(f"error: {foreign}", file=sys.stderr)
        return USER
    from data.errors import DataError
    from orchestration.errors import MachineError, NothingFinished, UserError

    try:
        return command()
    except (UserError, DataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return USER
    except MachineError as error:
        print(f"error: {error}", file=sys.stderr)
        return MACHINE
    except OSError as error:  # a folder that cannot be read or made; anything of ours has better words
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return MACHINE
    except NothingFinished as error:
        print(f"error: {error}", file=sys.stderr)
        return NOTHING
    except KeyboardInterrupt:
        words = "stopped. Nothing that finished is lost; go on with the same command:"
        print(f"\n{words}\n  {again()}", file=sys.stderr)
        return INTERRUPTED


def formats(given: str, known: Sequence[str]) -> list[str]:
    """The names in a list such as `md,html`. Raises UserError for one that is not among `known`."""
    from orchestration.errors import UserError, nearest

    wanted = [name.strip() for name in given.split(",") if name.strip()]
    for name in wanted:
        if name not in known:
            raise UserError(f"--format: {name!r} is none of {', '.join(known)}.{nearest(name, known)}")
    if not wanted:
        raise UserError(f"--format: give one or more of {', '.join(known)}")
    return wanted


def again() -> str:
    """The command line that was typed."""
    module = Path(sys.argv[0]).stem
    return shlex.join(["python", "-m", f"orchestration.{module}", *sys.argv[1:]])


def foreign_package() -> str | None:
    """What to do where `data` or `model` on the path is another project's; None where both are ours."""
    home = Path(__file__).resolve().parent.parent
    for name in ("data", "model"):
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin is None or origin.parent.parent != home:
            found = origin.parent.parent if origin is not None else "nowhere"
            return (
                f"the package `{name}` comes from {found}, not from {home};"
                " another project's folder is earlier on the Python path: run from the project's folder"
                " or a clean virtual environment"
            )
    return None
