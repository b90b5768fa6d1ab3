"""`local(path)`: the only way data sets, weights and features are opened."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import DataError, nearest

_SYNTHETIC = "synthetic:"


def local(path: str | Path) -> Path:
    """Return the absolute path of something that exists on this machine.

    `synthetic:COUNTxSIZE` names a data set of drawn faces: it is drawn once into the cache folder
    ($RAPL_CACHE, by default ~/.cache/rapl). An address such as s3://BUCKET/faces/agedb is fetched once into
    the same folder. Raises DataError, with the nearest name beside it, for what doesn't exist.
    """
    if str(path).startswith(_SYNTHETIC):
        return _drawn(str(path).removeprefix(_SYNTHETIC))
    if named(path):
        from data.remote import fetched

        return fetched(str(path), fetched_root())
    place = Path(path).expanduser().absolute()
    if not place.exists():
        parent = place.parent
        beside = [p.name for p in parent.iterdir()] if parent.is_dir() else []
        raise DataError(f"{place} does not exist.{nearest(place.name, beside)}")
    return place


def named(path: str | Path) -> bool:
    """Whether `path` is a name that every machine resolves for itself: s3://… or synthetic:…, not a path."""
    return "://" in str(path) or str(path).startswith(_SYNTHETIC)


def cache_root() -> Path:
    """Return the folder for what can be made again: $RAPL_CACHE, or ~/.cache/rapl."""
    return Path(os.environ.get("RAPL_CACHE") or "~/.cache/rapl").expanduser().absolute()


def fetched_root() -> Path:
    """Return the folder of what was fetched from object storage."""
    return cache_root() / "fetched"


def _drawn(name: str) -> Path:
    """Return the data set of synthetic faces called `name` (COUNTxSIZE), drawing it if it isn't there."""
    from data.prepare import prepare
    from data.readers import synthetic
    from data.schema import FORMAT_VERSION, MANIFEST_FILE

    count, size = synthetic.parse(name)
    out = cache_root() / f"synthetic-{count}x{size}-v{synthetic.VERSION}.{FORMAT_VERSION}"
    out.parent.mkdir(parents=True, exist_ok=True)
    with locked(out.with_name(f".{out.name}.lock")):
        if not (out / MANIFEST_FILE).is_file():
            prepare("synthetic", Path(f"{count}x{size}"), out, size=size, workers=1, progress=False)
    return out


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold `lock` exclusively; the system lets go of it when the process ends, however it ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
