"""One run at a time makes a data set, whichever machine or container it is in: the others wait for it."""

import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.errors import DataError, DiskError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Hold the target `out` for the block; one that another run holds is waited for, which a line says.

    The lock is the system's, so a killed run has let go of it, and what lies beside `out` is nobody's. Where
    nothing can be written nothing is held: a data set can only be found up to date there. Raises DataError
    where `out` would lie in a file, DiskError where the machine fails.
    """
    path = out.with_name(f".{out.name}.prepare.lock")
    file = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, out)
    except (FileExistsError, NotADirectoryError):
        above = next(parent for parent in out.parents if parent.is_file())
        raise DataError(f"{out} cannot be made: {above} is a file") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise DataError(f"{out}: the name is too long") from None
        if error.errno not in _READ_ONLY:
            raise DiskError(f"{out.parent}: {error.strerror}") from None
    try:
        yield
    finally:
        if file is not None:
            with suppress(OSError):  # another user's, in a folder where each removes only their own
                path.unlink()  # while it is held, so that nobody else's goes
            os.close(file)


def _locked(path: Path, out: Path) -> int:
    """Return the open file at `path`, locked."""
    while True:
        file = _opened(path)
        try:
            _lock(file, out)
            if _lies_at(file, path):  # not that of a run that has ended meanwhile, and removed it
                return file
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not path.exists():
            raise
        return os.open(path, os.O_RDONLY)  # another user's, which can be locked all the same


def _lock(file: int, out: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting: another run prepares {out}", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"warning: {out.parent} knows no locks; let no other run prepare {out.name} now", file=sys.stderr
        )


def _lies_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
