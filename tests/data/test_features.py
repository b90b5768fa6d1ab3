"""Feature files come back as they were written, mapped, or not at all."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.errors import DataError
from data.features import open_features, write_features

METADATA = {"key": "k", "fingerprint": "f", "views": ["plain", "flipped"]}


def _features(dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 2, 5)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_features_come_back_exactly_mapped_and_read_only(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "new" / "f.arrow"
    write_features(path, _features(dtype), METADATA)
    features = open_features(path)
    assert features.array.dtype == dtype
    np.testing.assert_array_equal(features.array, _features(dtype))
    assert not features.array.flags.writeable
    assert not features.array.flags.owndata
    assert features.metadata == {**METADATA, "channels": 5, "format_version": 1}


def test_only_the_owner_may_read_and_no_partial_file_is_left(tmp_path: Path) -> None:
    write_features(tmp_path / "f.arrow", _features(), METADATA)
    assert (tmp_path / "f.arrow").stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["f.arrow"]


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "f.arrow"
    write_features(path, _features(), METADATA)
    content = path.read_bytes()
    cut = tmp_path / "cut.arrow"
    cut.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(DataError, match=r"cut\.arrow is not a whole feature file"):
        open_features(cut)


def test_another_version_another_arrow_file_and_no_file_are_refused(tmp_path: Path) -> None:
    schema = pa.schema([("x", pa.int8())])
    for name, metadata in (("other", None), ("newer", {b"rapl.features": b'{"format_version": 9}'})):
        with (
            pa.OSFile(str(tmp_path / name), "wb") as file,
            pa.ipc.new_file(file, schema.with_metadata(metadata)),
        ):
            pass
    with pytest.raises(DataError, match="not a whole feature file"):
        open_features(tmp_path / "other")
    with pytest.raises(DataError, match="format version 9; this code reads 1"):
        open_features(tmp_path / "newer")
    with pytest.raises(DataError, match="does not exist"):
        open_features(tmp_path / "none")


@pytest.mark.parametrize(
    ("features", "metadata"),
    [
        (np.zeros((3, 4), np.float32), {}),
        (np.zeros((3, 1, 4), np.float64), {}),
        (np.zeros((3, 1, 4), np.float32), {"channels": 5}),
        (np.zeros((3, 1, 4), np.float32), {"views": ["a", "b"]}),
    ],
)
def test_shape_type_and_metadata_must_agree(
    tmp_path: Path, features: np.ndarray, metadata: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"Received|the array is"):
        write_features(tmp_path / "f.arrow", features, metadata)
    assert not list(tmp_path.iterdir())
