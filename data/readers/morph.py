"""MORPH-II: `<person>_<picture><M|F><age>.JPG`; ethnicity from the release's CSV where it is there."""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from data.readers.layout import below, checked, files, jpegs, rows
from data.schema import Record, Rejected

EXPECTED = "MORPH-II images <person>_<picture><M|F><age>.JPG, such as Album2/009055_1M54.JPG, and their CSV"
ETHNICITIES = {"B": "Black", "W": "White", "A": "Asian", "H": "Hispanic", "I": "Indian", "O": "Other"}

_NAME = re.compile(r"(?P<person>\d+)_(?P<picture>\d+)(?P<gender>[MF])(?P<age>\d{2,3})\.jpe?g", re.IGNORECASE)


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image below `source`; raise DataError where none can be read."""
    ethnicities = _ethnicities(source)
    return checked(source, (_item(path, source, ethnicities) for path in jpegs(source)), EXPECTED)


def _ethnicities(source: Path) -> dict[str, str]:
    """Return the ethnicity by upper-case file name, from every CSV below `source` that tells it."""
    found: dict[str, str] = {}
    for table in files(source, ".csv"):
        for row in rows(table):
            name = PurePosixPath(row.get("photo") or row.get("filename") or "").name
            ethnicity = ETHNICITIES.get(row.get("race", "")[:1].upper())
            if ethnicity is not None and _NAME.fullmatch(name):
                found[name.upper()] = ethnicity
    return found


def _item(path: Path, source: Path, ethnicities: dict[str, str]) -> Record | Rejected:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return Rejected(below(path, source), "name does not give person, gender and age")
    return Record(
        source=path.name,
        path=path,
        age=float(match["age"]),
        gender=match["gender"].upper(),
        identity=str(int(match["person"])),  # some names have leading zeros that others leave out
        ethnicity=ethnicities.get(path.name.upper()),
    )
