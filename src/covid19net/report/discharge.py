"""The picture of a prognosis: the probability of discharge by day, with its interval."""

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from covid19net.cohort import FEWEST_DAYS
from covid19net.prognosis.model import Prognosis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTENDED_USE = "Research software, not a medical device. Not for diagnosis or treatment."
MEANING = (
    "Probability that the patient has been discharged by the end of a day after diagnosis, for patients with "
    f"COVID-19 like those the model was made from: still in hospital after day {FEWEST_DAYS:g}, so nobody is "
    "discharged before it. Deaths count as censored, as in Wang et al. 2020. The "
    "interval holds for each day by itself, and for the average of patients like this one, not for this "
    "patient's own day."
)
WITH_COMPETING = "with_competing: the same, where a patient who dies is never discharged."
SIZE, DPI = (8.0, 6.2), 150  # inches
CURVE_SIZE, CURVE_DPI = (8.0, 3.3), 200
# Okabe and Ito's colours, told apart with any colour vision; groups differ in words and line style as well.
COLOURS = {"low": "#0072B2", "high": "#D55E00"}
GREY, BANNER = "#555555", "#963C00"


def expected_stay(prognosis: Prognosis) -> str:
    """The expected stay in words."""
    curve = prognosis.curve
    mean = f"mean {curve.mean:.0f} days within {curve.horizon:.0f}"
    if curve.median is None:
        return f"median expected stay beyond the {curve.horizon:.0f} days of follow-up, {mean}"
    low, high = (f"{day:.0f}" if day is not None else "?" for day in curve.median_limits)
    return f"median expected stay {curve.median:.0f} days ({low} to {high}), {mean}"


def summary(prognosis: Prognosis) -> str:
    """Group and expected stay in one line."""
    label = " (demonstration model: says nothing about a patient)" if prognosis.about.demonstration else ""
    return f"Discharge: {prognosis.group} risk of a long stay; {expected_stay(prognosis)}{label}"


def discharge_picture(prognosis: Prognosis, path: Path) -> None:
    """Draw a prognosis as PNG.

    Args:
        prognosis: from `predict`, of discharge.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.115, 0.2, 0.855, 0.555))
    _draw_curve(axes, prognosis)
    _draw_median(axes, prognosis)
    _draw_text(figure, prognosis)
    figure.savefig(path, format="png", metadata={"Software": None})  # the same result gives the same bytes


def curve_picture(prognosis: Prognosis, file: BinaryIO) -> tuple[int, int]:
    """Draw the curve alone as PNG, for a page that says the rest; gives its width and height in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=CURVE_SIZE, dpi=CURVE_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.105, 0.18, 0.88, 0.7))
    _draw_curve(axes, prognosis)
    _draw_median(axes, prognosis)
    figure.savefig(file, format="png", metadata={"Software": None})
    width, height = (round(inches * CURVE_DPI) for inches in CURVE_SIZE)
    return width, height


def _draw_curve(axes: "Axes", prognosis: Prognosis) -> None:
    curve, colour = prognosis.curve, COLOURS[prognosis.group]
    band = f"{100 * curve.level:g} % interval"
    axes.fill_between(
        curve.day, curve.low, curve.high, step="post", color=colour, alpha=0.2, lw=0, label=band
    )
    axes.step(
        curve.day,
        curve.probability,
        where="post",
        color=colour,
        lw=2.2,
        label="probability, deaths as censored",
    )
    if curve.with_competing is not None:
        label = "with death as another way out"
        axes.step(curve.day, curve.with_competing, where="post", color=GREY, lw=1.5, ls="--", label=label)
    axes.set(xlim=(0, curve.horizon), ylim=(0, 1.0))
    axes.set_xlabel(f"days since diagnosis, in hospital for more than {FEWEST_DAYS:g}", fontsize=12)
    axes.set_ylabel("probability of discharge", fontsize=12)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{percent} %" for percent in range(0, 101, 20)])
    axes.tick_params(labelsize=11)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.3, ncols=3, fontsize=10, frameon=False,
        columnspacing=1.4, handlelength=1.6,
    )  # fmt: skip


def _draw_median(axes: "Axes", prognosis: Prognosis) -> None:
    curve = prognosis.curve
    if curve.median is None:
        return
    axes.plot([0, curve.median, curve.median], [0.5, 0.5, 0], color="0.25", lw=1, ls=":")
    axes.plot([curve.median], [0.5], "o", color="0.1", ms=6)
    left = curve.median > curve.horizon / 2  # the words go where the curve leaves room
    axes.annotate(
        f"median: day {curve.median:.0f}",
        (curve.median, 0.5),
        xytext=(-9 if left else 14, 9 if left else -20),
        textcoords="offset points",
        ha="right" if left else "left",
        fontsize=11,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def _draw_text(figure: "Figure", prognosis: Prognosis) -> None:
    colour, side = COLOURS[prognosis.group], "at or above" if prognosis.group == "high" else "below"
    title = f"{prognosis.group.capitalize()} risk of a long stay"
    figure.text(0.04, 0.945, title, fontsize=16, color=colour, weight="bold")
    risk = f"risk {prognosis.risk:.2f}, {side} the training median of {prognosis.cut:.2f}"
    figure.text(0.04, 0.9, expected_stay(prognosis), fontsize=11.5)
    figure.text(0.04, 0.86, risk, fontsize=11.5)
    if prognosis.about.demonstration:
        words = "Demonstration model made from synthetic patients: says nothing about a patient."
        figure.text(
            0.5, 0.08, words, fontsize=11, color="white", weight="bold", ha="center",
            bbox={"facecolor": BANNER, "edgecolor": "none", "pad": 4},
        )  # fmt: skip
    figure.text(0.04, 0.025, f"{INTENDED_USE} Model {prognosis.about.name}.", fontsize=9, color=GREY)
