"""Estimates as text, JSON lines and CSV, and drawn on a copy of their picture."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import ImageDraw, ImageFont

from orchestration.errors import UserError
from orchestration.estimates import Estimate, Seen

FIELDS = (
    *("picture", "face", "faces", "left", "top", "right", "bottom", "age", "low", "high"),
    *("gender", "female_probability", "position_age", "problem"),
)
GREEN = (0, 200, 80)
BLACK = (0, 0, 0)


def text(seen: Seen) -> Iterator[str]:
    """A line for each face, or why there is none."""
    name = seen.picture.name
    if not seen.faces:
        yield f"{name}: {seen.problem}"
    for index, face in enumerate(seen.faces, 1):
        which = f", face {index} of {len(seen.faces)}" if len(seen.faces) > 1 else ""
        yield f"{name}{which}: {'; '.join(_words(face))}"


def _words(face: Estimate) -> Iterator[str]:
    if face.problem:
        yield face.problem
        return
    ends = "" if face.low is None or face.high is None else f" ({face.low:.1f} to {face.high:.1f})"
    yield f"{face.age:.1f} years{ends}"
    if face.female_probability is not None:
        female = face.gender == "F"
        share = face.female_probability if female else 1 - face.female_probability
        yield f"{'female' if female else 'male'} {100 * share:.0f} %"
    if face.position_age is not None and face.age is not None:
        yield f"position {face.position_age:.0f}, {abs(face.position_age - face.age):.1f} years apart"


def json_line(seen: Seen) -> str:
    """One JSON object for a picture and its faces."""
    faces = [_values(face) for face in seen.faces]
    return json.dumps({"picture": seen.picture.name, "problem": seen.problem or None, "faces": faces})


def _values(face: Estimate) -> dict[str, Any]:
    box = None if face.box is None else [round(value, 1) for value in face.box]
    rounded = {name: _rounded(getattr(face, name)) for name in ("age", "low", "high", "position_age")}
    return {
        "box": box,
        **rounded,
        "gender": face.gender,
        "female_probability": _rounded(face.female_probability),
        "problem": face.problem or None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def rows(seen: Seen) -> Iterator[dict[str, Any]]:
    """Values of FIELDS, those that there are, for each face, or once for why there is none."""
    common = {"picture": seen.picture.name, "faces": len(seen.faces)}
    if not seen.faces:
        yield {**common, "problem": seen.problem}
    for index, face in enumerate(seen.faces, 1):
        values = _values(face)
        sides = dict(zip(("left", "top", "right", "bottom"), values.pop("box") or (), strict=False))
        yield {**common, "face": index, **sides, **values}


def csv_lines(seen: Seen) -> str:
    """Rows of FIELDS, one for each face, or one that says why there is none."""
    out = io.StringIO()
    csv.DictWriter(out, FIELDS, lineterminator="\n").writerows(rows(seen))
    return out.getvalue().rstrip("\n")


def csv_head() -> str:
    """The first line of a CSV."""
    return ",".join(FIELDS)


def copy_path(seen: Seen, folder: Path) -> Path:
    """Where the copy of a picture goes. Raises UserError rather than lie over the picture itself."""
    name = Path("stdin.png" if seen.picture.name == "-" else seen.picture.name)
    name = Path(name.name) if name.is_absolute() or ".." in name.parts else name
    path = folder / (name if name.suffix.lower() in (".jpg", ".jpeg", ".png") else f"{name}.png")
    if isinstance(seen.picture.content, Path) and path.exists() and path.samefile(seen.picture.content):
        raise UserError(f"--draw {folder}: the copy would replace {path}; choose another folder")
    return path


def draw(seen: Seen, folder: Path) -> None:
    """Write a copy of the picture with boxes and ages into `folder`, readable by its owner alone."""
    if not seen.faces:
        return
    path = copy_path(seen, folder)
    image = seen.picture.open()
    pen = ImageDraw.Draw(image)
    side = min(image.size)
    for face in seen.faces:
        if not face.problem:
            _draw_face(pen, face, image.size, max(1, side // 200))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    with os.fdopen(os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
        image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}))
    partial.replace(path)


def _draw_face(pen: ImageDraw.ImageDraw, face: Estimate, size: tuple[int, int], line: int) -> None:
    """A box and, above it or inside where there is no room, the age and the gender."""
    left, top, right, bottom = face.box or (0, 0, size[0] - 1, size[1] - 1)
    if face.box is not None:
        pen.rectangle((left, top, right, bottom), outline=GREEN, width=line)
    font = ImageFont.load_default(max(10, min(size) // 18, int((right - left) // 7)))
    words = f"{face.age:.0f} {face.gender or ''}".strip()
    _, _, width, height = pen.textbbox((0, 0), words, font=font)
    x = min(max(0.0, left), max(0.0, size[0] - width - 4))
    y = top - height - 6 if top >= height + 6 else max(0.0, bottom - height - 6)
    pen.rectangle((x, y, x + width + 4, y + height + 6), fill=GREEN)
    pen.text((x + 2, y + 1), words, fill=BLACK, font=font)
