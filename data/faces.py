"""A prepared data set, memory-mapped: no copy of the images is made until rows are gathered."""

from __future__ import annotations

import contextlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data import beside
from data.cache import local, named
from data.errors import DataError
from data.folder import read_manifest
from data.rng import ORDER, hashes
from data.schema import FACES_FILE, FEMALE, MALE, MANIFEST_FILE, UNKNOWN, Manifest


class Faces:
    """n prepared faces in the row order of their file; the row number is the sample_id.

    images: [n, H, W, 3] uint8, read-only; ages: [n] float32 years; genders: [n] int8 codes (schema.MALE …).
    """

    def __init__(self, root: Path, manifest: Manifest, batch: Any) -> None:
        size = manifest.image_size
        self.root = root
        self.manifest = manifest
        self._batch = batch
        pixels = np.frombuffer(batch.column("image").buffers()[1], np.uint8, len(batch) * size * size * 3)
        self.images: NDArray[np.uint8] = pixels.reshape(-1, size, size, 3)
        # From the buffers: Arrow's to_numpy would import pandas first, a tenth of a second.
        self.ages: NDArray[np.float32] = np.frombuffer(
            batch.column("age").buffers()[1], np.float32, len(batch)
        )
        self.genders = _gender_codes(batch.column("gender"))

    @classmethod
    def open(cls, root: str | Path) -> Faces:
        """Return the data set in folder `root`, or the one that `synthetic:COUNTxSIZE` names.

        Raises DataError, with the data sets lying nearby, where there is none or its file is damaged.
        """
        try:
            folder = local(root)
            manifest = read_manifest(folder)
        except DataError as error:
            advice = "" if "://" in str(root) else f"\n{_advice(Path(root))}"
            raise DataError(f"{error}{advice}") from None
        path = folder / FACES_FILE
        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        except (OSError, pa.ArrowInvalid) as error:
            again = f"remove {folder} and give the same command again"
            mend = again if named(root) else "run data.prepare again"
            raise DataError(f"{path} is damaged ({error}); {mend}") from None
        if len(batch) != manifest.counts.kept:
            raise DataError(f"{path} has {len(batch)} faces, {MANIFEST_FILE} says {manifest.counts.kept}")
        return cls(folder, manifest, batch)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def labels(self) -> tuple[int, ...]:
        """Sorted age classes in years."""
        return self.manifest.labels

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        return self.manifest.image_size

    def column(self, name: str) -> Any:
        """An Arrow column other than the image, [n], in the order of sample_id."""
        return self._batch.column(name)

    @cached_property
    def identities(self) -> list[str | None]:
        """Who each face is, [n]; None where the data set doesn't say."""
        identities: list[str | None] = self._batch.column("identity").to_pylist()
        return identities

    @cached_property
    def sources(self) -> list[str]:
        """Where each face came from, [n], as posix paths in the source folder."""
        sources: list[str] = self._batch.column("source").to_pylist()
        return sources

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 (hex) of each face's source file, [n]."""
        digests: list[str] = self._batch.column("sha256").to_pylist()
        return digests

    @cached_property
    def official(self) -> list[str | None]:
        """The part that the data set came with, [n]: train, val or test; None where it doesn't say."""
        official: list[str | None] = self._batch.column("split").to_pylist()
        return official

    def near_pairs(self) -> NDArray[np.int64]:
        """Row numbers [k, 2] of pictures that are nearly the same, the lower first; found once, then kept."""
        from data import near

        name = f"near/{near.BITS}-{near.LIKENESS}.json"
        path = beside.find(self, name)
        with contextlib.suppress(ValueError, KeyError, TypeError):  # damaged: found again
            content = json.loads(path.read_text()) if path is not None else {}
            if content["fingerprint"] == self.fingerprint:
                return np.array(content["pairs"], np.int64).reshape(-1, 2)
        pairs = near.near_pairs(self.images)
        content = {"fingerprint": self.fingerprint, "pairs": pairs.tolist()}
        beside.keep(self, name, json.dumps(content))
        return pairs

    def near_groups(self) -> NDArray[np.int64]:
        """Group number of each face, [n]: pictures that are nearly the same share theirs."""
        from data import near

        return near.groups(len(self), self.near_pairs())

    def gather(self, rows: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Return a copy of the images of `rows`: [len(rows), H, W, 3] uint8, in `out` if given.

        Raises IndexError for a row outside 0..n-1.
        """
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"rows must be 0..{len(self) - 1}. Received: {rows.min()}..{rows.max()}")
        # The bounds are checked above because numpy buffers `out` in mode "raise".
        taken: NDArray[np.uint8] = np.take(self.images, rows, axis=0, out=out, mode="clip")
        return taken


def epoch_batches(
    rows: NDArray[np.int64],
    batch_size: int,
    seed: int,
    epoch: int,
    shuffle: bool = True,
    smallest: int = 2,
) -> list[NDArray[np.int64]]:
    """Return the global batches of one epoch, each [< batch_size + smallest] of `rows`, which must be unique.

    The order is keyed by (seed, epoch) and doesn't depend on the order of `rows`; without `shuffle` they
    stay as they are. A remainder below `smallest` joins the batch before, since batch norm
    can't train on one sample.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
    order = rows[np.argsort(hashes(seed, epoch, rows, ORDER))] if shuffle else rows
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] < smallest and batch_size >= smallest:
        cuts.pop()
    return np.split(order, cuts) if len(order) else []


def _gender_codes(column: Any) -> NDArray[np.int8]:
    """Return the codes [n] of an Arrow column of "M", "F" and null."""
    _, offsets, letters = column.buffers()
    starts = np.frombuffer(offsets, np.int32, len(column) + 1)
    codes = np.full(len(column), UNKNOWN, np.int8)
    known = np.flatnonzero(np.diff(starts))
    if len(known):
        female = np.frombuffer(letters, np.uint8)[starts[known]] == ord("F")
        codes[known] = np.where(female, FEMALE, MALE)
    return codes


def _advice(root: Path) -> str:
    """Return which data sets lie beside `root` or in it, and how one is made."""
    places = sorted(
        {manifest.parent for near in (root, root.parent) for manifest in near.glob(f"*/{MANIFEST_FILE}")}
    )
    nearby = ", ".join(str(place) for place in places) or "none"
    return (
        f"data sets nearby: {nearby}\n"
        "prepare one: python -m data.prepare utkface --source DIR --out faces/utkface, "
        "or draw one: data.root=synthetic:3000x48"
    )
