"""FG-NET: `images/001A02.JPG` is person 001 at age 2; gender from labels.csv, landmarks from points/*.pts."""

import re
from collections.abc import Iterator
from pathlib import Path

from data.readers.layout import below, checked, files, jpegs, rows
from data.schema import Record, Rejected

EXPECTED = "FG-NET images such as images/001A02.JPG or images/009A16a.JPG"
_NAME = re.compile(r"(?P<identity>\d{3})A(?P<age>\d{2})[a-z]?\.jpe?g", re.IGNORECASE)
_FIVE = (31, 36, 67, 48, 54)  # of the 68 points: the two pupils, the nose, the corners of the mouth

Points = tuple[tuple[float, float], ...]


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image in `source`/images, or in `source`; raise DataError where none can be read."""
    folder = source / "images" if (source / "images").is_dir() else source
    genders = _genders(folder)
    points = {path.stem.upper(): path for path in files(_beside(folder, "points"), ".pts")}
    items = (_item(path, source, genders, points) for path in jpegs(folder))
    return checked(source, items, EXPECTED)


def _beside(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).exists() else folder.parent / name


def _genders(folder: Path) -> dict[str, str]:
    """Return the gender by upper-case file name, from labels.csv in `folder` or beside it."""
    table = _beside(folder, "labels.csv")
    if not table.is_file():
        return {}
    return {
        row["file"].upper(): row["gender"][:1].upper()
        for row in rows(table, "file", "gender")
        if row["gender"]
    }


def _item(path: Path, source: Path, genders: dict[str, str], points: dict[str, Path]) -> Record | Rejected:
    name = below(path, source)
    match = _NAME.fullmatch(path.name)
    if match is None:
        return Rejected(name, "name does not give identity and age")
    return Record(
        source=name,
        path=path,
        age=float(match["age"]),
        gender=genders.get(path.name.upper()),
        identity=match["identity"],
        landmarks=_five(points.get(path.stem.upper())),
    )


def _five(points: Path | None) -> Points | None:
    """Return the five landmarks in a file of 68 points; None without one or with another number of points."""
    if points is None:
        return None
    numbers = re.findall(r"^\s*([-+.\deE]+)\s+([-+.\deE]+)\s*$", points.read_text("latin-1"), re.MULTILINE)
    if len(numbers) != 68:
        return None
    return tuple((float(numbers[i][0]), float(numbers[i][1])) for i in _FIVE)
