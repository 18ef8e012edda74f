"""Figures of a diagnosis: ROC curves, scores of single patients (Figure 3), calibration, decision curves."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Calibration, Estimate, RocCurve, mann_whitney
from covid19net.report.figures import (
    COLOURS,
    DOUBLE,
    GREY,
    INK,
    MANY,
    SINGLE,
    SMALL,
    folded,
    in_style,
    look,
    p_text,
    plain,
    sheet,
    titled,
)

GROUPS = ("other pneumonia", "COVID-19")  # names of label False and True
INSIDE = 4  # curves whose legend fits below the curves
HALF_WIDTH = 0.36  # of a cloud of patients, where groups stand 1 apart
GOLDEN = 0.6180339887498949  # its multiples fill an interval evenly, in any number
UNTOLD = 1000  # calibration slope that is not written out
BANDS = 24  # in which a cloud counts its patients to know how wide it is


@in_style
def roc_figure(
    curves: Sequence[tuple[str, RocCurve, Estimate]], threshold: float | None = None, mark: str = ""
) -> Figure:
    """ROC curves with their areas, as in the upper part of Figure 3.

    Args:
        curves: name, curve and area of each set.
        threshold: its operating point is marked on every curve.
        mark: short warning above the figure.

    Raises:
        InputError: no curves.
    """
    _needed(curves, "ROC curve")
    inside = len(curves) <= INSIDE and max(len(name) for name, _, _ in curves) <= 22
    labels = [f"{folded(name, 22 if inside else 40)}\n{_area(area)}" for name, _, area in curves]
    lines = sum(label.count("\n") + 1 for label in labels)
    figure, (axes,) = sheet(1, 82 if inside else 94 + 4.0 * lines, mark)
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.7, ls=":")
    handles = []
    for number, (_, curve, _) in enumerate(curves):
        seen = look(number)
        handles += axes.plot(curve.false_positive_rate, curve.sensitivity, color=seen.colour, ls=seen.dash)
        if threshold is not None:
            at = int((curve.threshold[:-1] > threshold).sum())
            axes.plot(
                curve.false_positive_rate[at], curve.sensitivity[at], ls="", color=seen.colour,
                marker=seen.marker, ms=5.5, mec="white", mew=0.7, zorder=5, clip_on=False,
            )  # fmt: skip
    if threshold is not None:
        handles.append(Line2D([], [], ls="", marker="o", color=GREY))
        labels.append(f"at threshold {threshold:.3g}")
    title = f"AUC ({100 * curves[0][2].level:g}% CI)"
    if inside:
        axes.legend(handles, labels, loc="lower right", title=title, alignment="left", borderaxespad=0.2)
    else:
        figure.legend(handles, labels, loc="outside lower center", title=title, alignment="left")
    axes.set(xlabel="1 \N{MINUS SIGN} specificity", ylabel="Sensitivity", aspect="equal")
    _unit_square(axes)
    return figure


@in_style
def score_figure(
    sets: Sequence[tuple[str, np.ndarray, np.ndarray]],
    threshold: float | None = None,
    mark: str = "",
    *,
    groups: tuple[str, str] = GROUPS,
    score_name: str = "COVID-19 probability",
) -> Figure:
    """Scores of every patient of both groups, as in the lower part of Figure 3.

    Each patient is a point, in a cloud that is as wide as scores are frequent there; a bar shows the median
    and the quartiles. Above each set stands p of Mann and Whitney's test, where it has both groups.

    Args:
        sets: name, label (bool) and score of each, both (patient,).
        threshold: drawn across.
        mark: short warning above the figure.
        groups: names of label False and True.
        score_name: on the axis.

    Raises:
        InputError: no sets, or label and score of unlike shapes.
    """
    _needed(sets, "set of scores")
    wide = len(sets) > 2
    figure, (axes,) = sheet(1, 84, mark, width=DOUBLE if wide else SINGLE)
    highest = max((float(np.max(score)) for _, _, score in sets if np.size(score)), default=1.0)
    lowest = min((float(np.min(score)) for _, _, score in sets if np.size(score)), default=0.0)
    room = 0.04 * (highest - lowest or 1.0)
    for place, (name, label, score) in enumerate(sets):
        label, score = np.asarray(label, bool), np.asarray(score, np.float64)
        if label.ndim != 1 or label.shape != score.shape:
            raise InputError(f"{name}: label has shape {label.shape}, score {score.shape}")
        for positive in (False, True):
            _cloud(axes, 2.4 * place + positive, score[label == positive], positive)
        if label.any() and not label.all():
            p = p_text(mann_whitney(label, score).p)
            axes.text(2.4 * place + 0.5, highest + 2 * room, p, ha="center", va="bottom", fontsize=SMALL)
            axes.plot([2.4 * place, 2.4 * place + 1], [highest + 1.6 * room] * 2, color=INK, lw=0.6)
    if threshold is not None:
        axes.axhline(threshold, color=GREY, lw=0.8, ls=(0, (4, 3)), zorder=0)
    axes.set_xticks(
        [2.4 * place + 0.5 for place in range(len(sets))],
        [_set_name(name, label, DOUBLE / len(sets) if wide else 42) for name, label, _ in sets],
    )
    axes.tick_params(axis="x", length=0)
    axes.set(ylabel=plain(score_name), xlim=(-0.7, 2.4 * len(sets) - 0.7))
    axes.set_ylim(lowest - room, highest + 4.5 * room)
    handles = [
        Line2D([], [], ls="", marker="os"[i], color=COLOURS[i], label=plain(groups[i])) for i in (0, 1)
    ]
    if threshold is not None:
        handles.append(Line2D([], [], color=GREY, lw=0.8, ls=(0, (4, 3)), label=f"threshold {threshold:.3g}"))
    labels = [str(handle.get_label()) for handle in handles]
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if wide else 2, columnspacing=1.2)
    return figure


@in_style
def calibration_figure(sets: Sequence[tuple[str, Calibration]], mark: str = "") -> Figure:
    """Reliability diagrams: observed share against predicted probability, with Wilson's intervals.

    Args:
        sets: name and calibration of each, a panel each.
        mark: short warning above the figure.

    Raises:
        InputError: no sets.
    """
    _needed(sets, "calibration")
    height = 92 if len(sets) in (1, 2, 4) else 70  # about a square beside its labels
    height += 8 if max(len(name) for name, _ in sets) > 20 else 0  # titles of several lines
    figure, panels = sheet(len(sets), height, mark)
    for axes, (_, found) in zip(panels, sets, strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, lw=0.7, ls=":")
        predicted = [b.predicted for b in found.bins]
        observed = np.array([b.observed.value for b in found.bins])
        low = observed - [b.observed.low for b in found.bins]
        high = np.array([b.observed.high for b in found.bins]) - observed
        axes.errorbar(
            predicted, observed, [low.clip(0), high.clip(0)], fmt="o", color=COLOURS[0], lw=0.8, ms=4,
            mec="white", mew=0.4, clip_on=False,
        )  # fmt: skip
        axes.set(xlabel="Predicted probability", ylabel="Observed share")
        _unit_square(axes)
    titled(panels, [name for name, _ in sets], [_calibration_note(found) for _, found in sets])
    return figure


@in_style
def decision_figure(
    thresholds: np.ndarray,
    models: Sequence[tuple[str, np.ndarray]],
    treat_all: np.ndarray,
    mark: str = "",
) -> Figure:
    """Decision curves: net benefit by the probability above which one would act (Vickers and Elkin 2006).

    Args:
        thresholds: probabilities, rising, (threshold,).
        models: name and net benefit of each, (threshold,).
        treat_all: net benefit of acting on everybody, (threshold,).
        mark: short warning above the figure.

    Raises:
        InputError: no models.
    """
    _needed(models, "model")
    figure, (axes,) = sheet(1, 68 + 4 * len(models), mark)
    handles = axes.plot(thresholds, treat_all, color=GREY, lw=0.9, label="everybody")
    handles += [axes.axhline(0, color=INK, lw=0.9, ls=(0, (2, 2)), label="nobody")]
    for number, (name, benefit) in enumerate(models):
        seen = look(number)
        handles += axes.plot(
            thresholds, benefit, color=seen.colour, ls=seen.dash, label=folded(name, 44), zorder=3
        )
    top = max(float(np.max(line)) for line in (treat_all, *(benefit for _, benefit in models)))
    axes.set(xlabel="Threshold probability", ylabel="Net benefit", ylim=(-0.15 * max(top, 0.05), 1.08 * top))
    axes.set_xlim(float(thresholds[0]), float(thresholds[-1]))
    labels = [str(handle.get_label()) for handle in handles]
    figure.legend(handles, labels, loc="outside lower center", ncols=1 if _long(labels) else 2)
    return figure


def _area(area: Estimate) -> str:
    return f"{area.value:.2f} ({_limits(area)})"


def _long(labels: Sequence[str]) -> bool:
    return max(len(label) for label in labels) > 22


def _needed(given: Sequence[object], what: str) -> None:
    if not given:
        raise InputError(f"a figure needs at least one {what}")


def _limits(estimate: Estimate) -> str:
    dash = " to " if estimate.low < 0 else "\N{EN DASH}"
    return f"{estimate.low:.2f}{dash}{estimate.high:.2f}".replace("-", "\N{MINUS SIGN}")


def _calibration_note(found: Calibration) -> str:
    slope = "none" if found.slope is None else _area(found.slope)
    if found.slope is not None and max(map(abs, (found.slope.low, found.slope.high))) >= UNTOLD:
        slope = f"beyond {UNTOLD}"  # scores that hardly differ; digits wider than the panel tell nothing
    return f"Brier {found.brier.value:.3f}, in the large {_signed(found.in_the_large.value)}\nslope {slope}"


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "\N{MINUS SIGN}")


def _unit_square(axes: Axes) -> None:
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks)


def _set_name(name: str, label: np.ndarray, width: float) -> str:
    positive = int(np.sum(label))
    return f"{folded(name, max(8, int(width / 2.1)))}\n{np.size(label) - positive} / {positive}"


def _cloud(axes: Axes, centre: float, score: np.ndarray, positive: bool) -> None:
    """The patients of a group as points, with median and quartiles."""
    if not score.size:
        return
    low, high = float(score.min()), float(score.max())
    at = (score - low) / ((high - low) or 1) * (BANDS - 1)
    counts = np.convolve(np.bincount(at.round().astype(int), minlength=BANDS), (0.25, 0.5, 0.25), "same")
    crowd = np.interp(at, np.arange(BANDS), counts)
    within = np.empty(score.size)
    within[np.argsort(score, kind="stable")] = (0.5 + GOLDEN * np.arange(score.size)) % 1 * 2 - 1
    width = HALF_WIDTH * crowd / crowd.max() * min(1.0, 0.25 + crowd.max() / 12)
    many = score.size > MANY
    axes.plot(
        centre + within * width, score, ls="", marker="os"[positive], ms=1.4 if many else 2.4,
        color=COLOURS[positive], alpha=0.35 if many else 0.6, mew=0, rasterized=many, zorder=2,
    )  # fmt: skip
    first, median, third = np.quantile(score, [0.25, 0.5, 0.75])
    axes.plot([centre] * 2, [first, third], color=INK, lw=2.4, solid_capstyle="butt", zorder=3)
    axes.plot(centre, median, marker="D", ms=4, mfc="white", mec=INK, mew=0.8, ls="", zorder=4)
