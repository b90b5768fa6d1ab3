"""Archives as sources: the same data set as their folder, and nothing written where it does not belong."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from data.archives import opened
from data.errors import DataError
from data.faces import Faces
from data.prepare import main, prepare
from data.progress import Silent
from data.schema import Manifest

NAMES = ("0_JaneDoe_41_f.jpg", "1_JaneDoe_43_f.jpg", "2_RenéeRoe_20_f.jpg", "3_JohnRoe _7_m.jpg")


@pytest.fixture
def agedb(tmp_path: Path) -> Path:
    """A folder AgeDB of four made-up people."""
    folder = tmp_path / "source" / "AgeDB"
    folder.mkdir(parents=True)
    for i, name in enumerate(NAMES):
        Image.new("RGB", (20, 24), (40 * i, 90, 120)).save(folder / name)
    (folder / "readme.txt").write_text("for research only")
    return folder


def _tar(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, folder.name)
    return buffer.getvalue()


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
            archive.writestr(f"__MACOSX/{folder.name}/._{path.name}", b"resource fork")
    return buffer.getvalue()


def _prepare(source: Path, out: Path, reader: str = "agedb") -> Manifest:
    return prepare(reader, source, out, size=16, workers=1, progress=False)


PACKED: dict[str, Callable[[Path], bytes]] = {
    "AgeDB.zip": _zip,
    "AgeDB.tar": _tar,
    "AgeDB.tar.gz": lambda folder: gzip.compress(_tar(folder)),
    "AgeDB.tgz": lambda folder: gzip.compress(_tar(folder)),
    "AgeDB.tar.bz2": lambda folder: bz2.compress(_tar(folder)),
    "AgeDB.tar.xz": lambda folder: lzma.compress(_tar(folder)),
}


def test_a_zip_packed_in_a_way_unknown_here_says_how_to_go_on(agedb: Path, tmp_path: Path) -> None:
    content = bytearray(_zip(agedb))
    for signature, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        start = content.find(signature)
        while start >= 0:
            content[start + at] = 9  # Deflate64, which Windows takes for large files
            start = content.find(signature, start + 4)
    (tmp_path / "AgeDB.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked here .*; unpack it with another program"):
        _prepare(tmp_path / "AgeDB.zip", tmp_path / "out")


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_is_the_same_data_set_as_its_folder(agedb: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / name
    archive.write_bytes(PACKED[name](agedb))
    packed, unpacked = _prepare(archive, tmp_path / "packed"), _prepare(agedb, tmp_path / "unpacked")
    assert packed.fingerprint == unpacked.fingerprint
    assert packed.content_hash == unpacked.content_hash
    assert packed.counts == unpacked.counts
    assert Faces.open(tmp_path / "packed").sources == sorted(NAMES)
    assert not list(tmp_path.glob(".*")), "the unpacked files stayed"


def test_names_below_the_one_folder_of_an_archive_are_those_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "UTKFace"
    (folder / "part1").mkdir(parents=True)
    for i in range(3):
        path = folder / "part1" / f"{20 + i}_0_0_2017010416581123{i}.jpg"
        Image.new("RGB", (20, 20), (9 * i,) * 3).save(path)
    (tmp_path / "UTKFace.tar").write_bytes(_tar(folder))
    packed = _prepare(tmp_path / "UTKFace.tar", tmp_path / "packed", "utkface")
    assert packed.fingerprint == _prepare(folder, tmp_path / "unpacked", "utkface").fingerprint


def test_parts_are_joined_from_the_first_one(agedb: Path, tmp_path: Path) -> None:
    whole = lzma.compress(_tar(agedb))
    third = len(whole) // 3 + 1
    for i, suffix in enumerate(("aa", "ab", "ac")):
        (tmp_path / f"AFAD-Full.tar.xz{suffix}").write_bytes(whole[i * third : (i + 1) * third])
    joined = _prepare(tmp_path / "AFAD-Full.tar.xzaa", tmp_path / "joined")
    assert joined.fingerprint == _prepare(agedb, tmp_path / "unpacked").fingerprint
    (tmp_path / "AFAD-Full.tar.xzab").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of 3 parts, the first is AFAD-Full\.tar\.xzab"):
        _prepare(tmp_path / "AFAD-Full.tar.xzaa", tmp_path / "again")


def test_cacd_table_beside_the_archive_comes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "CACD2000"
    folder.mkdir()
    names = [f"{age}_Jane_Doe_0001.jpg" for age in (20, 30)]
    for i, name in enumerate(names):
        Image.new("RGB", (20, 20), (99 * i,) * 3).save(folder / name)
    images = {"name": _cells(names), "identity": [1, 1], "rank": [3, 3]}
    people = {"name": _cells(["Jane Doe", "John Roe"]), "identity": [1, 2]}
    savemat(tmp_path / "celebrity2000_meta.mat", {"celebrityData": people, "celebrityImageData": images})
    (tmp_path / "CACD2000.tar.gz").write_bytes(gzip.compress(_tar(folder)))
    packed = _prepare(tmp_path / "CACD2000.tar.gz", tmp_path / "packed", "cacd")
    assert packed.fingerprint == _prepare(folder, tmp_path / "unpacked", "cacd").fingerprint
    assert set(Faces.open(tmp_path / "packed").official) == {"test"}


def _cells(texts: list[str]) -> NDArray[np.object_]:
    return np.array(texts, object)


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"") -> bytes:
    """Return a tar archive of AgeDB's first picture and one more entry."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        picture = io.BytesIO()
        Image.new("RGB", (20, 20), (1, 2, 3)).save(picture, "jpeg")
        first = tarfile.TarInfo(f"AgeDB/{NAMES[0]}")
        first.size = picture.tell()
        archive.addfile(first, io.BytesIO(picture.getvalue()))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, link, len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["../evil.jpg", "AgeDB/../../evil.jpg", "/tmp/evil.jpg"])
