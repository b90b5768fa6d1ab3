"""The rows that were decoded become faces.arrow in the file in which they lie."""

import hashlib
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from data.duplicates import Copy
from data.journal import Decoded, Journal
from data.raw import Raw
from data.schema import Record
from data.store import write_faces

ROWS, SIZE = 100, 16


def test_kept_rows_move_to_the_front_and_a_journal_no_longer_counts_them_as_decoded(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, SIZE, SIZE, 3), np.uint8)
    raw, journal = Raw(tmp_path / "pixels.raw", ROWS, SIZE), Journal(tmp_path / "journal.rows")
    raw.path.touch()
    for start in (50, 0):
        raw.write(start, pixels[start : start + 50])
        journal.add(start, [Decoded(zlib.crc32(p.tobytes()), "") for p in pixels[start : start + 50]])
    assert set(journal.done(raw)) == {0, 50}

    rows = [row for row in range(ROWS) if row % 7]
    digest = write_faces(raw, [Copy(row, Record(f"{row}.jpg", None, 30.0, "F"), "", row) for row in rows])
    batch = pa.ipc.open_file(raw.path).get_batch(0)
    images = np.frombuffer(b"".join(batch.column("image").to_pylist()), np.uint8)
    assert np.array_equal(images.reshape(-1, SIZE, SIZE, 3), pixels[rows])
    assert batch.column("source").to_pylist() == [f"{row}.jpg" for row in rows]
    assert digest == hashlib.sha256(raw.path.read_bytes()).hexdigest()
    assert journal.done(raw) == {}
