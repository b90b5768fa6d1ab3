"""Archives as sources: unpacked into a hidden folder beside the data set, which goes when it is made.

Only regular files are written, each below that folder; links and devices are quarantined. An archive that is
cut short is refused, even where it ends between two files.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from tarfile import EOFHeaderError, HeaderError, ReadError, TarFile  # type: ignore[attr-defined]
from typing import IO, Any

from data import folder
from data.errors import DataError
from data.progress import Progress
from data.readers.layout import ARCHIVE, from_macos, text
from data.schema import Rejected

_OPENERS: dict[str, Any] = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open}
_BLOCK = 1 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


@contextmanager
def opened(
    source: Path, out: Path, beside: Sequence[str], bar: type[Progress]
) -> Iterator[tuple[Path, list[Rejected]]]:
    """Yield the folder to read for `source`, and the entries of an archive that are not files.

    An archive that holds one folder is read as that folder. Files named in `beside` that lie next to it come
    with it. Anything but an archive is yielded as it is. Raises DataError for an archive that is encrypted,
    damaged, or would write outside its folder.
    """
    match = ARCHIVE.fullmatch(source.name)
    if match is None or not source.is_file():
        yield source, []
        return
    with folder.scratch(out, "source") as target:
        refused = _unpack(source, match, target, bar)
        with os.scandir(target) as entries:
            inside = [target / entry.name for entry in islice(entries, 2)]
        for name in beside:
            if (source.parent / name).is_file():
                (target / name).symlink_to((source.parent / name).absolute())
        try:
            yield inside[0] if len(inside) == 1 and inside[0].is_dir() else target, refused
        except DataError as error:  # the user knows the archive, not where it was unpacked
            raise DataError(str(error).replace(str(target), str(source))) from None


def _unpack(source: Path, match: re.Match[str], target: Path, bar: type[Progress]) -> list[Rejected]:
    kind = match["kind"].lower()
    try:
        if kind == "zip":
            return _unzip(source, target, bar)
        return _untar(_parts(source, match["part"]), kind, target, bar)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"{source} holds a file and a folder of one name: {error.filename}") from None
    except (NotImplementedError, UnicodeDecodeError) as error:
        advice = "unpack it with another program and give the folder"
        raise DataError(f"{source} cannot be unpacked here ({error}); {advice}") from None
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's: bz2 and gzip give no number to what they find wrong
        raise DataError(f"{source} is damaged or cut short ({error}); fetch it again") from None


def _unzip(source: Path, target: Path, bar: type[Progress]) -> list[Rejected]:
    refused: list[Rejected] = []
    with zipfile.ZipFile(source) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if any(entry.flag_bits & 1 for entry in entries):
            raise DataError(
                f"{source} is encrypted. Unpack it with the password you were sent, then give the folder:\n"
                f"  unzip -d {source.stem} {source}   (it asks for the password; 7z x where it can't)\n"
                f"  --source {source.stem}"
            )
        folder.check_room(target, sum(entry.file_size for entry in entries))
        progress = bar(len(entries), "unpack", "files")
        for entry in entries:
            mode = stat.S_IFMT(entry.external_attr >> 16)
            if mode not in (0, stat.S_IFREG):
                refused.append(_refused(entry.filename))
            elif (path := _inside(target, entry.filename, source)) is not None:
                with archive.open(entry) as content:
                    _write(path, content)
            progress.advance()
        progress.close()
    return refused


def _untar(parts: list[Path], kind: str, target: Path, bar: type[Progress]) -> list[Rejected]:
    refused: list[Rejected] = []
    total = sum(part.stat().st_size for part in parts)
    progress = bar(max(1, total // _BLOCK), "unpack", "MB")
    packing = {"tgz": "gz", "tbz2": "bz2", "txz": "xz"}.get(kind, kind.removeprefix("tar").removeprefix("."))
    with ExitStack() as open_files:
        raw = open_files.enter_context(io.BufferedReader(_Joined(parts, progress), _BLOCK))
        plain = open_files.enter_context(_OPENERS[packing](raw)) if packing else raw
        # Read as a stream: there is no way back in a packed file, and no need for one.
        archive = open_files.enter_context(tarfile.open(fileobj=plain, mode="r|", tarinfo=_Entry))
        while (entry := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or it remembers every entry
            if entry.isreg() and (path := _inside(target, entry.name, parts[0])) is not None:
                content = archive.extractfile(entry)
                assert content is not None
                _write(path, content)
            elif not entry.isreg() and not entry.isdir():
                refused.append(_refused(entry.name))
        while plain.read(_BLOCK):  # the checksum of a packed file comes last
            pass
    progress.close()
    return refused


class _Entry(tarfile.TarInfo):
    """An entry whose header must be right: tarfile takes a broken one, past the first, for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: TarFile) -> _Entry:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:  # the block of zeros that ends an archive
            raise
        except HeaderError as error:
            raise ReadError(f"no entry where one should begin: {error}") from None


class _Joined(io.RawIOBase):
    """Files read one after the other as if joined by `cat`; progress in MB."""

    def __init__(self, parts: list[Path], progress: Progress) -> None:
        self._parts, self._progress, self._read = list(parts), progress, 0
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._parts:
                    return 0
                self._file = self._parts.pop(0).open("rb")
            block = self._file.read(len(buffer))
            if block:
                buffer[: len(block)] = block
                before, self._read = self._read // _BLOCK, self._read + len(block)
                self._progress.advance(self._read // _BLOCK - before)
                return len(block)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()


def _parts(source: Path, part: str | None) -> list[Path]:
    """Return the parts of an archive split as .tar.xzaa, .tar.xzab, …; DataError where one is missing."""
    if not part:
        return [source]
    stem = source.name[:-2]
    suffixes = [a + b for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz"]
    there = {path.name[-2:] for path in source.parent.glob(f"{stem}??")} & set(suffixes)
    needed = suffixes[: suffixes.index(max(there)) + 1]
    lost = [f"{stem}{suffix}" for suffix in needed if suffix not in there]
    if lost:
        raise DataError(f"{source.parent} lacks {len(lost)} of {len(needed)} parts, the first is {lost[0]}")
    return [source.parent / f"{stem}{suffix}" for suffix in needed]


def _inside(target: Path, name: str, archive: Path) -> Path | None:
    """Return where an entry is written; None for what macOS adds; DataError where it would leave `target`."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise DataError(f"{archive} would write outside its folder: {text(name)}. Nothing was prepared")
    return None if any(from_macos(part) for part in inside.parts) else target / inside


def _write(path: Path, content: IO[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file, _BLOCK)


def _refused(name: str) -> Rejected:
    return Rejected(text(name), "a link or device in the archive, not a file")
