"""Pictures and folders as they should not be: read as what they show, or quarantined with the reason."""

import csv
import errno
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import folder
from data.errors import DataError, MachineError
from data.faces import Faces
from data.prepare import prepare
from data.readers import utkface
from data.schema import Manifest, Record

Draw = Callable[[Path, int], Path]
Table = Callable[..., Path]


def _utkface(age: int) -> str:
    return f"{age}_0_0_20170104165811234.jpg"


def _prepare(source: Path, out: Path, reader: str = "table") -> Manifest:
    return prepare(reader, source, out, size=16, workers=1, progress=False)


def _pixel(tmp_path: Path, source: Path) -> list[int]:
    """Return the RGB of the one picture of a data set."""
    _prepare(source, tmp_path / "out")
    pixel: list[int] = Faces.open(tmp_path / "out").images[0, 8, 8].tolist()
    return pixel


@pytest.mark.parametrize(
    ("name", "picture", "options", "rgb"),
    [
        ("cmyk.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), {"quality": 100}, (254, 0, 0)),
        ("grey16.png", Image.fromarray(np.full((16, 16), 0x8040, np.uint16)), {}, (128, 128, 128)),
        ("grey32.tif", Image.fromarray(np.full((16, 16), 0x8040, np.int32)), {}, (128, 128, 128)),
        ("grey.jpg", Image.new("L", (16, 16), 77), {"quality": 100}, (77, 77, 77)),
        ("grey_alpha.png", Image.new("LA", (16, 16), (77, 9)), {}, (77, 77, 77)),
        ("palette.png", Image.new("P", (16, 16), 3), {}, (3, 3, 3)),
        ("bit.png", Image.new("1", (16, 16), 1), {}, (255, 255, 255)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    tmp_path: Path,
    table: Table,
    name: str,
    picture: Image.Image,
    options: dict[str, int],
    rgb: tuple[int, ...],
) -> None:
    if picture.mode == "P":
        picture.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    source = table([(name, "20", "M", "")])
    picture.save(source.parent / name, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(_pixel(tmp_path, source), rgb, atol=2)


def test_fractions_of_an_unknown_white_are_quarantined(tmp_path: Path, picture: Draw, table: Table) -> None:
    source = table([("fractions.tif", "20", "M", ""), ("good.png", "22", "M", "")])
    Image.fromarray(np.full((16, 16), 0.5, np.float32)).save(source.parent / "fractions.tif")
    picture(source.parent / "good.png", 0)
    expected = {"pixels are fractions, and nothing says what is white": 1}
    assert _prepare(source, tmp_path / "out").counts.quarantined == expected


@pytest.mark.parametrize("kind", ["gif", "png", "webp"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path, table: Table, kind: str) -> None:
    source = table([(f"a.{kind}", "20", "M", "")])
    first, second = Image.new("RGB", (16, 16), (200, 0, 0)), Image.new("RGB", (16, 16), (0, 0, 200))
    first.save(source.parent / f"a.{kind}", save_all=True, append_images=[second])
    np.testing.assert_allclose(_pixel(tmp_path, source), (200, 0, 0), atol=12)


def test_a_picture_of_another_format_than_its_name_says_is_read(tmp_path: Path, table: Table) -> None:
    source = table([("a.jpg", "20", "M", "")])
    Image.new("RGB", (16, 16), (1, 2, 3)).save(source.parent / "a.jpg", "png")
    assert _pixel(tmp_path, source) == [1, 2, 3]


@pytest.mark.parametrize("turn", range(1, 9))
def test_all_eight_orientations_end_upright(tmp_path: Path, table: Table, turn: int) -> None:
    upright = np.zeros((32, 32), np.uint8)
    upright[:16, :16] = 255  # bright where the picture's top left is
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[turn]  # as the EXIF standard defines them: tag 6 is shown turned by 90° clockwise
    exif = Image.Exif()
    exif[0x0112] = turn
    source = table([("a.png", "20", "M", "")])
    Image.fromarray(np.ascontiguousarray(stored)).save(source.parent / "a.png", exif=exif)
    _prepare(source, tmp_path / "out")
    image = Faces.open(tmp_path / "out").images[0, :, :, 0]
    assert image[:7, :7].min() > 250
    assert max(image[9:].max(), image[:, 9:].max()) < 5


def test_a_decompression_bomb_is_quarantined(tmp_path: Path, table: Table, picture: Draw) -> None:
    source = table([("bomb.png", "20", "M", ""), ("face.png", "21", "M", "")])
    bomb = bytearray(picture(source.parent / "bomb.png", 1).read_bytes())
    bomb[16:24] = struct.pack(">II", 20_000, 20_000)  # the width and height that its header claims
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (source.parent / "bomb.png").write_bytes(bomb)
    picture(source.parent / "face.png", 0)
    counts = _prepare(source, tmp_path / "out").counts
    assert counts.quarantined == {"image has too many pixels to be opened safely": 1}


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "bmp"])
def test_a_truncated_picture_is_never_a_face(
    tmp_path: Path, table: Table, picture: Draw, kind: str, share: float
) -> None:
    source = table([(f"cut.{kind}", "20", "M", ""), ("face.png", "21", "M", "")])
    picture(source.parent / "face.png", 0)
    cut = picture(source.parent / f"cut.{kind}", 1)
    content = cut.read_bytes()
    cut.write_bytes(content[: int(share * len(content))])
    _prepare(source, tmp_path / "out")
    assert Faces.open(tmp_path / "out").sources == ["face.png"]


def test_names_that_are_not_utf8_keep_their_picture_and_show_their_bytes(
    tmp_path: Path, picture: Draw
) -> None:
    source = tmp_path / "utkface"
    picture(source / _utkface(30), 0)
    odd = os.fsencode(source) + b"/31_0_0_20170104165811234\xff.jpg"
    picture(source / "31.jpg", 1).rename(os.fsdecode(odd))
    lost = os.fsencode(source) + b"/\xe9t\xe9.jpg"
    picture(source / "32.jpg", 2).rename(os.fsdecode(lost))
    _prepare(source, tmp_path / "out", "utkface")
    assert Faces.open(tmp_path / "out").sources == [_utkface(30), r"31_0_0_20170104165811234\xff.jpg"]
    with (tmp_path / "out/quarantine.csv").open(newline="") as file:
        assert [row["source"] for row in csv.DictReader(file)] == [r"\xe9t\xe9.jpg"]


def _sources(source: Path) -> list[str]:
    return [item.source for item in utkface.read(source) if isinstance(item, Record)]


def test_folders_that_are_links_are_followed_but_not_in_circles(tmp_path: Path, picture: Draw) -> None:
    source = tmp_path / "utkface"
    picture(source / "part1" / _utkface(30), 0)
    picture(tmp_path / "elsewhere" / _utkface(31), 1)
    (source / "part2").symlink_to(tmp_path / "elsewhere")
    (source / "part1" / "up").symlink_to(source)
    (source / "part1" / "self").symlink_to(source / "part1")
    (source / "circle").symlink_to(source / "circle")
    (tmp_path / "elsewhere" / "back").symlink_to(source)
    assert _sources(source) == [f"part1/{_utkface(30)}", f"part2/{_utkface(31)}"]


def test_links_to_nothing_pipes_and_devices_are_quarantined(tmp_path: Path, picture: Draw) -> None:
    source = tmp_path / "utkface"
    picture(source / _utkface(30), 0)
    (source / _utkface(31)).symlink_to(tmp_path / "gone.jpg")
    (source / _utkface(32)).symlink_to(source / _utkface(32))
    (source / _utkface(33)).symlink_to("/dev/zero")
    os.mkfifo(source / _utkface(34))
    counts = _prepare(source, tmp_path / "out", "utkface").counts
    assert counts.kept == 1
    assert counts.quarantined == {"file is missing": 2, "not a file": 2}


def test_a_source_of_which_no_file_can_be_read_is_said_so(tmp_path: Path) -> None:
    source = tmp_path / "utkface"
    source.mkdir()
    (source / _utkface(30)).symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="no image is left to keep: 1 file is missing"):
        _prepare(source, tmp_path / "out", "utkface")


def test_what_macos_adds_is_no_image(tmp_path: Path, picture: Draw) -> None:
    source = tmp_path / "utkface"
    picture(source / _utkface(30), 0)
    picture(source / f"._{_utkface(31)}", 1)
    picture(source / "__MACOSX" / _utkface(32), 2)
    assert _sources(source) == [_utkface(30)]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, picture: Draw) -> None:
    closed = picture(tmp_path / "part1" / _utkface(30), 0).parent
    closed.chmod(0)
    with pytest.raises(DataError, match="part1 cannot be read: Permission denied"):
        list(utkface.read(tmp_path))


def test_two_runs_for_one_target_at_once_both_end_with_a_whole_data_set(
    tmp_path: Path, picture: Draw, table: Table
) -> None:
    rows = [(f"{i}.png", str(20 + i), "M", "") for i in range(12)]
    source = table(rows)
    for i, row in enumerate(rows):
        picture(source.parent / row[0], i)
    expected = _prepare(source, tmp_path / "alone").content_hash
    run = (
        "import sys; from pathlib import Path; from data.prepare import prepare\n"
        "for i in range(4): prepare('table', Path(sys.argv[1]), Path(sys.argv[2]), size=16,"
        " duplicates=('drop', 'keep')[i % 2], workers=1, progress=False)"
    )
    command = [sys.executable, "-c", run, str(source), str(tmp_path / "out")]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert _prepare(source, tmp_path / "out").content_hash == expected
    assert not list(tmp_path.glob(".out.*"))


def test_a_data_set_that_another_run_puts_there_at_the_last_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, exists = tmp_path / "out", Path.exists

    def looked(path: Path) -> bool:
        there = exists(path)
        if path == out and not there:  # the other run ends between the look and the rename
            out.mkdir()
            (out / "theirs").touch()
        return there

    monkeypatch.setattr(Path, "exists", looked)
    with folder.built(out, "x.rows") as partial:
        (partial / "mine").touch()
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_target_that_cannot_be_written_is_the_machine_s_fault(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(MachineError, match="Not a directory"),
        folder.built(tmp_path / "file" / "out", "x.rows"),
    ):
        pass


def test_a_full_disk_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(MachineError, match="no room left"),
        folder.scratch(tmp_path / "out", "source") as partial,
    ):
        (partial / "half").touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not list(tmp_path.iterdir())
