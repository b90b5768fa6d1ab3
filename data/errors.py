"""The two kinds of failure a user meets. A CLI prints the message alone, without a traceback."""

from collections.abc import Iterable


class DataError(Exception):
    """A mistake the user can mend (exit code 2).

    The message is complete: the path, what was received, what is allowed and the nearest right name.
    """


class RefusedError(DataError):
    """An object store that knows the bucket or the keys no more, or never did."""


class MachineError(Exception):
    """The machine gave out: a full disk, a worker killed for memory (exit code 3)."""


class DiskError(MachineError):
    """A full or failing disk."""


class Unusable(Exception):
    """An image that can't be used; the message is its reason in quarantine.csv."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return ` Did you mean 'NAME'?` for the nearest of `allowed`, or an empty string."""
    import difflib

    close = difflib.get_close_matches(word, list(allowed), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
