"""AgeDB: `<number>_<name>_<age>_<m|f>.jpg`; accents in names differ between unzip programs, numbers don't."""

import re
from collections.abc import Iterator
from pathlib import Path

from data.errors import DataError
from data.readers.layout import Published, below, checked, jpegs, text
from data.schema import Record, Rejected

EXPECTED = "AgeDB images <number>_<name>_<age>_<m|f>.jpg, such as AgeDB/7_JaneDoe_41_f.jpg"
PUBLISHED = (Published("AgeDB", 16_488, (1, *range(3, 102))),)

_NAME = re.compile(r"(?P<number>\d+)_(?P<name>.+)_(?P<age>\d+)_(?P<gender>[mf])\.jpe?g", re.I | re.S)


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image below `source`; raise DataError without any, or for a number twice."""
    return checked(source, _items(source), EXPECTED)


def _items(source: Path) -> Iterator[Record | Rejected]:
    numbers: dict[int, Path] = {}
    for path in jpegs(source):
        name = text(path.name)
        match = _NAME.fullmatch(name)
        if match is None:
            yield Rejected(below(path, source), "name does not give number, person, age and gender")
            continue
        first = numbers.setdefault(int(match["number"]), path)
        if first != path:
            raise DataError(f"{source} holds AgeDB's number {match['number']} twice, as {first} and {path}")
        if int(match["age"]) not in PUBLISHED[0].labels:
            yield Rejected(name, "age is not one of AgeDB's 100")
            continue
        # Three people's names end in a space.
        person = match["name"].strip()
        yield Record(name, path, float(match["age"]), match["gender"].upper(), identity=person)
