"""What all figures of a study share: style, sizes, colours that survive colour blindness and grey, saving.

Matplotlib's object interface only; nothing here or in the `figure_*` modules changes its global settings.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache, wraps
import math
from pathlib import Path
import shutil
import tempfile
import textwrap
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib as mpl
from matplotlib import font_manager, style
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
import numpy as np

from covid19net.errors import InputError
from covid19net.io.files import write_fault

if TYPE_CHECKING:
    from matplotlib.axes import Axes

P = ParamSpec("P")

SINGLE, DOUBLE = 85.0, 175.0  # column widths of journals, mm
MM_PER_INCH = 25.4
DPI = 300  # of the PNG, and of what is rasterized inside PDF and SVG
MANY = 1000  # markers; more of them are rasterized, which keeps a figure of 10,000 patients small
ACROSS = 3  # panels in a row, at most
SMALL = 8.0  # pt, for ticks, legends and counts; labels and titles have 9
LETTER = 0.56  # mean width of a letter, in sizes of the font; a little more than DejaVu Sans needs

# Okabe and Ito, "Color universal design", jfly.uni-koeln.de/color (2008), in an order of unlike greys.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[tuple[float, tuple[float, ...]] | str, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.3)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (3, 1, 1, 1, 1, 1)),
)
MARKERS = ("o", "s", "^", "D", "v", "P")
GREY, INK, ALARM = "#6F6F6F", "#1A1A1A", "#A23B00"

# DejaVu Sans comes with matplotlib, so that a figure has the same bytes everywhere; the others are asked only
# for letters it lacks, where the machine has them.
FONT = "DejaVu Sans"
FURTHER_FONTS = (
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Noto Sans CJK JP",
    "Hiragino Sans",
    "Arial Unicode MS",
)
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "figure.dpi": DPI,
}
# Type 42 embeds TrueType outlines: text in the PDF stays text that can be searched and edited. In SVG text
# becomes outlines: browsers draw an SVG picture with fonts of their own, whose other widths would break the
# layout; the words for readers and search engines stand in the alternative text and in the PDF.
SAVING: dict[Any, Any] = {
    "pdf.fonttype": 42,
    "pdf.compression": 6,
    "pdf.use14corefonts": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "covid19net",
    "savefig.facecolor": "white",
    "savefig.bbox": None,
    "savefig.pad_inches": 0.05,
    "savefig.dpi": DPI,
    "savefig.transparent": False,
}
METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "svg": {"Date": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Look:
    """How a series is drawn: it differs from the others in more than colour."""

    colour: str
    dash: tuple[float, tuple[float, ...]] | str
    marker: str


def look(number: int) -> Look:
    """The look of a series by its place; 35 differ from each other."""
    return Look(COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)], MARKERS[number % len(MARKERS)])


def styled() -> AbstractContextManager[None]:
    """Our style over matplotlib's own defaults, whatever the user's settings are, until the block ends."""
    return style.context({**STYLE, "font.family": list(_families())}, after_reset=True)


def in_style(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A function that draws under `styled`."""

    @wraps(draw)
    def wrapped(*args: P.args, **named: P.kwargs) -> Figure:
        with styled():
            return draw(*args, **named)

    return wrapped


def sheet(panels: int, height: float, mark: str = "", *, width: float = 0) -> tuple[Figure, list["Axes"]]:
    """An empty figure of one column for a single panel, of two for more, three panels a row at most.

    Args:
        panels: 1 or more; four make two rows of two.
        height: of a row, mm.
        mark: short warning above the panels, such as "demonstration: synthetic patients".
        width: mm, where the usual one does not fit.

    Raises:
        InputError: no panels.
    """
    if panels < 1:
        raise InputError("a figure needs at least one panel")
    across = 2 if panels == 4 else min(panels, ACROSS)
    down = -(-panels // across)
    width = width or (SINGLE if panels == 1 else DOUBLE)
    size = width / MM_PER_INCH, (height * down + (4 if mark else 0)) / MM_PER_INCH
    figure = Figure(
        figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.03, hspace=0.03)
    )
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for spare in grid[panels:]:
        spare.set_visible(False)
    if mark:
        figure.suptitle(plain(mark), x=0.99, ha="right", fontsize=SMALL, color=ALARM, style="italic")
    return figure, list(grid[:panels])


