"""Turn face images, in a folder or an archive, into one Arrow data set.

    python -m data.prepare utkface --source UTKFace.tar.gz --out faces/utkface

Reading, hashing, fingerprint, decoding, duplicates, writing, in this order. What can't be used is listed
in quarantine.csv with the reason. Running again with nothing changed does nothing.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from data.prepare_arguments import NEXT, READERS, parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType

    from data.progress import Progress
    from data.schema import Alignment, Manifest, Preparation, Record, Rejected
    from data.spread import Executor

_PATHS = {errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP}  # what is wrong with a path that was given


def prepare(
    reader_name: str,
    source: Path,
    out: Path,
    size: int = 112,
    duplicates: str = "drop",
    workers: int | None = None,
    progress: bool = True,
    align: Alignment | None = None,
    executor: Executor | None = None,
) -> Manifest:
    """Prepare the data set in `source` with `size` × `size` pixels at `out`; return its manifest.

    `duplicates` is "drop" or "keep". `workers` processes decode, by default one per core, or `executor` does
    it where its workers are, which must see `source` under the same path. `progress` shows lines on stderr.
    A run that was cut short goes on where it was. Raises DataError for what the user can mend, MachineError
    for a full disk.
    """
    from data import folder
    from data.archives import opened
    from data.held import held
    from data.progress import Progress, Silent
    from data.schema import Preparation
    from data.spread import Processes

    _check(size, duplicates, workers)
    workers = workers or _cores()
    reader = _reader(reader_name)
    out, source = _resolved(out), source.expanduser()
    bar = Progress if progress else Silent
    preparation = Preparation(size, align, duplicates)
    with held(out):
        folder.bring_back(out)
        folder.check_replaceable(out, reader_name)
        with opened(source, out, getattr(reader, "BESIDE", ()), bar) as (inside, refused):
            found = _read(reader, inside, refused)
            return _made(reader_name, *found, out, preparation, workers, executor or Processes(workers), bar)


def _made(
    reader_name: str,
    records: list[Record],
    rejected: list[Rejected],
    out: Path,
    preparation: Preparation,
    workers: int,
    executor: Executor,
    bar: type[Progress],
) -> Manifest:
    """Make the data set of `records` at `out`, unless it is there already; return its manifest."""
    from data import folder
    from data.build import build
    from data.hashing import hash_sources
    from data.journal import journal_name
    from data.readers.layout import label_set
    from data.schema import MANIFEST_FILE, Manifest, fingerprint

    records, digests, unreadable = hash_sources(records, workers, bar(len(records), "hash", "images"))
    labels, warning = label_set(getattr(_reader(reader_name), "PUBLISHED", ()), records)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    _check_landmarks(reader_name, records, preparation.align)
    name = fingerprint(records, digests, preparation)
    present = folder.up_to_date(out, name)
    if present:
        folder.clear_stale(out)
        print(f"up to date: {out}", file=sys.stderr)
        return present
    journal = journal_name(name)
    with folder.built(out, journal) as partial:
        found = build(partial, records, digests, rejected + unreadable, preparation, journal, executor, bar)
        manifest = Manifest(out.name, reader_name, name, *found, labels, preparation.size, preparation)
        (partial / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def _resolved(out: Path) -> Path:
    from data.errors import DataError

    try:
        return out.expanduser().resolve()
    except RuntimeError:
        raise DataError(f"{out} is a link that leads to itself") from None


def _check(size: int, duplicates: str, workers: int | None) -> None:
    from data.errors import DataError, nearest

    if not 16 <= size <= 1024:
        raise DataError(f"size must be 16..1024 pixels. Received: {size}")
    if duplicates not in ("drop", "keep"):
        hint = nearest(duplicates, ("drop", "keep"))
        raise DataError(f"duplicates must be drop or keep. Received: {duplicates!r}.{hint}")
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1. Received: {workers}")


def _check_landmarks(reader_name: str, records: Sequence[Record], align: Alignment | None) -> None:
    from data.errors import DataError

    if align and align.method == "landmarks" and not any(record.landmarks for record in records):
        raise DataError(
            f"--align landmarks: there are no landmarks in this {reader_name} source (FG-NET has them in "
            "points/*.pts); --align mtcnn finds faces by itself"
        )


def _cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_reader(name: str, known: Sequence[str]) -> None:
    from data.errors import DataError, nearest

    if name not in known:
        raise DataError(f"no reader {name!r}; there are {', '.join(READERS)}.{nearest(name, READERS)}")


def _reader(name: str) -> ModuleType:
    _check_reader(name, (*READERS, "synthetic"))
    return import_module(f"data.readers.{name}")


def _read(reader: ModuleType, source: Path, refused: list[Rejected]) -> tuple[list[Record], list[Rejected]]:
    """Return what the reader finds, and that and `refused`, each sorted by source name."""
    from data.schema import Record, Rejected

    items = sorted([*refused, *reader.read(source)], key=lambda item: item.source)
    records = [item for item in items if isinstance(item, Record)]
    return records, [item for item in items if isinstance(item, Rejected)]


def _summary(manifest: Manifest, out: Path) -> str:
    from data.build import reasons
    from data.contact import CONTACT_FILE

    counts = manifest.counts
    notes = "".join(f"{count:,} × {note}\n" for note, count in counts.notes.items())
    genders = ", ".join(f"{name} {count:,}" for name, count in counts.gender.items())
    labels = manifest.labels
    return (
        f"{out}: {counts.kept:,} of {counts.read:,} images ({genders}), "
        f"{len(labels)} ages from {labels[0]} to {labels[-1]}\n"
        f"quarantined: {reasons(counts)} (see {out / 'quarantine.csv'})\n"
        f"{notes}look at some of them: {out / CONTACT_FILE}\n"
        f"next: python -m orchestration.tune --space {NEXT[manifest.reader].format(shlex.quote(out.name))}"
        f" data.root={shlex.quote(str(out))}"
    )


def run(args: argparse.Namespace, executor: Executor | None = None) -> None:
    """Prepare what the arguments name and say what came of it. Raises as `prepare`."""
    from data.align import alignment

    _check_reader(args.reader, READERS)
    align = alignment(args.align, args.margin, args.several, args.min_face)
    manifest = prepare(
        args.reader,
        args.source,
        args.out,
        args.size,
        args.duplicates,
        args.workers,
        align=align,
        executor=executor,
    )
    print(_summary(manifest, args.out))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 2 the user's mistake, 3 the machine's, 130 Ctrl-C."""
    args = parser("python -m data.prepare").parse_args(arguments)
    from data.errors import DataError, MachineError

    try:
        run(args)
    except (DataError, MachineError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, DataError) else 3
    except OSError as error:
        print(f"error: {error.filename or args.out}: {error.strerror or error}", file=sys.stderr)
        return 2 if error.errno in _PATHS else 3
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
