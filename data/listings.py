"""Published splits as CSV files: matched with a data set row by row, with nothing left over."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError

_PARTS = {"train": 0, "trn": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "tst": 2}
_FOLDERS = set("0123456789")
# AgeDB's names differ between unzip programs; its leading number is unique.
_NUMBERED = re.compile(r"(\d+)_.*_\d+_[mf]\.jpe?g", re.IGNORECASE | re.DOTALL)


def digest(listing: str) -> str:
    """Return the SHA-256 (hex) of a listing's bytes; DataError where it can't be read."""
    return hashlib.sha256(_bytes(listing)).hexdigest()


def parts(listing: str, sources: Sequence[str], needed: NDArray[np.bool_]) -> list[int]:
    """Return the part (0 train, 1 validation, 2 test) of each source; columns `path` and `split`.

    −1 for a source that is neither listed nor `needed` [len(sources)]. Raises DataError unless every needed
    source is listed and every listed path is a source.
    """
    told = _matched(listing, sources, needed, "path", "split")
    wrong = sorted({text for text in told if text is not None and text.lower() not in _PARTS})
    if wrong:
        raise DataError(f"{listing}: split must be train, val or test. Received: {_some(wrong)}")
    return [-1 if text is None else _PARTS[text.lower()] for text in told]


def folders(listing: str, sources: Sequence[str], needed: NDArray[np.bool_]) -> list[int]:
    """Return the folder 0…9 of each source; columns `file` and `folder`. −1 and errors as in `parts`."""
    told = _matched(listing, sources, needed, "file", "folder")
    wrong = sorted({text for text in told if text is not None and text not in _FOLDERS})
    if wrong:
        raise DataError(f"{listing}: folder must be 0 to 9. Received: {_some(wrong)}")
    return [-1 if text is None else int(text) for text in told]


def _matched(
    listing: str, sources: Sequence[str], needed: NDArray[np.bool_], key: str, value: str
) -> list[str | None]:
    """Return the value of each source's row, None where it has none and needs none."""
    names = [_name(source) for source in sources]
    named: Callable[[str], str] = _name
    if len(set(names)) < len(names):  # then only whole paths tell images apart
        names, named = list(sources), str
    rows: dict[str, str] = {}
    for number, row in enumerate(_rows(listing, key, value), start=2):
        name = named(row[key] or "")
        if name in rows:
            raise DataError(f"{listing}, row {number}: {row[key]!r} is listed twice")
        rows[name] = (row[value] or "").strip()
    unlisted = [
        source
        for source, name, needs in zip(sources, names, needed.tolist(), strict=True)
        if needs and name not in rows
    ]
    lost = sorted(rows.keys() - set(names))
    if unlisted or lost:
        raise DataError(
            f"{listing} does not match the data set: {len(unlisted)} of {needed.sum()} images are not listed"
            f"{_first(unlisted)}, {len(lost)} of {len(rows)} listed are not in the data set{_first(lost)}."
            " A published split needs every image: prepare with --duplicates keep"
        )
    return [rows.get(name) for name in names]


def _some(texts: Sequence[str]) -> str:
    return ", ".join(map(repr, texts[:5]))


def _first(names: Sequence[str]) -> str:
    return f" (first: {names[0]})" if names else ""


def _name(path: str) -> str:
    """What identifies an image in the data set and in the listing: its file name, AgeDB's by its number.

    Accents are left out: archives and file systems write them in several ways.
    """
    name = PurePosixPath(path).name
    found = _NUMBERED.fullmatch(name)
    if found:
        return found[1]
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))


def _rows(listing: str, *columns: str) -> list[dict[str, str | None]]:
    text = _bytes(listing).decode("utf-8-sig", errors="replace")
    # Not splitlines: names that an unzip program mangled hold characters that it takes for ends of lines.
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = reader.fieldnames or []
    for column in columns:
        if column not in found:
            raise DataError(f"{listing} has no column {column!r}; found {', '.join(found) or 'nothing'}")
    return list(reader)


def _bytes(listing: str) -> bytes:
    try:
        return Path(listing).expanduser().read_bytes()
    except OSError as error:
        raise DataError(f"{listing}: {error.strerror}: expected a CSV of a published split") from None
