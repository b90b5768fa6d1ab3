"""What one sample and one data set are: columns, labels, fingerprint, manifest, format version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError

FORMAT_VERSION = 2
MALE, FEMALE, UNKNOWN = 0, 1, -1  # in memory; "M", "F" and null in Arrow
GENDERS = ("M", "F")  # position is the code in memory

FACES_FILE = "faces.arrow"
MANIFEST_FILE = "manifest.json"
QUARANTINE_FILE = "quarantine.csv"


@dataclass(frozen=True)
class Record:
    """One labelled image as a reader found it; `age` in years, `source` a posix path in the source folder.

    `landmarks` are the centres of the left and the right eye (as seen), the tip of the nose, the left and
    the right corner of the mouth; `box` is left, top, right, bottom of the face. Both in pixels of the image
    as it is seen, turned upright.
    """

    source: str
    path: Path | None
    age: float
    gender: str | None
    identity: str | None = None
    ethnicity: str | None = None
    split: str | None = None
    pixels: NDArray[np.uint8] | None = None  # [size, size, 3], where the image is drawn and not read
    landmarks: tuple[tuple[float, float], ...] | None = None
    box: tuple[float, float, float, float] | None = None
    apparent_age: float | None = None  # mean of people's guesses, in years
    apparent_age_sd: float | None = None  # their standard deviation, in years


@dataclass(frozen=True)
class Rejected:
    """An image that does not enter the data set. `reason` is one of few wordings, so it can be counted."""

    source: str
    reason: str


@dataclass(frozen=True)
class Alignment:
    """How faces are brought to their place; data/align.py says what the choices do."""

    method: str  # mtcnn or landmarks
    margin: str  # how large the face is drawn
    min_face: int  # pixels: the least side of ArcFace's square in the source
    several: str = ""  # which face is meant, where a detector finds several
    detector: str = ""  # package and version that found the faces
    version: int = 0  # of the code that aligned (align.VERSION); 0 before it was counted


@dataclass(frozen=True)
class Preparation:
    """Every choice that changes pixels or membership. All of them enter the fingerprint."""

    size: int  # pixels a side
    align: Alignment | None = None  # None: the whole picture, resized
    duplicates: str = "drop"
    filter: str = "bilinear"

    @classmethod
    def of(cls, told: dict[str, Any]) -> Preparation:
        """Return the preparation that `asdict` made `told` of; raises KeyError or TypeError."""
        align = told["align"]
        return cls(**{**told, "align": Alignment(**align) if isinstance(align, dict) else None})


@dataclass(frozen=True)
class Counts:
    """Images read = kept + all quarantined. `gender` counts the kept ones as M, F and unknown.

    `notes` counts images, kept or not, of which something is worth knowing, such as that one of several
    faces was taken.
    """

    read: int
    kept: int
    quarantined: dict[str, int] = field(default_factory=dict)
    gender: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says of a data set; `labels` are sorted age classes in years."""

    name: str
    reader: str
    fingerprint: str
    content_hash: str
    counts: Counts
    labels: tuple[int, ...]
    image_size: int
    preparation: Preparation
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the manifest as indented JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, path: Path) -> Manifest:
        """Return the manifest in `text`, which was read at `path`.

        Raises DataError where it isn't a manifest or has another format version.
        """
        try:
            content: dict[str, Any] = json.loads(text)
            version = content["format_version"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{path} is not the manifest of a prepared data set") from None
        if version != FORMAT_VERSION:
            raise DataError(
                f"{path} has format version {version!r}; this code reads {FORMAT_VERSION}. "
                f"Remove {path.parent} and run data.prepare again, or use the code that wrote it."
            )
        try:
            content["counts"] = Counts(**content["counts"])
            content["preparation"] = Preparation.of(content["preparation"])
            content["labels"] = tuple(content["labels"])
            return cls(**content)
        except (TypeError, KeyError) as error:
            raise DataError(f"{path} is damaged ({error}); run data.prepare again") from None


def arrow_schema(size: int) -> Any:
    """Return the Arrow schema of faces.arrow for images of `size` × `size` RGB bytes."""
    import pyarrow as pa

    texts = ("gender", "identity", "ethnicity", "split", "source", "sha256")
    return pa.schema(
        [
            ("sample_id", pa.int64()),
            ("image", pa.binary(size * size * 3)),
            ("age", pa.float32()),
            *((name, pa.string()) for name in texts),
            ("apparent_age", pa.float32()),
            ("apparent_age_sd", pa.float32()),
        ]
    )


def age_labels(ages: Iterable[float]) -> NDArray[np.int64]:
    """Return the age classes [n] of ages in years, rounded half up from their float32 values."""
    stored = np.asarray(ages if isinstance(ages, np.ndarray) else list(ages), np.float32)
    return np.floor(stored.astype(np.float64) + 0.5).astype(np.int64)


def fingerprint(records: Sequence[Record], digests: Sequence[str], preparation: Preparation) -> str:
    """Return the SHA-256 (hex) that names a data set before anything is decoded.

    `digests[i]` is the SHA-256 of the source bytes of `records[i]`. The result depends on paths,
    bytes, labels, preparation and format version; not on order, decoder or number of cores. Landmarks count
    where faces are aligned by them, boxes where a detector is told by them which face is meant.
    """
    choices = asdict(preparation)
    method = preparation.align.method if preparation.align else "none"
    if preparation.align is None:
        choices["align"] = "none"
    named = (_named(r, digest, method) for r, digest in zip(records, digests, strict=True))
    lines = sorted(map(json.dumps, named))
    head = json.dumps([FORMAT_VERSION, choices], sort_keys=True)
    return hashlib.sha256("\n".join([head, *lines]).encode()).hexdigest()


def _named(record: Record, digest: str, method: str) -> list[Any]:
    """What the fingerprint holds of a record whose face is aligned by `method`."""
    labels = [float(record.age), record.gender, record.identity, record.ethnicity, record.split]
    guessed = [record.apparent_age, record.apparent_age_sd]
    landmarks = record.landmarks if method == "landmarks" else None
    box = record.box if method == "mtcnn" else None
    return [record.source, digest, *labels, *guessed, landmarks, box]
