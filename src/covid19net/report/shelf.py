"""Where a study's tables and figures are gathered while its report is composed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from covid19net.report.study_page import FigurePart
from covid19net.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK = "demonstration: synthetic patients or weights"


@dataclass
class Shelf:
    """Tables and figures on disk, each under a name of its own.

    Attributes:
        folder: gets tables/ and figures/.
        mark: short warning on every figure, or "".
        names: used so far.
    """

    folder: Path
    mark: str = ""
    names: list[str] = field(default_factory=list)

    def table(self, table: Table) -> Table:
        """Write a table, and give it back for the page, under the name it got."""
        table = replace(table, name=self._take("tables", table.name))
        table.write(self.folder / "tables")
        return table

    def figure(self, name: str, figure: "Figure", caption: str, alt: str) -> FigurePart:
        """Write a figure as PDF, SVG and PNG, and give it back for the page."""
        from covid19net.report.figures import save_figure

        name = self._take("figures", name)
        paths: Sequence[Path] = save_figure(figure, self.folder / "figures", name)
        svg = next(path for path in paths if path.suffix == ".svg")
        return FigurePart(caption, svg, alt)

    def _take(self, kind: str, name: str) -> str:
        """A name of its own: sets that are called "a b" and "a/b" share one otherwise."""
        tried = (name if n == 1 else f"{name}-{n}" for n in count(1))
        free = next(one for one in tried if f"{kind}/{one}" not in self.names)
        self.names.append(f"{kind}/{free}")
        return free
