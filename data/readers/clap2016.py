"""CLAP2016, the images of APPA-REAL by their apparent age: the age is the mean of people's guesses."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from data.readers.appa_real import guessed, listed, record
from data.readers.layout import checked
from data.schema import Record, Rejected

EXPECTED = (
    "train_gt.csv, valid_gt.csv, test_gt.csv (image, mean, stdv) and images such as train/000000.jpg,"
    " or the tables gt_avg_train.csv, … of APPA-REAL"
)


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image of the tables below `source`; raise DataError where there is none."""
    return checked(source, _items(source), EXPECTED)


def _items(source: Path) -> Iterator[Record | Rejected]:
    tables = (("{}_gt.csv", "image"), ("gt_avg_{}.csv", "file_name"))
    for table, split, row, where in chain.from_iterable(listed(source, *names) for names in tables):
        guess = guessed(row, where)
        yield record(table, split, row.get("image") or row["file_name"], guess[0], guess)
