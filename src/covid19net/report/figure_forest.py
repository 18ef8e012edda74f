"""Rows of estimates with their intervals: hazard ratios, AUC by stratum; how often a feature was chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Estimate, Stratum
from covid19net.report.figures import (
    COLOURS,
    DOUBLE,
    GREY,
    LETTER,
    SMALL,
    folded,
    in_style,
    p_text,
    plain,
    sheet,
)

WIDEST = 100.0  # a hazard ratio beyond 1/100 or 100 is shown by an arrow
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
NAME = 30  # letters in a line of a row's name
ROW = 5.2  # mm
MOST_BARS = 20


@dataclass(frozen=True)
class Row:
    """A row of a forest plot: heading (no estimate, no cells) or estimate with the cells of its columns."""

    name: str
    estimate: Estimate | None = None
    cells: tuple[str, ...] = ()


@in_style
def hazard_figure(
    rows: Sequence[tuple[str, Estimate, float]],
    mark: str = "",
    *,
    x_label: str = "Hazard ratio",
    sides: tuple[str, str] = ("", ""),
) -> Figure:
    """Hazard ratios with intervals and p, on a logarithmic axis.

    Args:
        rows: name, hazard ratio (above 0, with limits above 0) and p of each covariate.
        mark: short warning above the figure.
        x_label: of the axis.
        sides: what ratios below and above 1 mean, such as ("longer stay", "shorter stay").

    Raises:
        InputError: no rows, or a ratio or limit that is not above 0.
    """
    bad = [name for name, ratio, _ in rows if ratio.low <= 0]
    if not rows or bad:
        raise InputError(
            f"hazard ratios are needed, with limits above 0: {', '.join(bad) or 'there are none'}"
        )
    made = [
        Row(name, ratio, (_numbers(ratio), p_text(p).removeprefix("p = ").removeprefix("p ")))
        for name, ratio, p in rows
    ]
    figure, axes = _forest_sheet(made, mark)
    low = min(0.5, *(max(ratio.low, 1 / WIDEST) for _, ratio, _ in rows)) / 1.15
    high = max(2.0, *(min(ratio.high, WIDEST) for _, ratio, _ in rows)) * 1.15
    axes.set(xscale="log", xlim=(low, high), xlabel=_between(sides, plain(x_label)))
    shown = [t for t in TICKS if low <= t <= high]
    shown = [t for t in shown if math.log10(t).is_integer() or len(shown) <= 7]
    axes.set_xticks(shown, [f"{t:g}" for t in shown])
    axes.set_xticks([], minor=True)
    axes.axvline(1, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
    _forest(axes, made, (f"HR ({100 * rows[0][1].level:g}% CI)", "p"))
    return figure


@in_style
def stratum_figure(
    groups: Sequence[tuple[str, Sequence[Stratum]]], overall: Estimate | None = None, mark: str = ""
) -> Figure:
    """The AUC within strata, such as slice thickness, sex or centre.

    Args:
        groups: name of each covariate and its strata; one without both classes is named as such.
        overall: AUC of all patients, a dashed line.
        mark: short warning above the figure.

    Raises:
        InputError: no strata.
    """
    made = []
    for name, strata in groups:
        made += [Row(name)] if name else []
        for one in strata:
            counts = f"{one.positive} / {one.negative}"
            value = _numbers(one.auc) if one.auc else "one class only"
            made.append(Row(("    " if name else "") + one.name, one.auc, (counts, value)))
    estimates = [row.estimate for row in made if row.estimate]
    if not any(row.cells for row in made):
        raise InputError("a figure of strata needs at least one")
    figure, axes = _forest_sheet(made, mark)
    low = min([0.5, *(e.low for e in estimates)])
    axes.set(xlim=(math.floor(10 * low) / 10 - 0.02, 1.02), xlabel="AUC")
    axes.axvline(0.5, color=GREY, lw=0.8, ls=":", zorder=0)
    if overall is not None:
        axes.axvline(overall.value, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
    level = estimates[0].level if estimates else 0.95
    _forest(axes, made, ("n + / \N{MINUS SIGN}", f"AUC ({100 * level:g}% CI)"))
    return figure


@in_style
def selection_figure(
    shares: Sequence[tuple[str, float]], mark: str = "", *, chosen: Sequence[str] = ()
) -> Figure:
    """In what share of bootstrap draws a selection chose each feature: how stable it is.

    Args:
        shares: name and share in [0, 1]; the 20 most frequent are shown, the others counted.
        mark: short warning above the figure.
        chosen: names of those in the final model, filled bars.

    Raises:
        InputError: no features, or a share outside [0, 1].
    """
    if not shares or not all(0 <= share <= 1 for _, share in shares):
        raise InputError("shares of draws between 0 and 1 are needed, one for each feature")
    ranked = sorted(shares, key=lambda pair: -pair[1])
    shown = ranked[:MOST_BARS]
    figure, (axes,) = sheet(1, 24 + 4.4 * len(shown), mark)
    places = np.arange(len(shown))
    colours = [COLOURS[0] if name in chosen or not chosen else "white" for name, _ in shown]
    axes.barh(
        places, [share for _, share in shown], height=0.68, color=colours, edgecolor=COLOURS[0], linewidth=0.7
    )
    for place, (_, share) in enumerate(shown):
        axes.text(share + 0.015, place, f"{100 * share:.0f} %", va="center", fontsize=SMALL)
    axes.set_yticks(places, [folded(name, 22, 1) for name, _ in shown])
    notes = ["Share of draws choosing it"]
    notes += ["filled: in the final model"] if chosen else []
    notes += [f"{len(ranked) - len(shown)} rarer features not shown"] if len(ranked) > len(shown) else []
    axes.set(xlim=(0, 1.14), ylim=(len(shown) - 0.4, -0.6), xlabel="\n".join(notes))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="y", length=0)
    return figure


def _forest_sheet(rows: Sequence[Row], mark: str) -> tuple[Figure, Axes]:
    figure, (axes,) = sheet(1, 24 + ROW * _places(rows)[-1], mark, width=DOUBLE)
    return figure, axes


def _places(rows: Sequence[Row]) -> np.ndarray:
    """How far down each row stands, in single rows, (row + 1,); the last is where they end."""
    half = np.array([max(1.0, 0.72 * (_name(row).count("\n") + 1)) for row in rows]) / 2
    return np.append(np.cumsum(2 * half) - half, 2 * half.sum())


def _forest(axes: Axes, rows: Sequence[Row], columns: tuple[str, ...]) -> None:
    """Draw rows from the top: names to the left of the axes, cells to the right, at distances in points."""
    *places, end = map(float, _places(rows))
    low, high = axes.get_xlim()
    for place, row in zip(places, rows, strict=True):
        if row.estimate is not None:
            _interval(axes, place, row.estimate, (low, high))
    axes.set_yticks([])
    axes.set_ylim(end + 0.2, -0.2)
    axes.spines["left"].set_visible(False)
    letter = LETTER * SMALL
    names = [_name(row) for row in rows]
    longest = max(len(line) for name in names for line in name.split("\n"))
    for place, row, name in zip(places, rows, names, strict=True):
        _beside(axes, 0, -letter * longest - 8, place, name, heading=not row.cells)
    right = 12.0
    for column, title in enumerate(columns):
        _beside(axes, 1, right, -0.8, title, heading=True)
        for place, row in zip(places, rows, strict=True):
            if row.cells:
                _beside(axes, 1, right, place, row.cells[column])
        right += letter * max(len(title) + 1, *(len(row.cells[column]) for row in rows if row.cells)) + 8


def _beside(
    axes: Axes, end: int, points: float, place: float, text: str, *, heading: bool = False
) -> None:  # fmt: skip
    """A text at a row, so many points to the right of an end of the axes (0 left, 1 right)."""
    axes.annotate(
        text, (end, place), (points, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points",
        fontsize=SMALL, fontweight="bold" if heading else "normal", va="center", annotation_clip=False,
    )  # fmt: skip


def _name(row: Row) -> str:
    indent = "   " if row.name.startswith(" ") else ""
    return "\n".join(indent + line for line in folded(row.name, NAME - len(indent)).split("\n"))


def _interval(axes: Axes, place: float, estimate: Estimate, limits: tuple[float, float]) -> None:
    """Point and interval; an arrow where one goes beyond the axis."""
    low, high = limits
    axes.plot(
        [max(estimate.low, low), min(estimate.high, high)], [place] * 2, color=COLOURS[0], lw=1.2,
        solid_capstyle="butt",
    )  # fmt: skip
    if low <= estimate.value <= high:
        axes.plot(estimate.value, place, "s", color=COLOURS[0], ms=4.5, mec="white", mew=0.4)
    for beyond, at, shape in ((estimate.low < low, low, "<"), (estimate.high > high, high, ">")):
        if beyond:
            axes.plot(at, place, shape, color=COLOURS[0], ms=4, clip_on=False)


def _numbers(estimate: Estimate) -> str:
    dash = " to " if estimate.low < 0 else "\N{EN DASH}"
    value, low, high = (_short(v) for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low}{dash}{high})".replace("-", "\N{MINUS SIGN}")


def _short(value: float) -> str:
    """Two decimals, or two digits where these would show nothing of it."""
    size = abs(value)
    if 0 < size < 0.0005:
        return "<0.001"
    if 0 < size < 0.095:
        return f"{value:.2g}"
    return f"{value:.2f}" if size < 100 else f"{value:.0f}"


def _between(sides: tuple[str, str], label: str) -> str:
    below, above = map(plain, sides)
    if not below and not above:
        return label
    return f"{label}  (\N{LEFTWARDS ARROW} {below} | {above} \N{RIGHTWARDS ARROW})"
