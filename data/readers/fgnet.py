"""FG-NET: `images/001A02.JPG` is person 001 at age 2; gender comes from labels.csv where there is one."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from data.readers.layout import checked, jpegs
from data.schema import Record, Rejected

EXPECTED = "FG-NET images such as images/001A02.JPG or images/009A16a.JPG"
_NAME = re.compile(r"(?P<identity>\d{3})A(?P<age>\d{2})[a-z]?\.jpe?g", re.IGNORECASE)


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image in `source`/images, or in `source`; raise DataError where none can be read."""
    folder = source / "images" if (source / "images").is_dir() else source
    genders = _genders(folder)
    return checked(source, (_item(path, source, genders) for path in jpegs(folder)), EXPECTED)


def _genders(folder: Path) -> dict[str, str]:
    """Return the gender by upper-case file name, from labels.csv in `folder` or beside it."""
    for table in (folder / "labels.csv", folder.parent / "labels.csv"):
        if table.is_file():
            with table.open(newline="") as file:
                rows = list(csv.DictReader(file))
            return {row["file"].upper(): row["gender"][:1].upper() for row in rows if row["gender"]}
    return {}


def _item(path: Path, source: Path, genders: dict[str, str]) -> Record | Rejected:
    name = path.relative_to(source).as_posix()
    match = _NAME.fullmatch(path.name)
    if match is None:
        return Rejected(name, "name does not give identity and age")
    gender = genders.get(path.name.upper())
    return Record(name, path, float(match["age"]), gender, identity=match["identity"])
