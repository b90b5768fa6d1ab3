"""APPA-REAL: gt_avg_{train,valid,test}.csv and a folder of images each; the age is the real one.

Of an image X.jpg the published crop X.jpg_face.jpg (the face with 40 % margin) is taken where it is there.
"""

from collections.abc import Iterator
from pathlib import Path

from data.errors import DataError
from data.readers.layout import checked, files, rows, text, years
from data.schema import Record, Rejected

SPLITS = ("train", "valid", "test")
EXPECTED = "gt_avg_train.csv, gt_avg_valid.csv, gt_avg_test.csv and images such as train/000000.jpg_face.jpg"


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image of the tables below `source`; raise DataError where there is none."""
    return checked(source, _items(source), EXPECTED)


def _items(source: Path) -> Iterator[Record | Rejected]:
    for table, split, row, where in listed(source, "gt_avg_{}.csv", "file_name"):
        yield record(table, split, row["file_name"], years(row["real_age"], where), guessed(row, where))


def listed(source: Path, name: str, *columns: str) -> Iterator[tuple[Path, str, dict[str, str], str]]:
    """Yield (table, split, row, place) of the tables `name` below `source`, a split's name put in."""
    tables = {path.name: path for path in files(source, ".csv")}
    for split in SPLITS:
        table = tables.get(name.format(split))
        if table is not None:
            for number, row in enumerate(rows(table, *columns), start=2):
                yield table, split, row, f"{table}, line {number}"


def guessed(row: dict[str, str], where: str) -> tuple[float, float]:
    """Return mean and standard deviation, in years, of what people guessed, from either release's columns."""
    mean = row.get("apparent_age_avg") or row.get("mean", "")
    spread = row.get("apparent_age_std") or row.get("stdv", "")
    return years(mean, where), years(spread, where)


def record(table: Path, split: str, name: str, age: float, guess: tuple[float, float]) -> Record:
    """Return the record of image `name`, which lies in the split's folder beside its table."""
    if Path(name).name != name:
        raise DataError(f"{table}: {name!r} is not the name of an image in {split}/")
    image, crop = table.parent / split / name, table.parent / split / f"{name}_face.jpg"
    path = crop if crop.is_file() else image
    mean, spread = guess
    source = text(f"{split}/{path.name}")
    return Record(source, path, age, None, split=split, apparent_age=mean, apparent_age_sd=spread)
