"""From hashed records to the files of a data set: decode, resolve duplicates, write."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.contact import write_contact
from data.decode import decode_all
from data.duplicates import Copy, first_alike, resolve
from data.errors import DataError
from data.folder import check_room
from data.journal import Decoded, Journal
from data.progress import Progress
from data.raw import Raw
from data.schema import FACES_FILE, Counts, Preparation, Record, Rejected
from data.spread import Executor
from data.store import write_faces, write_quarantine

_LABELS = 512  # bytes an image, generously: what is written beside its pixels


def build(
    folder: Path,
    records: Sequence[Record],
    digests: Sequence[str],
    rejected: Sequence[Rejected],
    preparation: Preparation,
    journal: str,
    executor: Executor,
    bar: type[Progress],
) -> tuple[str, Counts]:
    """Write faces.arrow, quarantine.csv and contact.png in `folder`; return the content hash and the counts.

    `records` are sorted by source; `rejected` are those refused so far; `journal` says which rows a run that
    was cut short left there. Raises DataError if no image is left, MachineError if the disk is too small.
    """
    size = preparation.size
    raw = Raw(folder / "pixels.raw", len(records), size)
    check_room(folder, raw.at(len(records)) + len(records) * _LABELS)
    label = "align" if preparation.align else "decode"
    progress = bar(len(records), label, "images")
    decoded = decode_all(records, preparation, raw, Journal(folder / journal), executor, progress)
    pixels = raw.map()
    kept, dropped = _select(records, digests, decoded, pixels, preparation.duplicates)
    rejected = [*rejected, *dropped]
    counts = _count([copy.record for copy in kept], rejected, decoded)
    if not kept:
        raise DataError(f"no image is left to keep: {reasons(counts)}")
    write_contact(folder, pixels, [copy.row for copy in kept])
    digest = write_faces(raw, kept)
    raw.path.rename(folder / FACES_FILE)
    (folder / journal).unlink()
    write_quarantine(folder, rejected)
    return digest, counts


def reasons(counts: Counts) -> str:
    """Return how many images were quarantined for what, in words."""
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.quarantined.items()) or "none"


def _select(
    records: Sequence[Record],
    digests: Sequence[str],
    decoded: Sequence[Decoded],
    pixels: NDArray[np.uint8],
    duplicates: str,
) -> tuple[list[Copy], list[Rejected]]:
    """Return the rows to keep, ascending, and the rejected with reasons."""
    usable = [row for row, result in enumerate(decoded) if not result.reason]
    drop = duplicates == "drop"
    firsts = first_alike(usable, [decoded[row].checksum for row in usable], pixels) if drop else usable
    copies = [Copy(row, records[row], digests[row], first) for row, first in zip(usable, firsts, strict=True)]
    broken = [Rejected(r.source, d.reason) for r, d in zip(records, decoded, strict=True) if d.reason]
    kept, dropped = resolve(copies) if drop else (copies, [])
    return kept, broken + dropped


def _count(kept: Sequence[Record], rejected: Sequence[Rejected], decoded: Sequence[Decoded]) -> Counts:
    genders = Counter(r.gender or "unknown" for r in kept)
    return Counts(
        read=len(kept) + len(rejected),
        kept=len(kept),
        quarantined=dict(Counter(sorted(r.reason for r in rejected))),
        gender={name: genders[name] for name in ("M", "F", "unknown")},
        notes=dict(Counter(sorted(d.note for d in decoded if d.note))),
    )
