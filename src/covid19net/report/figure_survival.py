"""Figures of time: Kaplan-Meier with numbers at risk (Figure 4), cumulative incidence, AUC by day."""

from collections.abc import Sequence
from typing import Any, cast

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import (
    Affine2D,
    Affine2DBase,
    ScaledTranslation,
    Transform,
    blended_transform_factory,
)
import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Estimate
from covid19net.prognosis.competing import Incidence
from covid19net.prognosis.groups import WaitingCurve
from covid19net.report.figures import (
    GREY,
    SMALL,
    Look,
    folded,
    in_style,
    look,
    nice_ticks,
    plain,
    sheet,
    titled,
)

BELOW = 36.0  # pt from the axis down to "Number at risk" or a legend; ticks and axis label lie above
KEY = (-36.0, -17.0)  # pt from the left end of the axis: the line that leads a row of numbers
ROW = 11.0  # pt, of the numbers at risk
MOST_TICKS = {1: 6, 2: 6, 4: 6}  # days on the axis by panels; 4 where three stand in a row
LEGEND = 22  # letters in a line of a legend
MM_PER_POINT = 25.4 / 72
Panel = tuple[str, Sequence[WaitingCurve], str]


@in_style
def waiting_figure(
    panels: Sequence[Panel],
    days: Sequence[float] | None = None,
    mark: str = "",
    *,
    y_label: str = "Probability of still being in hospital",
    x_label: str = "Days",
) -> Figure:
    """Kaplan-Meier curves with intervals, censored patients and numbers at risk, as in Figure 4.

    The numbers stand under the days they belong to, a row for each group, led by the group's line.

    Args:
        panels: title, curves of the groups, and the text of their test, such as "log-rank p = 0.013".
        days: ticks, at which patients at risk are counted; round ones up to the last follow-up if not given.
        mark: short warning above the figure.
        y_label: what the probability means.
        x_label: of the time axis.

    Raises:
        InputError: no panels, or a panel without curves.
    """
    if not panels or not all(curves for _, curves, _ in panels):
        raise InputError("a figure of waiting needs panels, each with a curve at least")
    most = MOST_TICKS.get(len(panels), 4)
    names = {tuple(curve.name for curve in curves) for _, curves, _ in panels}
    rows = 1 + max(map(len, names)) * (2 if len(names) == 1 and len(panels) < 3 else 3)
    figure, axes = sheet(
        len(panels), (70 if len(panels) in (1, 2, 4) else 60) + rows * ROW * MM_PER_POINT, mark
    )
    for axis, (_, curves, _) in zip(axes, panels, strict=True):
        ticks = _days(curves, days, most)
        handles = [_waiting_curve(axis, curve, look(i), ticks[-1]) for i, curve in enumerate(curves)]
        _time_axis(axis, ticks, x_label, y_label)
        _numbers_at_risk(axis, curves, ticks)
        if len(names) > 1:
            depth = 4 - BELOW - (len(curves) + 1) * ROW
            _legend_below(axis, handles, [folded(curve.name, LEGEND, 2) for curve in curves], depth)
    if len(names) == 1:
        across = len(handles) if len(panels) > 2 and len(handles) < 4 else 1
        labels = [folded(name, 40, 2) for name in next(iter(names))]
        figure.legend(handles, labels, loc="outside lower center", ncols=across)
    _left_labels_only(axes)
    titled(axes, [title for title, _, _ in panels], [folded(test, 30) for _, _, test in panels])
    return figure


@in_style
def incidence_figure(
    panels: Sequence[tuple[str, Sequence[Incidence]]], mark: str = "", *, x_label: str = "Days"
) -> Figure:
    """Cumulative incidence of competing events after Aalen and Johansen.

    Args:
        panels: title and curves; each curve's name says group and event.
        mark: short warning above the figure.
        x_label: of the time axis.

    Raises:
        InputError: no panels, or a panel without curves.
    """
    if not panels or not all(curves for _, curves in panels):
        raise InputError("a figure of incidence needs panels, each with a curve at least")
    rows, letters = max(len(curves) for _, curves in panels), 40 if len(panels) < 3 else 24
    figure, axes = sheet(len(panels), (66 if len(panels) < 3 else 60) + 4.4 * rows, mark)
    for axis, (_, curves) in zip(axes, panels, strict=True):
        last = max(float(curve.time[-1]) for curve in curves)
        ticks = nice_ticks(last, MOST_TICKS.get(len(panels), 4))
        handles = []
        for number, curve in enumerate(curves):
            handles.append(_steps(axis, (curve.time, curve.probability, curve.low, curve.high), look(number)))
        _time_axis(axis, ticks, x_label, "Cumulative incidence")
        labels = [f"{folded(curve.name, letters, 2)} ({curve.events})" for curve in curves]
        _legend_below(axis, handles, labels, 6 - BELOW)
    _left_labels_only(axes)
    titled(axes, [title for title, _ in panels])
    return figure


