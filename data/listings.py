"""Published splits as CSV files: matched with a data set row by row, with nothing left over."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from data.errors import DataError

_PARTS = {"train": 0, "trn": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "tst": 2}
# AgeDB's names differ between unzip programs; its leading number is unique.
_NUMBERED = re.compile(r"(\d+)_.*_\d+_[mf]\.jpe?g", re.IGNORECASE | re.DOTALL)


def digest(listing: str) -> str:
    """Return the SHA-256 (hex) of a listing's bytes; DataError where it can't be read."""
    return hashlib.sha256(_bytes(listing)).hexdigest()


def parts(listing: str, sources: Sequence[str]) -> list[int]:
    """Return the part (0 train, 1 validation, 2 test) of each source; columns `path` and `split`.

    Raises DataError unless every source is listed and every listed path is a source.
    """
    told = _matched(listing, sources, "path", "split")
    wrong = sorted({text for text in told if text.lower() not in _PARTS})
    if wrong:
        raise DataError(f"{listing}: split must be train, val or test. Received: {', '.join(wrong[:5])}")
    return [_PARTS[text.lower()] for text in told]


def folders(listing: str, sources: Sequence[str]) -> list[int]:
    """Return the folder 0…9 of each source; columns `file` and `folder`. Raises DataError as `parts`."""
    told = _matched(listing, sources, "file", "folder")
    wrong = sorted({text for text in told if text not in "0123456789" or len(text) != 1})
    if wrong:
        raise DataError(f"{listing}: folder must be 0 to 9. Received: {', '.join(wrong[:5])}")
    return [int(text) for text in told]


def _matched(listing: str, sources: Sequence[str], key: str, value: str) -> list[str]:
    """Return the value of each source's row."""
    rows: dict[str, str] = {}
    for number, row in enumerate(_rows(listing, key, value), start=2):
        name = _name(row[key] or "")
        if name in rows:
            raise DataError(f"{listing}, line {number}: {row[key]!r} is listed twice")
        rows[name] = (row[value] or "").strip()
    names = [_name(source) for source in sources]
    if len(set(names)) < len(names):
        raise DataError(f"{listing}: file names of the data set are not unique, so no listing can match them")
    unlisted = [source for source, name in zip(sources, names, strict=True) if name not in rows]
    lost = sorted(rows.keys() - set(names))
    if unlisted or lost:
        raise DataError(
            f"{listing} does not match the data set: {len(unlisted)} of {len(sources)} images are not listed"
            f"{_first(unlisted)}, {len(lost)} of {len(rows)} listed are not in the data set{_first(lost)}."
            " A published split needs every image: prepare with --duplicates keep"
        )
    return [rows[name] for name in names]


def _first(names: Sequence[str]) -> str:
    return f" (first: {names[0]})" if names else ""


def _name(path: str) -> str:
    """What identifies an image in the data set and in the listing: its file name, AgeDB's by its number."""
    name = PurePosixPath(path).name
    found = _NUMBERED.fullmatch(name)
    return found[1] if found else name


def _rows(listing: str, *columns: str) -> list[dict[str, str | None]]:
    text = _bytes(listing).decode("utf-8-sig", errors="replace")
    reader = csv.DictReader(text.splitlines())
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
