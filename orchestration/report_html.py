"""A report as one HTML file: style, figures and, if any, faces inside; nothing is loaded from anywhere."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from orchestration.report_build import Report
from orchestration.report_faces import Face
from orchestration.report_figures import Drawn
from orchestration.report_paint import INK

TEMPLATE = Path(__file__).with_suffix(".html.j2")
_NAMES = re.compile(r'(id="|url\(#|xlink:href="#|clip-path="url\(#)')


def page(report: Report) -> str:
    """The page, whole."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, inline=inline, picture=picture)


def inline(drawn: Drawn) -> str:
    """The SVG as part of the page: its ink is the page's, its names are its own, its width the column's."""
    svg = drawn.svg[drawn.svg.index("<svg") :].replace(INK, "currentColor")
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*pt"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = _NAMES.sub(rf"\g<1>{drawn.name}-", svg)
    label = drawn.title.replace('"', "")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def picture(face: Face) -> str:
    """The face as a data URI."""
    file = io.BytesIO()
    Image.fromarray(face.image).save(file, format="PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
