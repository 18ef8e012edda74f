"""A study as one HTML file: banners, contents, text, tables and figures; nothing is loaded from elsewhere.

Pictures are embedded as data. An SVG sits in an `img`, where browsers run no scripts and load nothing, and
where its identifiers cannot meet those of another figure.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from covid19net.errors import InputError
from covid19net.io.files import write_whole
from covid19net.report.template import filled
from covid19net.table import Table

PICTURES = {".svg": "image/svg+xml", ".png": "image/png"}
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True)
class Banner:
    """A message no reader may miss; those of kind "demonstration" and "warning" open the page.

    Raises:
        InputError: another kind.
    """

    text: str
    kind: Literal["demonstration", "warning", "note"] = "warning"

    def __post_init__(self) -> None:
        if self.kind not in ("demonstration", "warning", "note"):
            raise InputError(f"a banner is a demonstration, a warning or a note, not {self.kind!r}")


@dataclass(frozen=True)
class ListPart:
    """A list of points."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class FigurePart:
    """A figure.

    Attributes:
        caption: below it.
        source: text of an SVG, or the path of an .svg or .png file.
        alt: what it shows, for those who cannot see it; not empty.

    Raises:
        InputError: no alternative text.
    """

    caption: str
    source: str | Path
    alt: str

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise InputError(f"the figure {self.caption[:40]!r} needs a text for those who cannot see it")


Part = Paragraph | Banner | ListPart | FigurePart | Table


@dataclass(frozen=True)
class Section:
    """A numbered section of the page."""

    title: str
    parts: tuple[Part, ...]


def page(title: str, subtitle: str, sections: Sequence[Section], footer: str = "") -> str:
    """Compose the page; every text is escaped.

    Args:
        title: of the study.
        subtitle: such as data, version and date.
        sections: in order; their demonstration banners and warnings move to the top of the page, each once.
        footer: such as intended use and provenance.

    Raises:
        InputError: a figure that cannot be read, or is neither SVG nor PNG.
    """
    urgent = [p for s in sections for p in s.parts if isinstance(p, Banner) and p.kind != "note"]
    urgent.sort(key=lambda banner: banner.kind)  # demonstration before warning
    shown = [
        {"title": s.title, "parts": [_shown(part) for part in s.parts if part not in urgent]}
        for s in sections
    ]
    return filled(
        "study.html",
        title=title,
        subtitle=subtitle,
        first=list(dict.fromkeys(urgent)),
        sections=shown,
        footer=footer,
    )


def write_page(path: Path, html: str) -> None:
    """Write the page as UTF-8, whole or not at all.

    Raises:
        InputError: no such folder, or no permission.
        ResourceError: the disk is full.
    """
    write_whole(path, lambda unfinished: _write(unfinished, html))


def _write(path: Path, html: str) -> None:
    path.write_text(html, encoding="utf-8", newline="\n")


def _shown(part: Part) -> tuple[str, Any]:
    """A part and what the template knows it by."""
    kind = type(part).__name__
    if isinstance(part, FigurePart):
        return kind, {"caption": part.caption, "alt": part.alt, "data": _data(part.source)}
    if isinstance(part, ListPart):
        return kind, {"points": part.items}
    return kind, part


def _data(source: str | Path) -> str:
    """A picture as a data address."""
    if isinstance(source, str):
        kind, content = ".svg", source.encode()
    else:
        kind = source.suffix.lower()
        try:
            content = source.read_bytes()
        except OSError as error:
            raise InputError(f"{source.name}: cannot be read ({error.strerror})") from error
    fits = content.startswith(PNG_START) if kind == ".png" else b"<svg" in content[:2000]
    if kind not in PICTURES or not fits:
        raise InputError(f"{'the figure' if isinstance(source, str) else source.name}: neither SVG nor PNG")
    return f"data:{PICTURES[kind]};base64,{b64encode(content).decode()}"
