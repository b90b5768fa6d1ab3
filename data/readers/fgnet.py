"""FG-NET: `images/001A02.JPG` is person 001 at age 2; gender from labels.csv, landmarks from points/*.pts."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data.readers.layout import below, checked, files, gender, jpegs, rows
from data.schema import Record, Rejected

EXPECTED = "FG-NET images such as images/001A02.JPG or images/009A16a.JPG"
_NAME = re.compile(r"(?P<identity>\d{3})A(?P<age>\d{2})[a-z]?\.jpe?g", re.IGNORECASE)
_FIVE = (31, 36, 67, 48, 54)  # of the 68 points: the two pupils, the nose, the corners of the mouth

Points = tuple[tuple[float, float], ...]


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image in `source`/images, or in `source`; raise DataError where none can be read."""
    folder = source / "images" if (source / "images").is_dir() else source
    genders = _genders(source)
    found = files(source, ".pts") or files(source.parent / "points", ".pts")
    points = {path.stem.upper(): path for path in found}
    items = (_item(path, source, genders, points) for path in jpegs(folder))
    return checked(source, items, EXPECTED)


def _genders(source: Path) -> dict[str, str | None]:
    """Return the gender by upper-case file name, from labels.csv below `source` or beside it."""
    below_it = (path for path in files(source, ".csv") if path.name == "labels.csv")
    table = next(below_it, source.parent / "labels.csv")
    if not table.is_file():
        return {}
    lines = enumerate(rows(table, "file", "gender"), start=2)
    return {row["file"].upper(): gender(row["gender"], f"{table}, line {number}") for number, row in lines}


def _item(
    path: Path, source: Path, genders: dict[str, str | None], points: dict[str, Path]
) -> Record | Rejected:
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
    """Return the five landmarks in a file of 68 points; None without one or where it holds something else."""
    if points is None:
        return None
    with suppress(OSError, ValueError):  # a link to nothing; what only looks like numbers
        content = points.read_text("latin-1")
        numbers = re.findall(r"^\s*([-+.\deE]+)\s+([-+.\deE]+)\s*$", content, re.MULTILINE)
        if len(numbers) == 68:
            return tuple((float(numbers[i][0]), float(numbers[i][1])) for i in _FIVE)
    return None
