"""Any CSV or Parquet file with columns `path` and `age`; gender, identity, split and ethnicity if there."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from data.errors import DataError, nearest
from data.readers.layout import gender, readable, years
from data.schema import Record, Rejected

_EXPECTED = "a .csv or .parquet file with columns path, age (and gender, identity, split, ethnicity)"


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per row of the table `source`, whose paths are relative to the table's folder.

    Raises DataError, with row and value, for a gender that isn't M, F, male, female or empty, an age
    that is not a number of years, a path that leaves the folder, and a path that was named before.
    """
    seen: dict[str, int] = {}
    for number, row in enumerate(_rows(source), start=1):
        where = f"{source}, row {number}"
        name = _source(row["path"], where)
        if name in seen:
            raise DataError(f"{where}: path {name!r} was already named in row {seen[name]}")
        seen[name] = number
        if not row["age"]:
            yield Rejected(name, "age is empty")
            continue
        yield Record(
            source=name,
            path=source.parent / name,
            age=years(row["age"], where),
            gender=gender(row.get("gender", ""), where),
            identity=row.get("identity") or None,
            ethnicity=row.get("ethnicity") or None,
            split=row.get("split") or None,
        )


def _rows(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows as text by lower-case column name, once the columns are known to be there."""
    if not table.is_file() or table.suffix.lower() not in {".csv", ".parquet"}:
        found = (
            "a folder" if table.is_dir() else "a file of another kind" if table.exists() else "no such file"
        )
        raise DataError(f"{table}: expected {_EXPECTED}; found {found}")
    columns, rows = _parquet(table) if table.suffix.lower() == ".parquet" else _csv(table)
    for needed in ("path", "age"):
        if needed not in columns:
            raise DataError(
                f"{table} has no column {needed!r}; found {', '.join(columns)}.{nearest(needed, columns)}"
            )
    return rows


def _csv(table: Path) -> tuple[list[str], Iterator[dict[str, str]]]:
    with readable(table), table.open(newline="", encoding="utf-8-sig") as file:
        lines = list(csv.reader(file))
    columns = [name.strip().lower() for name in lines[0]] if lines else []
    return columns, _texts(columns, (line for line in lines[1:] if line))


def _parquet(table: Path) -> tuple[list[str], Iterator[dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = pq.read_table(table)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{table} is not a Parquet file ({error})") from None
    columns = [name.strip().lower() for name in content.column_names]
    values = zip(*(column.to_pylist() for column in content.columns), strict=True)
    return columns, _texts(columns, values)


def _texts(columns: list[str], rows: Iterable[Iterable[Any]]) -> Iterator[dict[str, str]]:
    for row in rows:
        texts = ("" if value is None else str(value).strip() for value in row)
        yield {column: next(texts, "") for column in columns}


def _source(path: str, where: str) -> str:
    name = PurePosixPath(path)
    if not path or "\0" in path or ".." in name.parts:
        raise DataError(f"{where}: path {path!r} must be a file inside the table's folder, or absolute")
    return name.as_posix()
