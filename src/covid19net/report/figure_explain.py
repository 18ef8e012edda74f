"""Figures of explanations: maps at stages, sanity of a map, patterns of filters."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
import numpy as np

from covid19net.explain.deletion import Curves
from covid19net.explain.filters import Pattern
from covid19net.explain.sanity import Randomised
from covid19net.report.figures import ALARM, GREY, SMALL, in_style, look, sheet, titled
from covid19net.report.montage import LUNG_WINDOW, STRONGEST_BLEND, chosen_slices, warm_colours
from covid19net.volume import Box, CTVolume, Overlay

ACROSS = 4  # slices of a map
MILLIMETRES = 175.0


@in_style
def stages_figure(maps: Mapping[str, Overlay], volume: CTVolume, box: Box, mark: str = "") -> Figure:
    """Heat maps over the same slices, one row for each; the patient's right is on the left.

    Args:
        maps: name -> map on the CT's grid, percent; the last one chooses the slices.
        volume: the scan.
        box: the lung box.
        mark: short warning above the pictures.
    """
    slices = chosen_slices(list(maps.values())[-1].values, box, ACROSS)
    window = box.slices[1:]
    aspect = volume.spacing[1] / volume.spacing[2]
    high = box.shape[1] * aspect / box.shape[2] * MILLIMETRES / len(slices) + 6
    figure = Figure(figsize=(MILLIMETRES / 25.4, high * len(maps) / 25.4), layout="constrained")
    panels = figure.subplots(len(maps), len(slices), squeeze=False)
    low, top = LUNG_WINDOW
    for row, (name, heat) in zip(panels, maps.items(), strict=True):
        for axes, z in zip(row, slices, strict=True):
            grey = np.clip((volume.hu[z][window].astype(np.float32) - low) / (top - low), 0, 1)[..., None]
            share = heat.values[z][window].astype(np.float32)[..., None] / 100
            blend = STRONGEST_BLEND * share
            axes.imshow(grey * (1 - blend) + warm_colours(share[..., 0]) / 255 * blend, aspect=aspect)
            axes.set_axis_off()
        row[0].set_title(name)
    if mark:
        figure.suptitle(mark, x=0.99, ha="right", fontsize=SMALL, color=ALARM, style="italic")
    return figure


@in_style
def sanity_figure(randomised: Randomised, curves: Curves, mark: str = "") -> Figure:
    """What randomising does to a map, and what taking away what it shows does to the score."""
    figure, (left, right) = sheet(2, 80, mark)
    names = ["nothing", *randomised.cascade]
    left.plot(range(len(names)), [1, *randomised.cascade.values()], marker="o", color=look(0).colour)
    whole = len(names) - 0.4
    left.plot([whole] * len(randomised.whole), randomised.whole, ls="", marker="D", color=look(1).colour)
    left.set_xticks([*range(len(names)), whole], [*names, "everything"], rotation=45, ha="right")
    left.axhline(0, color=GREY, lw=0.6)
    left.set(ylabel="correlation with the true map", ylim=(-1.05, 1.05))
    lines = {
        "hottest taken away first": (curves.deletion, 0),
        "random, taken away": (curves.random_deletion, 2),
        "hottest put back first": (curves.insertion, 1),
        "random, put back": (curves.random_insertion, 3),
    }
    for name, (values, number) in lines.items():
        seen = look(number)
        right.plot(100 * curves.share, values, color=seen.colour, ls=seen.dash, label=name)
    right.set(xlabel="% of the lungs' cells", ylabel="probability", ylim=(-0.02, 1.02))
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=1)
    titled([left, right], ["Weights randomised", "Deletion and insertion"])
    return figure


@in_style
def filters_figure(patterns: Sequence[Pattern]) -> Figure:
    """Patterns of one stage: a column for each filter, its axial, coronal and sagittal cut."""
    shape = patterns[0].values.shape
    heights = [shape[1], shape[0], shape[0]]
    across = max(len(patterns), 1)
    wide = 32.0
    high = wide * sum(heights) / shape[2] + 14
    figure = Figure(figsize=((wide * across + 18) / 25.4, high / 25.4), layout="constrained")
    panels = figure.subplots(3, across, squeeze=False, height_ratios=heights)
    for column, pattern in zip(panels.T, patterns, strict=True):
        values = pattern.values
        low, high_ = np.percentile(values, (1, 99))
        z, y, x = (n // 2 for n in values.shape)
        cuts = (values[z], values[::-1, y], values[::-1, :, x])
        for axes, cut in zip(column, cuts, strict=True):
            axes.imshow(cut, cmap="gray", vmin=low, vmax=high_, interpolation="nearest", aspect="auto")
            axes.set(xticks=[], yticks=[])
        column[0].set_title(f"filter {pattern.channel}")
    for axes, name in zip(panels[:, 0], ("axial", "coronal", "sagittal"), strict=True):
        axes.set_ylabel(name)
    return figure
