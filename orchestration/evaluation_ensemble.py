"""Several models' predictions of one part as one model's: the mean of their ages and probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from data.verdicts import LEAK, NONE, UNKNOWN, Verdict
from orchestration.estimator import REQUIRED, averaged
from orchestration.predictions import Predictions, from_columns


def name(members: int) -> str:
    """How tables call it."""
    return f"ensemble of {members}"


def predictions(members: Sequence[Predictions]) -> Predictions:
    """The members' mean, face by face, as `predict` gives it of several models: with the spread that all
    have. The members saw the same faces."""
    first = members[0]
    shared = [one for one in first.spread if all(one in other.spread for other in members)]
    names = [*REQUIRED, *shared]
    views = [{one: torch.tensor(member.column(one)) for one in names} for member in members]
    columns = {one: values.numpy() for one, values in averaged(views, names).items()}
    table = first.table
    for one, values in columns.items():
        place = table.column_names.index(one)
        made = from_columns(first.origin, {"sample_id": first.column("sample_id"), one: values}).table
        table = table.set_column(place, one, made.column(one))
    kept = [one for one in table.column_names if one not in first.spread or one in shared]
    return Predictions(replace(first.origin, identity="", seed=0, epoch=0), table.select(kept))


def leaks(members: Sequence[dict[str, Verdict]]) -> dict[str, Verdict]:
    """Of each kind of leak the worst that is known of a member."""
    order = (LEAK, UNKNOWN, NONE)
    return {
        kind: min((member[kind] for member in members), key=lambda found: order.index(found.verdict))
        for kind in members[0]
    }
