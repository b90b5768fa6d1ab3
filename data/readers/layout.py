"""What readers share: a source's files, names and labels as text, and one wording for a wrong folder."""

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data.errors import DataError, nearest
from data.schema import Record, Rejected, age_labels

_GENDERS = {"m": "M", "male": "M", "f": "F", "female": "F", "": None}
ARCHIVE = re.compile(r".+\.(?P<kind>zip|tar|tgz|tbz2|txz|tar\.gz|tar\.bz2|tar\.xz)(?P<part>[a-z]{2})?", re.I)
_SHOWN = 5  # entries of a wrong folder, ages of a partial copy


@dataclass(frozen=True)
class Published:
    """A data set as published: its images, where their number is known, and its age labels, sorted."""

    name: str
    images: int | None
    labels: tuple[int, ...]


def label_set(known: Sequence[Published], records: Collection[Record]) -> tuple[tuple[int, ...], str]:
    """Return the sorted age labels of `records`, and a warning where their copy is partial ("" where not).

    They are those of the first published set that has all of the ages; without one, the ages there are.
    """
    ages = set(age_labels(r.age for r in records).tolist())
    for published in known:
        missing = [label for label in published.labels if label not in ages]
        if len(published.labels) - len(missing) < len(ages):
            continue
        images = max(published.images or 0, len(records))
        if not missing and images == len(records):
            return published.labels, ""
        lacking = ", ".join(map(str, missing[:_SHOWN])) + ", …" * (len(missing) > _SHOWN)
        return published.labels, (
            f"this copy of {published.name} is partial: {len(records):,} of {images:,} images"
            + (f", none aged {lacking}" if missing else "")
            + f"; the labels stay its {len(published.labels)} ages"
        )
    return tuple(sorted(ages)), ""


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Return every file below `folder` with one of these suffixes, in any case of letters, sorted.

    Linked folders are followed, never into themselves. What macOS puts beside files is left out.
    """
    return [path for path in _walk(folder, ()) if path.suffix.lower() in suffixes] if folder.is_dir() else []


def jpegs(folder: Path) -> list[Path]:
    """Return every .jpg or .jpeg file below `folder`, as `files` does."""
    return files(folder, ".jpg", ".jpeg")


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    try:
        status = folder.stat()
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None
    for entry in entries:
        if not from_macos(entry.name):
            if _is_folder(entry):
                yield from _walk(Path(entry.path), (*above, here))
            else:
                yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def from_macos(name: str) -> bool:
    """Return whether a file or folder of this name is one that macOS adds to archives."""
    return name.startswith("._") or name in {"__MACOSX", ".DS_Store"}


def text(name: str) -> str:
    r"""Return a file's name as text, composed (Unicode NFC); bytes that aren't UTF-8 show as \xNN."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def below(path: Path, folder: Path) -> str:
    """Return the posix path of `path` inside `folder`, as text."""
    # Path.relative_to would take longer than all else that is done with a name.
    return text(path.as_posix().removeprefix(f"{folder.as_posix()}/").removeprefix("/"))


def rows(table: Path, *columns: str) -> Iterator[dict[str, str]]:
    """Yield a CSV's rows by lower-case column name; DataError unless it can be read and has these columns."""
    with readable(table), table.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = ([cell.strip() for cell in line] for line in csv.reader(file) if line)
        head = [name.lower() for name in next(lines, [])]
        for needed in columns:
            if needed not in head:
                there = ", ".join(head) or "nothing"
                raise DataError(f"{table} has no column {needed!r}; found {there}.{nearest(needed, head)}")
        for line in lines:
            yield dict(zip(head, [*line, *[""] * len(head)], strict=False))


@contextmanager
def readable(table: Path) -> Iterator[None]:
    """Raise DataError, with the file's name, where the block finds that it is no table of its kind."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{table} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not text in UTF-8 ({error.reason} at byte {error.start})") from None
    except csv.Error as error:
        raise DataError(f"{table} is not a CSV file ({error})") from None


def years(value: str, where: str) -> float:
    """Return an age in years; DataError, with the place, where it is no number from 0 to 130."""
    try:
        age = float(value)
    except ValueError:
        age = -1
    if not 0 <= age <= 130:
        raise DataError(f"{where}: age {value!r} is not a number of years from 0 to 130")
    return age


def gender(value: str, where: str) -> str | None:
    """Return M, F or None; DataError, with the place, for anything but M, F, male, female or empty."""
    try:
        return _GENDERS[value.lower()]
    except KeyError:
        raise DataError(
            f"{where}: gender {value!r} is not one of M, F, male, female, or empty.{nearest(value, _GENDERS)}"
        ) from None


def checked(source: Path, items: Iterable[Record | Rejected], expected: str) -> Iterator[Record | Rejected]:
    """Yield `items`; raise DataError if none is a Record, or two of them have one source name.

    The first message holds the layout `expected` and what is there.
    """
    seen: dict[str, Path | None] = {}
    reasons: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Rejected):
            reasons[item.reason] += 1
        elif item.source in seen:
            raise DataError(
                f"{source} holds the image {item.source} twice, as {seen[item.source]} and {item.path};"
                " give the folder of one copy"
            )
        else:
            seen[item.source] = item.path
        yield item
    if not seen:
        why = "".join(f"\n  {count:,} images: {reason}" for reason, count in reasons.items())
        raise DataError(
            f"{source} has no readable face.\n  expected: {expected}\n  found: {found(source)}{why}"
        )


def found(source: Path) -> str:
    """Return what lies at `source`, for a message: its first entries."""
    if not source.exists():
        return "no such folder or file"
    if not source.is_dir():
        return "a file, neither a folder nor an archive (.zip, .tar, .tar.gz, .tar.bz2, .tar.xz)"
    inside = sorted(source.iterdir())
    if len(inside) == 1 and inside[0].is_dir():
        inside = [inside[0], *sorted(inside[0].iterdir())]
    names = [below(path, source) + "/" * path.is_dir() for path in inside]
    packed = next((path for path in inside if ARCHIVE.fullmatch(path.name)), None)
    hint = f"\n  to read an archive, give the file itself: --source {packed}" if packed else ""
    some = ", ".join(names[:_SHOWN]) + f", … ({len(names)} entries)" * (len(names) > _SHOWN)
    return (some or "nothing") + hint
