"""UTKFace and FG-NET as distributed. Set RAPL_FACES to the folder that holds utkface/ and fgnet/."""

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from data.faces import Faces
from data.hashing import hash_sources
from data.prepare import prepare
from data.progress import Silent
from data.protocols import Spec
from data.readers import fgnet, utkface
from data.schema import Record, Rejected
from data.splits import make


def test_fgnet_is_1002_images_of_82_people(real_faces: Path, tmp_path: Path) -> None:
    prepare("fgnet", real_faces / "fgnet", tmp_path / "fgnet", size=32, progress=False)
    faces = Faces.open(tmp_path / "fgnet")
    assert len(faces) == 1002
    assert len(set(faces.identities)) == 82
    assert (faces.labels[0], faces.labels[-1], len(faces.labels)) == (0, 69, 63)
    assert np.bincount(faces.genders).tolist() == [571, 431]
    split = make(faces, Spec("subject_exclusive"))
    assert all(abs(len(part) - share * 1002) < 30 for part, share in ((split.train, 0.6), (split.val, 0.2)))


def test_every_landmark_of_fgnet_is_on_its_face(real_faces: Path) -> None:
    found = [item.landmarks for item in fgnet.read(real_faces / "fgnet") if isinstance(item, Record)]
    points = np.array(found)  # fails where an image has none
    assert points.shape == (1002, 5, 2)
    left, right, mouth = points[:, 0], points[:, 1], points[:, 3:].mean(axis=1)
    along, down = right - left, mouth - (left + right) / 2
    assert (along[:, 0] > 0).all()
    assert (along[:, 0] * down[:, 1] > along[:, 1] * down[:, 0]).all()  # however the head is tilted


def test_utkface_names_and_labels(real_faces: Path) -> None:
    items = list(utkface.read(real_faces / "utkface"))
    records = [item for item in items if isinstance(item, Record)]
    assert sorted(item.source for item in items if isinstance(item, Rejected)) == [
        "39_1_20170116174525125.jpg.chip.jpg",
        "61_1_20170109142408075.jpg.chip.jpg",
        "61_1_20170109150557335.jpg.chip.jpg",
    ]
    assert Counter(r.gender for r in records) == {"M": 12_391, "F": 11_314}
    ages = {r.age for r in records}
    assert (min(ages), max(ages), len(ages)) == (1, 116, 104)


def test_the_oldest_of_utkface_can_be_prepared(real_faces: Path, tmp_path: Path) -> None:
    some = sorted((real_faces / "utkface").glob("[89]*_*"))[:600]
    source = tmp_path / "utkface" / "part1"
    source.mkdir(parents=True)
    for path in some:
        (source / path.name).symlink_to(path)
    prepare("utkface", source.parent, tmp_path / "out", size=32, progress=False)
    faces = Faces.open(tmp_path / "out")
    assert faces.manifest.counts.read == 600
    assert len(faces) > 500
    assert faces.sources[0].startswith("part1/")
    assert len(np.unique(faces.images.reshape(len(faces), -1), axis=0)) == len(faces)


@pytest.mark.slow
def test_all_of_utkface_has_the_copies_that_are_known(real_faces: Path, tmp_path: Path) -> None:
    source = real_faces / "utkface"
    records = [item for item in utkface.read(source) if isinstance(item, Record)]
    records, digests, _ = hash_sources(records, 2, Silent(len(records), "", ""))
    groups: dict[str, list[Record]] = defaultdict(list)
    for record, digest in zip(records, digests, strict=True):
        groups[digest].append(record)
    copies = [group for group in groups.values() if len(group) > 1]
    ages = [len({r.age for r in group}) > 1 for group in copies]
    genders = [len({r.gender for r in group}) > 1 for group in copies]
    assert (len(copies), sum(map(len, copies))) == (375, 765)
    assert (sum(ages), sum(genders), sum(a or g for a, g in zip(ages, genders, strict=True))) == (
        205,
        40,
        224,
    )

    manifest = prepare("utkface", source, tmp_path / "out", progress=False)
    assert manifest.counts.read == 23_708
    assert manifest.counts.kept == 23_110
    assert manifest.counts.gender == {"M": 12_048, "F": 11_043, "unknown": 19}
    assert manifest.counts.quarantined == {
        "identical files, ages conflict": 419,
        "identical files, another copy is kept": 176,
        "name does not give age and gender unambiguously": 3,
    }
    assert len(manifest.labels) == 104
