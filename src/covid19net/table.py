"""Tables as files: CSV in, and for people out to the console, HTML, LaTeX and CSV."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
import csv
from dataclasses import dataclass
import errno
from html import escape
import io
from itertools import chain
from pathlib import Path
import re

from covid19net.errors import InputError, ResourceError

INDENT = "  "  # a row whose first cell begins so is a part of the row above
LARGEST = 100 << 20  # bytes of a CSV
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "[": "{[}", "±": r"$\pm$", "≥": r"$\ge$", "≤": r"$\le$",
    "×": r"$\times$", "−": "$-$",  # noqa: RUF001 - a minus sign, which pdflatex does not know
}  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes
_SEPARATOR = re.compile(r"sep=([,;\t])", re.IGNORECASE)  # Excel's own first line
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?%?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Table:
    """A table for people. Cells are text that is shown as it stands; control characters become spaces.

    Attributes:
        name: stem of its files, such as "table-1".
        title: caption.
        header: of every column.
        rows: as many cells each; the first is the row's name, indented with two spaces for parts.
        notes: below the table.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.header) for row in self.rows):
            raise ValueError(f"{self.name}: every row needs {len(self.header)} cells")
        object.__setattr__(self, "title", _printable(self.title))
        object.__setattr__(self, "header", tuple(map(_printable, self.header)))
        object.__setattr__(self, "rows", tuple(tuple(map(_printable, row)) for row in self.rows))
        object.__setattr__(self, "notes", tuple(map(_printable, self.notes)))

    def text(self) -> str:
        """For the console: columns of equal width, numbers to the right."""
        cells = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        lines = [_line(row, widths) for row in cells]
        rule = "-" * max(map(len, lines))
        return "\n".join([self.title, rule, lines[0], rule, *lines[1:], rule, *self.notes])

    def html(self) -> str:
        """As an HTML table; everything is escaped."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.header)
        body = "\n".join(_html_row(row) for row in self.rows)
        notes = "".join(f"<p class=note>{escape(note)}</p>" for note in self.notes)
        caption = f"<caption>{escape(self.title)}</caption>"
        return f"<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n{notes}"

    def latex(self) -> str:
        """As a LaTeX table with booktabs rules."""
        lines = [" & ".join(map(_latex, row)) + r" \\" for row in (self.header, *self.rows)]
        notes = [rf"\par\footnotesize {_latex(note)}" for note in self.notes]
        columns = "l" + "r" * (len(self.header) - 1)
        top = [r"\begin{table}", rf"\caption{{{_latex(self.title)}}}", rf"\begin{{tabular}}{{{columns}}}"]
        middle = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*top, *middle, *notes, r"\end{table}", ""])

    def csv(self) -> str:
        """As CSV: header and rows; a cell that a spreadsheet would take for a formula gets an apostrophe."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([map(harmless, row) for row in (self.header, *self.rows)])
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.csv, NAME.html, NAME.tex and NAME.txt, each whole or not at all.

        Raises:
            InputError: they cannot be written.
            ResourceError: the disk is full.
        """
        made = {"csv": self.csv(), "html": self.html() + "\n", "tex": self.latex(), "txt": self.text() + "\n"}
        return [write_whole(folder / f"{self.name}.{suffix}", content) for suffix, content in made.items()]


def _printable(cell: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in cell)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = (
        cell.rjust(width) if i else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _html_row(row: tuple[str, ...]) -> str:
    part = ' class="part"' if row[0].startswith(INDENT) else ""
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
    return f'<tr><th scope="row"{part}>{escape(row[0].strip())}</th>{cells}</tr>'


def _latex(text: str) -> str:
    indent = r"\quad " if text.startswith(INDENT) else ""
    return indent + "".join(_LATEX.get(letter, letter) for letter in text.strip())


def harmless(cell: str) -> str:
    """A cell for a CSV: with an apostrophe before it where a spreadsheet would take it for a formula."""
    formula = cell.startswith(_FORMULA) or cell.lstrip().startswith(_FORMULA)
    return f"'{cell}" if formula and not _NUMBER.fullmatch(cell.strip()) else cell


def as_meant(cell: str) -> str:
    """A cell of a CSV without the apostrophe that `harmless` put before it."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell


def write_whole(path: Path, text: str) -> Path:
    """Write a text file, UTF-8, whole or not at all; its folder is made.

    Raises:
        InputError: the file cannot be written.
        ResourceError: the disk is full.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        kind = ResourceError if error.errno == errno.ENOSPC else InputError
        raise kind(f"{path.name}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    return path


def csv_text(rows: list[Mapping[str, object]]) -> str:
    """Rows as CSV, their keys the header; items of lists are joined with spaces, None is empty."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return harmless(value) if isinstance(value, str) else value


def read_cells(path: Path) -> tuple[list[list[str]], bool]:
    """Cells of a CSV, and whether its numbers may have decimal commas.

    Excel's habits are accepted: byte-order mark, CRLF, semicolons or tabs, UTF-16, a first line "sep=;".

    Raises:
        InputError: no such file, too large, not text, not a table, or no header.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path.name}: larger than {LARGEST >> 20} MB, no table of this kind")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name or path}: {(error.strerror or 'cannot be read').lower()}") from error
    delimiter, text = _delimited(_text(path, data))
    rows: list[list[str]] = []
    try:
        rows.extend(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path.name}: not a CSV table: row {len(rows) + 1}: {error}") from error
    if not rows or not any(rows[0]):
        raise InputError(f"{path.name}: empty, or without a header")
    return [[as_meant(cell) for cell in row] for row in rows], delimiter == ";"


def rows_of(path: Path) -> Iterator[tuple[list[str], bool]]:
    """Rows of a CSV of any length, one after the other, the header first.

    Yields:
        Cells as `read_cells` gives them, and whether numbers may have decimal commas.

    Raises:
        InputError: no such file, not text, not a table, or no header.
    """
    number = 0
    try:
        with path.open("rb") as file:
            coding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
        with path.open(encoding=coding, newline="") as lines:
            first = lines.readline()
            delimiter, _ = _delimited(first)
            named = _SEPARATOR.fullmatch(first.strip().strip('"')) is not None
            source = lines if named else chain([first], lines)
            for number, cells in enumerate(csv.reader(source, delimiter=delimiter, strict=True), start=1):
                if number == 1 and not any(cells):
                    raise InputError(f"{path.name}: empty, or without a header")
                yield [as_meant(cell) for cell in cells], delimiter == ";"
    except OSError as error:
        raise InputError(f"{path.name or path}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeError as error:
        raise InputError(f"{path.name}: not text in UTF-8 or UTF-16; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{path.name}: not a CSV table: row {number + 1}: {error}") from error
    if not number:
        raise InputError(f"{path.name}: empty, or without a header")


def _text(path: Path, data: bytes) -> str:
    """The text of a file; a workbook or another binary file is none, even where its bytes decode."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"{path.name}: not text in UTF-8 or UTF-16; save it as CSV UTF-8")
    return text


def _delimited(text: str) -> tuple[str, str]:
    """The delimiter, and the table without the line in which Excel may name it."""
    first, _, rest = text.partition("\n")
    if named := _SEPARATOR.fullmatch(first.rstrip("\r").strip('"')):
        return named[1], rest
    return max(",;\t", key=first.count), text
