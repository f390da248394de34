"""From a template to one HTML file: styles and scripts are inlined, pictures stay beside it."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from rayzer.files import output_file

TEMPLATES = Path(__file__).parent / "templates"


def write_page(path: str | Path, template: str, **context: object) -> None:
    """Render a template and write it; the file appears under its name only when it is complete.

    File names that are not UTF-8 are shown with question marks (links to them work).
    """
    path = Path(path)
    html = environment().get_template(template).render(**context)
    with output_file(path) as partial:
        partial.write_bytes(html.encode("utf-8", "replace"))


@functools.cache
def environment() -> jinja2.Environment:
    """Templates of this package: everything is escaped, a missing name is an error."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["url"] = relative_url
    templates.filters["decibels"] = decibels
    templates.globals["inline"] = inline
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return templates


def inline(name: str) -> Markup:
    """Our own style sheet or script `name` of the template folder, as it stands."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def relative_url(path: str) -> str:
    """The URL of a file given by its path relative to the page, with `/` between folders.

    Raises:
        ValueError: if the path is absolute: the page would break when its folder moves.
    """
    if path.startswith("/"):
        raise ValueError(f"pages refer to files by relative paths, got {path}")
    return quote(path, safe="/", errors="surrogateescape")


def decibels(value: float) -> str:
    """A PSNR for people: "27.41 dB"; two equal pictures have no finite one."""
    return "identical" if math.isinf(value) else f"{value:.2f} dB"
