"""Errors that a user of the model room can act on."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 8


class WeightsError(ValueError):
    """A checkpoint that does not fit the network it was meant for.

    It holds one plain message, so that it survives pickling between workers.
    """

    @classmethod
    def of(cls, missing: Sequence[str], unexpected: Sequence[str], misshapen: Sequence[str]) -> WeightsError:
        """The error that names the first 8 keys of each kind, with their count."""
        kinds = (("missing", missing), ("unexpected", unexpected), ("wrongly shaped", misshapen))
        parts = [f"{len(keys)} {kind}: {_first(keys)}" for kind, keys in kinds if keys]
        return cls("the checkpoint does not fit this backbone; " + "; ".join(parts))


def _first(keys: Sequence[str]) -> str:
    return ", ".join(keys[:LISTED]) + (", …" if len(keys) > LISTED else "")