def titled(axes: Sequence["Axes"], titles: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Put titles on panels, with letters where there are several, and notes (lines) under them."""
    letters = {1: 36, 2: 30, 4: 30}.get(len(axes), 20)
    for number, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        letter = f"{chr(ord('A') + number)}  " if len(axes) > 1 else ""
        note = notes[number] if notes else ""
        room = SMALL * 1.3 * (note.count("\n") + 1) if note else 0
        panel.set_title(letter + folded(title, letters), pad=6 + room)
        panel.annotate(note, (0, 1), (0, 5), "axes fraction", "offset points", fontsize=SMALL)


def plain(text: str) -> str:
    """A text that can be drawn: one line, letters that no font here has replaced by an empty box."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "".join(c if ord(c) in _letters() else "\N{WHITE SQUARE}" for c in line)


def folded(text: str, letters: int, lines: int = 3) -> str:
    """A text broken into lines of so many letters, the last one cut short where it is still too long."""
    made = textwrap.wrap(plain(text), letters) or [""]
    if len(made) > lines:
        made = [*made[: lines - 1], made[lines - 1][: letters - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"]
    return "\n".join(made)


def p_text(p: float) -> str:
    """A p value as journals print it: "p = 0.013", "p < 0.0001".

    Raises:
        InputError: not a probability.
    """
    if not 0 <= p <= 1:
        raise InputError(f"p is a probability, got {p:g}")
    if p < 1e-4:
        return "p < 0.0001"
    return f"p = {p:.2f}" if p >= 0.0995 else f"p = {p:.2g}"


def save_figure(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write NAME.pdf, NAME.svg and NAME.png (300 dpi); all of them, or none, and the same bytes every time.

    Args:
        figure: from one of the `figure_*` modules.
        folder: made when missing; files of that name in it are replaced.
        name: without a folder or an ending.

    Raises:
        InputError: a name that is no plain file name, or a place that cannot be written.
        ResourceError: the disk is full.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise InputError(
            f"{plain(name)!r} is no name for a figure: a plain file name without ending is needed"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
    except OSError as error:
        raise write_fault(folder, error) from error
    try:
        with styled(), mpl.rc_context(SAVING):
            for kind, metadata in METADATA.items():
                figure.savefig(scratch / f"{name}.{kind}", metadata=metadata, dpi=DPI)
        return [(scratch / f"{name}.{kind}").replace(folder / f"{name}.{kind}") for kind in METADATA]
    except OSError as error:
        raise write_fault(folder / name, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def nice_ticks(last: float, most: int = 6) -> np.ndarray:
    """Round numbers from 0 to `last` or just beyond, (tick,), in at most `most` steps; days stay whole."""
    if not last > 0:
        return np.array([0.0, 1.0])
    scale = 10.0 ** math.floor(math.log10(last / most))
    steps = [s * scale for s in (1, 1.5, 2, 3, 5, 10, 15, 20) if scale < 1 or (s * scale).is_integer()]
    step = next(s for s in steps if last / s <= most)
    return np.arange(math.ceil(last / step - 1e-9) + 1) * step


@cache
def _families() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return (FONT, *(name for name in FURTHER_FONTS if name in installed))


@cache
def _letters() -> frozenset[int]:
    """Every letter that one of our fonts can draw."""
    paths = [font_manager.findfont(name, fallback_to_default=False) for name in _families()]
    return frozenset().union(*(font_manager.get_font(path).get_charmap() for path in paths))
