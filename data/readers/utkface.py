"""UTKFace: `<age>_<gender>_<ethnicity>_<stamp>.jpg`, aligned (.jpg.chip.jpg) or in the wild (part1..3)."""

import re
from collections.abc import Iterator
from pathlib import Path

from data.readers.layout import below, checked, jpegs
from data.schema import GENDERS, Record, Rejected

ETHNICITIES = ("White", "Black", "Asian", "Indian", "Other")
EXPECTED = "UTKFace images such as 25_0_3_20170104165811234.jpg.chip.jpg, in nested folders or not"

# The stamp's length and what follows it vary in the distributed names and carry no label. All four
# fields must be there: of three, nothing tells which of gender and ethnicity was left out.
_NAME = re.compile(r"(?P<age>\d{1,3})_(?P<gender>[01])_(?P<ethnicity>[0-4]?)_\d{8,}")


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image below `source`; raise DataError where none can be read."""
    return checked(source, (_item(path, source) for path in jpegs(source)), EXPECTED)


def _item(path: Path, source: Path) -> Record | Rejected:
    name = below(path, source)
    match = _NAME.match(path.name)
    if match is None:
        return Rejected(name, "name does not give age and gender unambiguously")
    ethnicity = match["ethnicity"]
    return Record(
        source=name,
        path=path,
        age=float(match["age"]),
        gender=GENDERS[int(match["gender"])],
        ethnicity=ETHNICITIES[int(ethnicity)] if ethnicity else None,
    )
