"""Tells a wrong folder from a right one, for every reader in the same words."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from data.errors import DataError
from data.schema import Record, Rejected


def jpegs(folder: Path) -> list[Path]:
    """Return every .jpg or .jpeg file below `folder`, in any case of letters, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg"})


def checked(source: Path, items: Iterable[Record | Rejected], expected: str) -> Iterator[Record | Rejected]:
    """Yield `items`; raise DataError, with the layout `expected` and what is there, if none is a Record."""
    some = False
    for item in items:
        some = some or isinstance(item, Record)
        yield item
    if not some:
        raise DataError(f"{source} has no readable face.\n  expected: {expected}\n  found: {_found(source)}")


def _found(source: Path) -> str:
    if not source.exists():
        return "no such folder"
    if not source.is_dir():
        return "a file, not a folder"
    names = sorted(p.name + "/" * p.is_dir() for p in source.iterdir())
    return ", ".join(names[:5]) + (f", … ({len(names)} entries)" if len(names) > 5 else "") or "nothing"
