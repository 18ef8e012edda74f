"""A table for people: to the console, HTML, LaTeX and CSV. Cells are text that is shown as it stands."""

import csv
from dataclasses import dataclass
from html import escape
import io
from pathlib import Path

INDENT = "  "  # a row whose first cell begins so is a part of the row above
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "±": r"$\pm$", "≥": r"$\ge$", "≤": r"$\le$",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A table for people.

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

    def text(self) -> str:
        """For the console: columns of equal width, numbers to the right."""
        cells = [self.header, *self.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        lines = [_line(row, widths) for row in cells]
        rule = "-" * len(lines[0])
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
        writer.writerows([map(_harmless, row) for row in (self.header, *self.rows)])
        return text.getvalue()

    def write(self, folder: Path) -> list[Path]:
        """Write NAME.csv, NAME.html, NAME.tex and NAME.txt.

        Raises:
            OSError: they cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        made = {"csv": self.csv(), "html": self.html() + "\n", "tex": self.latex(), "txt": self.text() + "\n"}
        paths = []
        for suffix, content in made.items():
            path = folder / f"{self.name}.{suffix}"
            path.write_text(content, encoding="utf-8")
            paths.append(path)
        return paths


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


def _harmless(cell: str) -> str:
    plain = cell.strip().lstrip("+-").replace(".", "", 1).isdigit()
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not plain else cell
