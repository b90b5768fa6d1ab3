"""A run's features folder: what its files are called, and which attempts at an epoch are complete.

It holds `epoch-0007/attempt-2-worker-0-of-2.arrow`. An attempt is complete when the shards of all its workers
are there. A writer that was killed leaves a hidden file, which has no shard's name.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

_NUMBER = r"(0|[1-9]\d*)"
_SHARD = re.compile(rf"attempt-{_NUMBER}-worker-{_NUMBER}-of-{_NUMBER}\.arrow")


def epoch_name(epoch: int) -> str:
    """Return the name of an epoch's folder."""
    return f"epoch-{epoch:04d}"


def parse_epoch(name: str) -> int | None:
    """Return the epoch of an epoch's folder's name; None for every other name."""
    digits = name.removeprefix("epoch-")
    return int(digits) if digits.isdecimal() and epoch_name(int(digits)) == name else None


def shard_name(attempt: int, worker: int, workers: int) -> str:
    """Return the file name of a worker's shard."""
    return f"attempt-{attempt}-worker-{worker}-of-{workers}.arrow"


def attempts(place: Path) -> dict[int, list[Path]]:
    """Return the shards of each attempt in an epoch's folder, complete or not, both ascending."""
    return _attempts(_listed(place))


def _attempts(paths: Iterable[Path]) -> dict[int, list[Path]]:
    found: dict[int, dict[tuple[int, int], Path]] = defaultdict(dict)
    for path in paths:
        if (name := _SHARD.fullmatch(path.name)) is not None:
            attempt, worker, workers = map(int, name.groups())
            found[attempt][workers, worker] = path
    return {attempt: [found[attempt][key] for key in sorted(found[attempt])] for attempt in sorted(found)}


def complete(shards: list[Path]) -> bool:
    """Return whether an attempt's shards are those of all its workers, and of one number of workers."""
    expected = [shard_name(_number(shards[0]), worker, len(shards)) for worker in range(len(shards))]
    return [path.name for path in shards] == expected


def has_whole(names: Iterable[str]) -> bool:
    """Return whether these names of an epoch's files, wherever they lie, hold a complete attempt."""
    return any(map(complete, _attempts(map(Path, names)).values()))


def all_epochs(folder: Path) -> list[int]:
    """Return every epoch that has a folder in a run's features folder, ascending."""
    numbers = (parse_epoch(path.name) for path in _listed(folder))
    return sorted(number for number in numbers if number is not None)


def epochs(folder: Path) -> list[int]:
    """Return the epochs in a run's features folder with a complete attempt, ascending."""
    return [n for n in all_epochs(folder) if has_whole(p.name for p in _listed(folder / epoch_name(n)))]


def contents(place: Path) -> str:
    """Return in words what an epoch's folder holds."""
    if not place.is_dir():
        return "there is no such folder"
    words = []
    for attempt, shards in attempts(place).items():
        counts = sorted({int(path.stem.rpartition("-")[2]) for path in shards})
        words.append(f"attempt {attempt} has {len(shards)} of {' or '.join(map(str, counts))} shards")
    unfinished = sum(path.name.startswith(".") for path in _listed(place))
    if unfinished:
        words.append(f"{unfinished} unfinished file{'s' if unfinished > 1 else ''}")
    return ", ".join(words) or "no shards"


def _number(shard: Path) -> int:
    return int(shard.name.split("-")[1])


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
