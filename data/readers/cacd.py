"""CACD: `<age>_<First>_<Last>_<number>.jpg`; ranks, and with them the official split, from the .mat file.

Rank 1 and 2 validate, 3 to 5 test: 80 and 120 people whose labels were cleaned by hand. All others train.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.readers.layout import Published, below, checked, files, jpegs, text
from data.schema import Record, Rejected

EXPECTED = (
    "CACD images <age>_<First>_<Last>_<number>.jpg, such as CACD2000/41_Jane_Doe_0003.jpg,"
    " and beside their folder celebrity2000_meta.mat"
)
PUBLISHED = (Published("CACD", 163_446, tuple(range(14, 63))),)
BESIDE = ("celebrity2000_meta.mat",)

_NAME = re.compile(r"(?P<age>\d+)_(?P<person>.+)_(?P<number>\d{4})\.jpe?g", re.IGNORECASE | re.DOTALL)
_ESCAPE = re.compile(r"\\x[0-9a-f]{2}|#U[0-9a-fA-F]{4}")  # of `layout.text` for what isn't UTF-8; of unzip

Key = tuple[int, int, str]  # age, number, name


@dataclass(frozen=True)
class _Entry:
    person: str
    split: str


def read(source: Path) -> Iterator[Record | Rejected]:
    """Yield one item per image below `source`; raise DataError where none can be read.

    Without the .mat file people go by their names and no image has a split, with a warning on stderr.
    """
    return checked(source, _items(source), EXPECTED)


def _items(source: Path) -> Iterator[Record | Rejected]:
    table = _table(source)
    known = _known(_entries(table)) if table else None
    paths = jpegs(source)
    if known is None and paths:
        print(f"warning: no {BESIDE[0]} below or beside {source}, so no official split", file=sys.stderr)
    for path in paths:
        name = text(path.name)
        match = _NAME.fullmatch(name)
        if match is None:
            yield Rejected(below(path, source), "name does not give age, person and number")
            continue
        if int(match["age"]) not in PUBLISHED[0].labels:
            yield Rejected(name, "age is not one of CACD's 49")
            continue
        entry = _Entry(match["person"], "") if known is None else _find(known, match)
        if entry is None:
            yield Rejected(name, f"name is not in {BESIDE[0]}")
            continue
        age = float(match["age"])
        yield Record(name, path, age, None, identity=entry.person, split=entry.split or None)


def _table(source: Path) -> Path | None:
    """Return the .mat file in `source` or beside it, which are soon looked at, or else anywhere below."""
    near = (path for path in (source / BESIDE[0], source.parent / BESIDE[0]) if path.is_file())
    return next(near, None) or next((p for p in files(source, ".mat") if p.name == BESIDE[0]), None)


def _entries(table: Path) -> dict[str, _Entry]:
    """Return the person and the part of each image that the .mat file names, by file name."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content: dict[str, Any] = loadmat(table, simplify_cells=True)
        people, images = content["celebrityData"], content["celebrityImageData"]
        names = {int(i): str(n) for i, n in zip(people["identity"], people["name"], strict=True)}
        columns = (images["name"], images["identity"], images["rank"])
        namesakes = Counter(names.values())
        person = {i: n if namesakes[n] == 1 else f"{n} {i}" for i, n in names.items()}
        return {
            str(name): _Entry(person[int(identity)].replace(" ", "_"), _part(int(rank)))
            for name, identity, rank in zip(*columns, strict=True)
        }
    except (LookupError, ValueError, TypeError, NotImplementedError, OSError, MatReadError) as error:
        raise DataError(f"{table} is not CACD's table of images and people ({error})") from None


def _part(rank: int) -> str:
    return "val" if rank <= 2 else "test" if rank <= 5 else "train"


# Tar programs and code pages change accents. Names are compared as they are, then without accents, then
# without every letter that is not ASCII, then by nothing but letters, as some programs put _ for an accent;
# age and number must agree each time.
def _plain(name: str) -> str:
    apart = unicodedata.normalize("NFD", name)
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def _ascii(name: str) -> str:
    return "".join(letter for letter in _ESCAPE.sub("", name) if letter.isascii())


def _letters(name: str) -> str:
    return "".join(letter for letter in _ascii(name) if letter.isalpha())


_SAME: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str, str),
    (_plain, _plain),
    (_ascii, _ascii),
    (_ascii, _plain),  # letters and accents were apart before they were mangled
    (_letters, _letters),
)


def _known(entries: dict[str, _Entry]) -> list[dict[Key, _Entry | None]]:
    """Return the entries by key for each way to compare; None where two have the same."""
    found: list[dict[Key, _Entry | None]] = [{} for _ in _SAME]
    for name, entry in entries.items():
        match = _NAME.fullmatch(text(name))
        if match is not None:
            for table, (_, theirs) in zip(found, _SAME, strict=True):
                key = _key(match, theirs)
                table[key] = None if key in table else entry
    return found


def _find(known: list[dict[Key, _Entry | None]], match: re.Match[str]) -> _Entry | None:
    entries = (table.get(_key(match, ours)) for table, (ours, _) in zip(known, _SAME, strict=True))
    return next((entry for entry in entries if entry is not None), None)


def _key(match: re.Match[str], same: Callable[[str], str]) -> Key:
    return int(match["age"]), int(match["number"]), same(match["person"])
