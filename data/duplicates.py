"""What becomes of copies: pure decisions over groups of images whose prepared pixels are the same.

Files with identical bytes decode to identical pixels, so the pixel groups contain the file groups;
the reason says which kind a group is.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from data.schema import Record, Rejected


@dataclass(frozen=True)
class Copy:
    """One decodable image: its record and the SHA-256 of its file and of its prepared pixels."""

    row: int
    record: Record
    file_hash: str
    pixel_hash: str


def resolve(copies: Sequence[Copy]) -> tuple[list[Copy], list[Rejected]]:
    """Return the copies to keep, ordered by source name, and those rejected with their reasons.

    Ages conflict: all copies are rejected. Only gender or ethnicity conflict: the first source name is
    kept and that label becomes null. Labels agree: the first source name is kept.
    """
    groups: dict[str, list[Copy]] = defaultdict(list)
    for copy in sorted(copies, key=lambda c: c.record.source):
        groups[copy.pixel_hash].append(copy)
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
