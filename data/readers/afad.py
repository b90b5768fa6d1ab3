"""AFAD, Full and Lite: `<age>/<111 male | 112 female>/<person>-<number>.jpg`."""

import re
from collections.abc import Iterator
from pathlib import Path

from data.readers.layout import Published, below, checked, jpegs
from data.schema import Record, Rejected

EXPECTED = (
    "AFAD images <age>/<111 male | 112 female>/<person>-<number>.jpg, such as AFAD-Full/15/111/638660-1.jpg"
)
PUBLISHED = (
    Published("AFAD-Lite", None, tuple(range(18, 40))),
    Published("AFAD-Full", 165_501, (*range(15, 71), 72)),
)

_NAME = re.compile(r"(.*/)?(?P<name>(?P<age>\d+)/(?P<code>11[12])/(?P<person>\d+)-\d+\.jpe?g)", re.I)


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image below `source`; raise DataError where none can be read."""
    return checked(source, (_item(path, source) for path in jpegs(source)), EXPECTED)


def _item(path: Path, source: Path) -> Record | Rejected:
    # The folders of age and gender may be above `source`, when one of them is given.
    match = _NAME.fullmatch(path.absolute().as_posix())
    if match is None:
        return Rejected(below(path, source), "path does not give age, gender and person")
    name = match["name"]
    if int(match["age"]) not in PUBLISHED[-1].labels:
        return Rejected(name, "age is not one of AFAD's 57")
    gender = "M" if match["code"] == "111" else "F"
    return Record(name, path, float(match["age"]), gender, identity=match["person"])
