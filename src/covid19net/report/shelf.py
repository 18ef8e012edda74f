"""Where a study's tables and figures are gathered while its report is composed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
        """Write a table, and give it back for the page."""
        self._take(f"tables/{table.name}")
        table.write(self.folder / "tables")
        return table

    def figure(self, name: str, figure: "Figure", caption: str, alt: str) -> FigurePart:
        """Write a figure as PDF, SVG and PNG, and give it back for the page."""
        from covid19net.report.figures import save_figure

        self._take(f"figures/{name}")
        paths: Sequence[Path] = save_figure(figure, self.folder / "figures", name)
        svg = next(path for path in paths if path.suffix == ".svg")
        return FigurePart(caption, svg, alt)

    def _take(self, name: str) -> None:
        """Two of one name would be a fault of ours: the later would replace the earlier."""
        if name in self.names:
            raise ValueError(f"{name} stands twice in a study")
        self.names.append(name)
