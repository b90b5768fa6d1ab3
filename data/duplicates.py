"""Which images are copies, and what becomes of them: pure decisions over their prepared pixels and labels.

Files with identical bytes decode to identical pixels, so the pixel groups contain the file groups;
the reason says which kind a group is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from data.schema import Record, Rejected


@dataclass(frozen=True)
class Copy:
    """One decodable image: its record, the SHA-256 of its file, the first row with the same pixels."""

    row: int
    record: Record
    file_hash: str
    first: int


def first_alike(rows: Sequence[int], checksums: Sequence[int], pixels: NDArray[np.uint8]) -> list[int]:
    """Return for each of `rows` the first of them whose `pixels[row]` are the same, which may be itself.

    `checksums`, one for each of `rows`, are a function of the pixels: where they differ, so do these.
    """
    alike: dict[int, list[int]] = defaultdict(list)
    firsts = []
    for row, checksum in zip(rows, checksums, strict=True):
        others = alike[checksum]
        first = next((other for other in others if np.array_equal(pixels[other], pixels[row])), row)
        if first == row:
            others.append(row)
        firsts.append(first)
    return firsts


def resolve(copies: Sequence[Copy]) -> tuple[list[Copy], list[Rejected]]:
    """Return the copies to keep, ordered by source name, and those rejected with their reasons.

    Ages conflict: all copies are rejected. Only gender or ethnicity conflict: the first source name is
    kept and that label becomes null. Labels agree: the first source name is kept.
    """
    groups: dict[int, list[Copy]] = defaultdict(list)
    for copy in sorted(copies, key=lambda c: c.record.source):
        groups[copy.first].append(copy)
    kept: list[Copy] = []
    rejected: list[Rejected] = []
    for group in groups.values():
        first, *others = group
        if not others:
            kept.append(first)
            continue
        kind = "identical files" if len({c.file_hash for c in group}) == 1 else "identical pixels"
        if len({c.record.age for c in group}) > 1:
            rejected += [Rejected(c.record.source, f"{kind}, ages conflict") for c in group]
            continue
        kept.append(replace(first, record=_agreed(group)))
        rejected += [Rejected(c.record.source, f"{kind}, another copy is kept") for c in others]
    return sorted(kept, key=lambda c: c.record.source), rejected


def _agreed(group: list[Copy]) -> Record:
    """Return the first record with the gender and ethnicity on which every copy that knows one agrees."""
    genders = {c.record.gender for c in group} - {None}
    ethnicities = {c.record.ethnicity for c in group} - {None}
    return replace(
        group[0].record,
        gender=genders.pop() if len(genders) == 1 else None,
        ethnicity=ethnicities.pop() if len(ethnicities) == 1 else None,
    )
