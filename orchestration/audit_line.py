"""The leak verdict of a run in words, for tables and MLflow; imports nothing."""

from __future__ import annotations

from collections.abc import Mapping

PARTS = {"splits": "splits", "fine_tuning": "fine-tuning data", "pretraining": "pretraining"}


def audit_line(audit: Mapping[str, str]) -> str:
    """Return `splits: none found; fine-tuning data: none found; pretraining: cannot be determined`.

    `audit` is a member's; runs of before it was recorded have an empty one.
    """
    if not audit:
        return "not audited"
    return "; ".join(f"{words}: {audit[name]}" for name, words in PARTS.items())
