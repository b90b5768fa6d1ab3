"""The published numbers: all of the paper's are there, and reading them needs no torch."""

import subprocess
import sys
from pathlib import Path

from orchestration import published

# Tables 1 to 4 of the paper as printed: (table, data set) → every age MAE.
PAPER = {
    (1, "agedb"): [13.1, 5.64, 5.55, 6.59, 5.28],
    (1, "afad"): [3.34, 3.47, 3.11, 3.12, 3.11, 2.88],
    (2, "cacd"): [
        *(4.78, 6.52, 4.63, 5.76, 4.59, 5.25, 4.41, 5.68, 3.96),
        *(4.72, 5.39, 3.96, 4.44, 4.45, 3.60, 3.66),
    ],
    (3, "agedb"): [6.59, 5.37, 5.31, 5.33, 5.28],
    (4, "afad"): [3.47, 3.30, 2.88],
}


def test_every_mae_of_the_papers_tables_is_there_once() -> None:
    found: dict[tuple[int, str], list[float]] = {}
    for row in published.load():
        for table in row.tables:
            found.setdefault((table, row.dataset), []).append(row.mae)
    assert {key: sorted(values) for key, values in found.items()} == {
        key: sorted(values) for key, values in PAPER.items()
    }


def test_table_3_has_cs5_and_gender_accuracy_as_printed() -> None:
    rows = {row.method: (row.cs5, row.gender_accuracy) for row in published.load() if 3 in row.tables}
    assert rows == {
        "IR50+FC": (49.27, None),
        "IR50+EVR": (57.78, None),
        "IR50+EVR+GP": (58.23, 97.08),
        "IR50+EVR+RAPL": (57.32, None),
        "IR50+EVR+RAPL+GP": (58.53, 97.05),
    }


def test_the_numbers_of_one_data_set_come_lowest_first() -> None:
    values = [row.mae for row in published.of("cacd")]
    assert values == sorted(values) and len(values) == sum(r.dataset == "cacd" for r in published.load())


def test_no_number_is_there_twice_under_one_name() -> None:
    keys = [(row.dataset, row.method, row.source, row.trained_on, row.tested_on) for row in published.load()]
    assert len(keys) == len(set(keys))


def test_reading_them_needs_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from orchestration import published; published.load();"
        "print(sorted({'torch', 'ray'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_documented_tables_are_these_numbers() -> None:
    """`python -m orchestration.published` prints what docs/protocols.md must hold below its last heading."""
    text = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text()
    assert text[text.index("### ") :].splitlines() == published.tables()
