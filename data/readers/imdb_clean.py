"""IMDB-Clean: imdb_{train,valid,test}_new_1024.csv with the crops, or …_new.csv with the originals."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from data.errors import DataError
from data.readers.layout import checked, files, gender, rows, text, years
from data.schema import Record, Rejected

EXPECTED = (
    "a folder with csvs/imdb_train_new_1024.csv (…valid…, …test…) and images such as"
    " data/imdb-clean-1024/48/nm0000248_rm0000001_1964-1-1_2010.jpg; or imdb_train_new.csv and data/imdb/48/…"
)
_TABLE = re.compile(r"imdb_(?P<split>train|valid|test)_new(?P<crops>_1024)?\.csv")
_PERSON = re.compile(r"(?:.*/)?(?P<person>nm\d+)_")
_BOX = ("x_min", "y_min", "x_max", "y_max")
_PROBED = 50  # rows of a table whose images are looked for


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per row of the tables below `source`, the crops' if they are there.

    Raises DataError without tables or images, and for a row that can't be meant.
    """
    return checked(source, _items(source), EXPECTED)


def _items(source: Path) -> Iterator[Record | Rejected]:
    tables = {path.name: path for path in files(source, ".csv") if _TABLE.fullmatch(path.name)}
    crops = {name: path for name, path in tables.items() if "_1024" in name}
    for name, table in sorted((crops or tables).items()):
        folder = _images(source, table, bool(crops))
        for number, row in enumerate(rows(table, "filename", "age", "gender", *_BOX), start=2):
            yield _item(row, folder, name.split("_")[1], f"{table}, line {number}")


def _images(source: Path, table: Path, crops: bool) -> Path:
    """Return the folder that holds the first images of a table, or `source` where none does."""
    names = [row["filename"] for row in islice(rows(table, "filename"), _PROBED)]
    kind = "imdb-clean-1024" if crops else "imdb"
    tops = (source, source.parent, table.parent.parent)
    roots = [top / middle for top in tops for middle in (f"data/{kind}", kind)]
    candidates = [*roots, table.parent, source]
    return next((c for c in candidates if any((c / name).is_file() for name in names)), candidates[-1])


def _item(row: dict[str, str], folder: Path, split: str, where: str) -> Record | Rejected:
    name = row["filename"]
    match = _PERSON.match(name)
    if "\0" in name or ".." in Path(name).parts or Path(name).is_absolute() or match is None:
        raise DataError(f"{where}: filename {name!r} is not like 48/nm0000248_….jpg")
    try:
        left, top, right, bottom = (float(row[column]) for column in _BOX)
    except ValueError:
        raise DataError(f"{where}: the box {[row[column] for column in _BOX]} is not four numbers") from None
    return Record(
        source=text(name),
        path=folder / name,
        age=years(row["age"], where),
        gender=gender(row["gender"], where),
        identity=match["person"],
        split=split,
        box=(left, top, right, bottom) if left < right and top < bottom else None,
    )