def test_an_archive_that_would_write_outside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "AgeDB.tar").write_bytes(_entry(name, content=b"evil"))
    with zipfile.ZipFile(tmp_path / "AgeDB.zip", "w") as archive:
        archive.writestr(name, b"evil")
    for source in ("AgeDB.tar", "AgeDB.zip"):
        with pytest.raises(DataError, match=r"would write outside its folder: .*evil\.jpg"):
            _prepare(tmp_path / source, tmp_path / "below" / "out")
    assert not [path for path in tmp_path.rglob("*") if path.name == "evil.jpg"]
    assert not (tmp_path / "below" / "out").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hard link", "device", "pipe"],
)
def test_links_and_devices_are_quarantined(tmp_path: Path, kind: bytes) -> None:
    secret = tmp_path / "secret.jpg"
    Image.new("RGB", (20, 20)).save(secret)
    (tmp_path / "AgeDB.tar").write_bytes(_entry("AgeDB/1_JaneDoe_30_f.jpg", kind, str(secret)))
    manifest = _prepare(tmp_path / "AgeDB.tar", tmp_path / "out")
    assert manifest.counts.quarantined == {"a link or device in the archive, not a file": 1}
    assert Faces.open(tmp_path / "out").sources == [NAMES[0]]


def test_a_folder_that_is_a_link_catches_no_file_of_the_archive(tmp_path: Path) -> None:
    """An entry x → elsewhere, then a file x/y: the classic way out."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    buffer = io.BytesIO(_entry("AgeDB/x", tarfile.SYMTYPE, str(elsewhere)))
    with tarfile.open(fileobj=buffer, mode="a") as archive:
        entry = tarfile.TarInfo("AgeDB/x/1_JaneDoe_30_f.jpg")
        entry.size = 4
        archive.addfile(entry, io.BytesIO(b"evil"))
    (tmp_path / "AgeDB.tar").write_bytes(buffer.getvalue())
    manifest = _prepare(tmp_path / "AgeDB.tar", tmp_path / "out")
    assert list(elsewhere.iterdir()) == []
    assert manifest.counts.quarantined["file is not an image"] == 1


def test_a_link_in_a_zip_is_quarantined(tmp_path: Path, agedb: Path) -> None:
    archive_path = tmp_path / "AgeDB.zip"
    archive_path.write_bytes(_zip(agedb))
    with zipfile.ZipFile(archive_path, "a") as archive:
        link = zipfile.ZipInfo("AgeDB/9_JaneDoe_30_f.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    counts = _prepare(archive_path, tmp_path / "out").counts
    assert counts.quarantined == {"a link or device in the archive, not a file": 1}


def test_an_encrypted_zip_says_how_to_go_on(
    tmp_path: Path, agedb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(_zip(agedb))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag "encrypted" of every entry
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 4)
    (tmp_path / "AgeDB.zip").write_bytes(content)
    code = main(["agedb", "--source", str(tmp_path / "AgeDB.zip"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert code == 2
    assert "is encrypted" in said
    assert f"unzip -d AgeDB {tmp_path / 'AgeDB.zip'}" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
def test_an_archive_that_is_cut_short_is_refused(
    agedb: Path, tmp_path: Path, name: str, share: float
) -> None:
    whole = PACKED[name](agedb).rstrip(b"\0")  # a tar ends in many zeros, most of which mean nothing
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match="damaged or cut short"):
        _prepare(tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tar_that_ends_between_two_files_is_refused(agedb: Path, tmp_path: Path) -> None:
    """As `tarfile` alone would not say: it takes the end of the file for the end of the archive."""
    whole = _tar(agedb)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        third = archive.getmembers()[3]
    for source, content in {
        "a.tar": whole[: third.offset],
        "b.tar": whole[: third.offset] + b"\xff" * 512 + whole[third.offset + 512 :],
    }.items():
        (tmp_path / source).write_bytes(content)
        with pytest.raises(DataError, match="damaged or cut short"):
            _prepare(tmp_path / source, tmp_path / "out")


def test_a_flipped_bit_in_a_packed_file_is_found(agedb: Path, tmp_path: Path) -> None:
    for name in ("AgeDB.zip", "AgeDB.tar.gz", "AgeDB.tar.bz2", "AgeDB.tar.xz"):
        content = bytearray(PACKED[name](agedb))
        content[200 if name == "AgeDB.zip" else len(content) // 3] ^= 0x10  # in the zip's first picture
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="damaged or cut short"):
            _prepare(tmp_path / name, tmp_path / "out")


def test_a_wrong_archive_is_told_what_is_in_it_under_its_own_name(agedb: Path, tmp_path: Path) -> None:
    (tmp_path / "AgeDB.tar").write_bytes(_tar(agedb))
    with pytest.raises(DataError) as error:
        _prepare(tmp_path / "AgeDB.tar", tmp_path / "out", "afad")
    message = str(error.value)
    assert message.startswith(str(tmp_path / "AgeDB.tar"))
    assert "AFAD-Full/15/111/638660-1.jpg" in message
    assert f"found: {NAMES[0]}, {NAMES[1]}" in message
    assert "4 images: path does not give age, gender and person" in message


def test_a_folder_that_holds_the_archive_is_told_to_give_the_archive(agedb: Path, tmp_path: Path) -> None:
    (tmp_path / "download").mkdir()
    (tmp_path / "download/AFAD-Full.tar.xzaa").write_bytes(b"x")
    (tmp_path / "download/AFAD-Full.tar.xzab").write_bytes(b"x")
    with pytest.raises(DataError, match=r"give the file itself: --source .*download/AFAD-Full\.tar\.xzaa"):
        _prepare(tmp_path / "download", tmp_path / "out")


def test_a_file_and_a_folder_of_one_name_are_a_damaged_archive(tmp_path: Path) -> None:
    (tmp_path / "AgeDB.tar").write_bytes(_entry(f"AgeDB/{NAMES[0]}/1_JaneDoe_30_f.jpg", content=b"x"))
    with pytest.raises(DataError, match="a file and a folder of one name"):
        _prepare(tmp_path / "AgeDB.tar", tmp_path / "out")


def test_a_name_that_is_not_utf8_comes_out_of_a_tar(tmp_path: Path) -> None:
    name = os.fsdecode(b"AgeDB/1_Ren\xe9e_30_f.jpg")
    (tmp_path / "AgeDB.tar").write_bytes(_entry(name, content=b"not an image"))
    manifest = _prepare(tmp_path / "AgeDB.tar", tmp_path / "out")
    assert manifest.counts.quarantined == {"file is not an image": 1}
    assert r"1_Ren\xe9e_30_f.jpg" in (tmp_path / "out/quarantine.csv").read_text()


def _peak(tmp_path: Path, entries: int) -> int:
    """Return how many bytes are needed at once to read an archive of so many entries."""
    with tarfile.open(tmp_path / "AgeDB.tar", "w") as archive:
        for i in range(entries):
            folder = tarfile.TarInfo(f"AgeDB/{i}")
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
    archive.members.clear()  # type: ignore[attr-defined]
    tracemalloc.start()
    with opened(tmp_path / "AgeDB.tar", tmp_path / "out", (), Silent):
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    """`tarfile` alone keeps a kilobyte for every entry."""
    assert _peak(tmp_path, 3000) < _peak(tmp_path, 1500) + 500_000
