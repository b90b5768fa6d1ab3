"""Failures a user can act on, with the exit code each one ends a command with."""

from __future__ import annotations

from collections.abc import Sequence

from data.errors import MachineError, nearest

__all__ = ["ConfigError", "MachineError", "NothingFinished", "UserError", "first_line", "nearest"]


class UserError(Exception):
    """A mistake in a file, path, flag or value. The message is complete; commands exit with 2."""


class ConfigError(UserError):
    """Everything that is wrong with a study file or an override, all at once."""

    def __init__(self, problems: Sequence[str], where: str = "the configuration") -> None:
        self.problems = list(problems)
        count = len(self.problems)
        head = f"{where}: {count} problem{'s' if count != 1 else ''}"
        super().__init__("\n  ".join([head, *(p.replace("\n", "\n    ") for p in self.problems)]))


class NothingFinished(Exception):
    """A search that ended without one finished trial; commands exit with 1."""


def first_line(error: BaseException) -> str:
    """An error in one line: its words' first, else the name of its class."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
