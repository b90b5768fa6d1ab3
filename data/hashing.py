"""The hash pass: SHA-256 of every source, which is all the fingerprint needs."""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from data.progress import Progress
from data.schema import Record, Rejected

_CHUNK = 64  # images per task: handing one over takes longer than hashing a small file
_BLOCK = 1 << 16
_REASONS = {
    errno.ENOENT: "file is missing",
    errno.ELOOP: "file is missing",  # a link that leads to itself
    errno.ENXIO: "not a file",  # a socket
}


def hash_sources(
    records: Sequence[Record], workers: int, progress: Progress
) -> tuple[list[Record], list[str], list[Rejected]]:
    """Return the records whose bytes can be read, their SHA-256 (hex), and the others with the reason."""
    found: list[Record] = []
    digests: list[str] = []
    rejected: list[Rejected] = []
    chunks = [records[start : start + _CHUNK] for start in range(0, len(records), _CHUNK)]
    for chunk, results in zip(chunks, _in_order(chunks, workers), strict=True):
        for record, (digest, reason) in zip(chunk, results, strict=True):
            if reason:
                rejected.append(Rejected(record.source, reason))
            else:
                found.append(record)
                digests.append(digest)
        progress.advance(len(chunk))
    progress.close()
    return found, digests, rejected


def _in_order(chunks: Sequence[Sequence[Record]], workers: int) -> Iterator[list[tuple[str, str]]]:
    if workers == 1:
        yield from map(_digests, chunks)
        return
    # Threads will do: reading and hashing both release the interpreter's lock.
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(_digests, chunks)


def _digests(records: Sequence[Record]) -> list[tuple[str, str]]:
    return [_digest(record) for record in records]


def _digest(record: Record) -> tuple[str, str]:
    """Return (SHA-256, reason why there is none)."""
    if record.pixels is not None:
        return hashlib.sha256(record.pixels.tobytes()).hexdigest(), ""
    assert record.path is not None, f"{record.source} has neither path nor pixels"
    try:
        # By system calls: a file object costs a third of hashing a small file. Opening a pipe must not wait.
        file = os.open(record.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return "", _REASONS.get(error.errno or 0, "file cannot be read")
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):  # reading a pipe or a device may never end
            return "", "not a file"
        digest = hashlib.sha256()
        while block := os.read(file, _BLOCK):
            digest.update(block)
        return digest.hexdigest(), ""
    except OSError:
        return "", "file cannot be read"
    finally:
        os.close(file)
