"""Any table with a path and an age, and what is said about a row that can't be meant."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import DataError
from data.readers import table
from data.schema import Record, Rejected


def _write(folder: Path, text: str) -> Path:
    path = folder / "faces.csv"
    path.write_text(text)
    return path


def test_a_csv_gives_every_column_it_has(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "path,age,gender,identity,split,ethnicity,camera\n./a/1.png,30.5,Female,ann,test,Asian,x\n2.png,4,,,,,\n",
    )
    assert list(table.read(path)) == [
        Record("a/1.png", tmp_path / "a/1.png", 30.5, "F", "ann", "Asian", "test"),
        Record("2.png", tmp_path / "2.png", 4.0, None),
    ]


def test_parquet_and_csv_with_the_same_rows_give_the_same_records(tmp_path: Path) -> None:
    columns = {"path": ["1.png", "2.png"], "age": [30, 4], "gender": ["m", None]}
    pq.write_table(pa.table(columns), tmp_path / "faces.parquet")
    text = _write(tmp_path, "path,age,gender\n1.png,30,m\n2.png,4,\n")
    assert list(table.read(tmp_path / "faces.parquet")) == list(table.read(text))


@pytest.mark.parametrize(
    ("word", "gender"), [("M", "M"), ("male", "M"), ("f", "F"), ("FEMALE", "F"), ("", None)]
)
def test_gender_in_any_case_of_letters(tmp_path: Path, word: str, gender: str | None) -> None:
    (record,) = table.read(_write(tmp_path, f"path,age,gender\n1.png,30,{word}\n"))
    assert isinstance(record, Record)
    assert record.gender == gender


def test_an_absolute_path_is_its_own_source(tmp_path: Path) -> None:
    (record,) = table.read(_write(tmp_path, "path,age\n/elsewhere/1.png,30\n"))
    assert record == Record("/elsewhere/1.png", Path("/elsewhere/1.png"), 30.0, None)


def test_a_row_without_age_is_rejected_alone(tmp_path: Path) -> None:
    rejected, record = table.read(_write(tmp_path, "path,age\n1.png,\n2.png,7\n"))
    assert rejected == Rejected("1.png", "age is empty")
    assert record.source == "2.png"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,age,gender\n1.png,30,M\n2.png,31,femal\n", ["row 2", "'femal'", "Did you mean 'female'"]),
        ("path,age\n1.png,thirty\n", ["row 1", "'thirty'", "0 to 130"]),
        ("path,age\n1.png,-1\n", ["row 1", "'-1'"]),
        ("path,age\n1.png,nan\n", ["row 1", "'nan'"]),
        ("path,age\n../1.png,30\n", ["row 1", "'../1.png'", "inside"]),
        ("path,age\n1.png,30\n./1.png,30\n", ["row 2", "'1.png'", "row 1"]),
        ("path,aeg\n1.png,30\n", ["no column 'age'", "Did you mean 'aeg'"]),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(DataError) as error:
        list(table.read(_write(tmp_path, text)))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_folder_is_not_a_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found a folder"):
        list(table.read(tmp_path))