@in_style
def timed_auc_figure(
    curves: Sequence[tuple[str, np.ndarray, Sequence[Estimate]]], mark: str = "", *, x_label: str = "Day"
) -> Figure:
    """The area under the ROC curve by day: who has had the event by then, against who has not.

    Args:
        curves: name, days (day,), rising, and the area at each.
        mark: short warning above the figure.
        x_label: of the time axis.

    Raises:
        InputError: no curves, or not one area a day.
    """
    if not curves:
        raise InputError("a figure of AUC by day needs at least one curve")
    figure, (axes,) = sheet(1, 70 + 4.5 * len(curves), mark)
    handles, lowest, last = [], 0.5, 0.0
    for number, (name, days, areas) in enumerate(curves):
        if len(days) != len(areas) or not len(areas):
            raise InputError(f"{name}: {len(days)} days and {len(areas)} areas")
        seen = look(number)
        value, low, high = (np.array([getattr(a, k) for a in areas]) for k in ("value", "low", "high"))
        handles += axes.plot(
            days, value, color=seen.colour, ls=seen.dash, marker=seen.marker, ms=3.5, label=folded(name, 44)
        )
        axes.fill_between(days, low, high, color=seen.colour, alpha=0.15, lw=0)
        lowest, last = min(lowest, float(low.min())), max(last, float(days[-1]))
    axes.axhline(0.5, color=GREY, lw=0.7, ls=":")
    ticks = nice_ticks(last)
    axes.set(xlabel=plain(x_label), ylabel="AUC", ylim=(np.floor(10 * lowest) / 10 - 0.03, 1.0), xticks=ticks)
    axes.set_xlim(0, ticks[-1])
    labels = [str(handle.get_label()) for handle in handles]
    figure.legend(handles, labels, loc="outside lower center", ncols=1)
    return figure


def _legend_below(axes: Axes, handles: Sequence[Line2D], labels: Sequence[str], depth: float) -> None:
    """A legend that begins so many points above (below, where negative) the axis."""
    axes.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(KEY[0], depth), bbox_transform=_points(axes),
        alignment="left", borderaxespad=0,
    )  # fmt: skip


def _days(curves: Sequence[WaitingCurve], days: Sequence[float] | None, most: int) -> np.ndarray:
    if days is not None:
        ticks = np.asarray(days, np.float64)
        if ticks.size < 2 or (np.diff(ticks) <= 0).any() or ticks[0] < 0:
            raise InputError("days on the axis must rise, from 0 or later, and be two at least")
        return ticks
    return nice_ticks(max(float(curve.times[-1]) for curve in curves), most)


def _height(time: np.ndarray, value: np.ndarray, day: np.ndarray | float) -> np.ndarray:
    """Value of a step function at a day; before the first step it has the first value."""
    found: np.ndarray = value[np.searchsorted(time, day, side="right").clip(1) - 1]
    return found


def _waiting_curve(axes: Axes, curve: WaitingCurve, seen: Look, end: float) -> Line2D:
    """The curve, led on to the last follow-up of its group, with its interval and its censored patients."""
    last = min(float(curve.times[-1]), end)
    drawn = [np.append(curve.time, max(last, float(curve.time[-1])))]
    drawn += [np.append(part, part[-1]) for part in (curve.waiting, curve.low, curve.high)]
    line = _steps(axes, (drawn[0], drawn[1], drawn[2], drawn[3]), seen)
    gone = np.unique(curve.censored)
    axes.plot(
        gone, _height(curve.time, curve.waiting, gone), ls="", marker="|", ms=5, mew=0.8, color=seen.colour
    )
    return line


def _steps(axes: Axes, curve: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray], seen: Look) -> Line2D:
    time, value, low, high = curve
    axes.fill_between(time, low, high, step="post", color=seen.colour, alpha=0.15, lw=0)
    (line,) = axes.step(time, value, where="post", color=seen.colour, ls=seen.dash)
    return line


def _time_axis(axes: Axes, ticks: np.ndarray, x_label: str, y_label: str) -> None:
    axes.set(xticks=ticks, xlim=(0, ticks[-1]), ylim=(0, 1.02), yticks=np.linspace(0, 1, 6))
    axes.set_xticklabels([f"{tick:g}" for tick in ticks])
    axes.set(xlabel=plain(x_label), ylabel=folded(y_label, 26, 2))


def _left_labels_only(panels: Sequence[Axes]) -> None:
    """All panels of a figure have one vertical axis: its label stands at the first of each row."""
    for panel in panels:
        place = panel.get_subplotspec()
        if place is not None and not place.is_first_col():
            panel.set_ylabel("")


def _points(axes: Axes) -> Transform:
    """Points (1/72 inch) to the right of and above the lower left corner of the axes."""
    figure = axes.figure
    return (
        Affine2D().scale(1 / 72)
        + figure.dpi_scale_trans
        + ScaledTranslation(0, 0, cast(Affine2DBase, axes.transAxes))
    )


def _numbers_at_risk(axes: Axes, curves: Sequence[WaitingCurve], days: np.ndarray) -> None:
    """A row of numbers for each group, led by its line, under the label of the axis."""
    points = _points(axes)
    under_day = blended_transform_factory(axes.transData, points)
    words: dict[str, Any] = {"fontsize": SMALL, "va": "center"}
    axes.text(KEY[0], -BELOW, "Number at risk", transform=points, **words)
    for row, curve in enumerate(curves):
        depth, seen = -BELOW - (row + 1) * ROW, look(row)
        axes.plot(KEY, [depth] * 2, color=seen.colour, ls=seen.dash, transform=points, clip_on=False)
        for day, count in zip(days, curve.at_risk(days), strict=True):
            axes.text(float(day), depth, f"{count}", transform=under_day, ha="center", **words)
