"""Turn face images, in a folder or an archive, into one Arrow data set.

    python -m data.prepare utkface --source UTKFace.tar.gz --out faces/utkface

Reading, hashing, fingerprint, decoding, duplicates, writing, in this order. What can't be used is listed
in quarantine.csv with the reason. Running again with nothing changed does nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from data.schema import Manifest, Record, Rejected

# What fits each data set next: a space, and what its protocol or labels ask for. The paper's data set has
# the paper's set-up; the others begin with a frozen backbone.
_OFFICIAL = "utkface.yaml study={} data.protocol=official model.gender_head=false"
_PEOPLE = "utkface.yaml study={} data.protocol=subject_exclusive"
NEXT = {
    "agedb": "rapl.yaml",
    "afad": _PEOPLE,
    "cacd": _PEOPLE + " model.gender_head=false",
    "imdb_clean": "utkface.yaml study={} data.protocol=official",
    "utkface": "utkface.yaml",
    "fgnet": _PEOPLE,
    "morph": _PEOPLE,
    "appa_real": _OFFICIAL,
    "clap2016": _OFFICIAL,
    "table": "utkface.yaml study={}",
}
READERS = tuple(NEXT)


def prepare(
    reader_name: str,
    source: Path,
    out: Path,
    size: int = 112,
    duplicates: str = "drop",
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Prepare the data set in `source` with `size` × `size` pixels at `out`; return its manifest.

    `duplicates` is "drop" or "keep". `workers` processes decode, by default one per core. `progress` shows
    lines on stderr. Raises DataError for what the user can mend, MachineError for a full disk.
    """
    from data import folder
    from data.archives import opened
    from data.build import build
    from data.hashing import hash_sources
    from data.progress import Progress, Silent
    from data.readers.layout import label_set
    from data.schema import MANIFEST_FILE, Manifest, Preparation, fingerprint

    _check(size, duplicates, workers)
    workers = workers or _cores()
    out = out.expanduser().resolve()
    folder.clear_stale(out)
    folder.check_replaceable(out, reader_name)
    reader, source = _reader(reader_name), source.expanduser()
    bar = Progress if progress else Silent
    with opened(source, out, getattr(reader, "BESIDE", ()), bar) as (inside, refused):
        records, rejected = _read(reader, inside, refused)
        records, digests, unreadable = hash_sources(records, workers, bar(len(records), "hash", "images"))
        labels, warning = label_set(getattr(reader, "PUBLISHED", ()), records)
        if warning:
            print(f"warning: {warning}", file=sys.stderr)
        preparation = Preparation(size, duplicates=duplicates)
        name = fingerprint(records, digests, preparation)
        present = folder.up_to_date(out, name)
        if present:
            print(f"up to date: {out}", file=sys.stderr)
            return present
        with folder.built(out) as partial:
            content, counts = build(
                partial, records, digests, rejected + unreadable, preparation, workers, bar
            )
            manifest = Manifest(out.name, reader_name, name, content, counts, labels, size, preparation)
            (partial / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def _check(size: int, duplicates: str, workers: int | None) -> None:
    from data.errors import DataError, nearest

    if not 16 <= size <= 1024:
        raise DataError(f"size must be 16..1024 pixels. Received: {size}")
    if duplicates not in ("drop", "keep"):
        hint = nearest(duplicates, ("drop", "keep"))
        raise DataError(f"duplicates must be drop or keep. Received: {duplicates!r}.{hint}")
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1. Received: {workers}")


def _cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reader(name: str) -> ModuleType:
    from data.errors import DataError, nearest

    if name not in (*READERS, "synthetic"):
        hint = nearest(name, READERS)
        raise DataError(f"no reader {name!r}; there are {', '.join(READERS)}.{hint}")
    return import_module(f"data.readers.{name}")


def _read(reader: ModuleType, source: Path, refused: list[Rejected]) -> tuple[list[Record], list[Rejected]]:
    """Return what the reader finds, and that and `refused`, each sorted by source name."""
    from data.schema import Record, Rejected

    items = sorted([*refused, *reader.read(source)], key=lambda item: item.source)
    records = [item for item in items if isinstance(item, Record)]
    return records, [item for item in items if isinstance(item, Rejected)]


def _summary(manifest: Manifest, out: Path) -> str:
    from data.build import reasons

    counts = manifest.counts
    genders = ", ".join(f"{name} {count:,}" for name, count in counts.gender.items())
    labels = manifest.labels
    return (
        f"{out}: {counts.kept:,} of {counts.read:,} images ({genders}), "
        f"{len(labels)} ages from {labels[0]} to {labels[-1]}\n"
        f"quarantined: {reasons(counts)} (see {out / 'quarantine.csv'})\n"
        f"next: python -m orchestration.tune --space {NEXT[manifest.reader].format(shlex.quote(out.name))}"
        f" data.root={shlex.quote(str(out))}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data.prepare", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("reader", metavar="READER", help=f"layout of the source: {', '.join(READERS)}")
    parser.add_argument(
        "--source",
        required=True,
        type=Path,
        metavar="PATH",
        help="folder, archive or table file",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="data set to write")
    parser.add_argument("--size", type=int, default=112, help="pixels a side (default 112)")
    parser.add_argument(
        "--duplicates",
        choices=("drop", "keep"),
        default="drop",
        help="copies of an image: drop them by the rules of data/duplicates.py, or keep all (default drop)",
    )
    parser.add_argument("--workers", type=int, help="decoding processes (default: one per core)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 the user's mistake, 3 the machine's, 130 Ctrl-C."""
    args = _parser().parse_args(arguments)
    from data.errors import DataError, MachineError

    try:
        manifest = prepare(args.reader, args.source, args.out, args.size, args.duplicates, args.workers)
    except (DataError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, DataError) else 3
    except KeyboardInterrupt:
        print("stopped; nothing was left behind", file=sys.stderr)
        return 130
    print(_summary(manifest, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
