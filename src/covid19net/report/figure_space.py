"""The 64 features of every patient in two dimensions, as in Figure 6e of the paper."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.space import Components
from covid19net.report.figures import ALARM, MANY, folded, in_style, look, sheet


@in_style
def pca_figure(
    space: Components,
    classes: Sequence[str],
    mark: str = "",
    *,
    order: Sequence[str] = (),
    new: np.ndarray | None = None,
) -> Figure:
    """The first two principal components of the features, a point for each patient.

    Args:
        space: with two components at least.
        classes: name of each patient's class, (patient,).
        mark: short warning above the figure.
        order: of the classes in legend and colour; sorted if not given.
        new: features of a patient who is no part of the space, (feature,), to be placed in it.

    Raises:
        InputError: fewer than two components, not one class a patient, or an order without one of them.
    """
    if space.points.shape[1] < 2 or len(classes) != len(space.points):
        raise InputError(
            f"two components and one class a patient are needed: {space.points.shape}, {len(classes)} classes"
        )
    names = list(order) or sorted(set(classes))
    if missing := set(classes) - set(names):
        raise InputError(f"the order of classes lacks {', '.join(sorted(missing))}")
    figure, (axes,) = sheet(1, 80 + 4.4 * -(-len(names) // 2), mark)
    group = np.array(classes)
    many = len(group) > MANY
    for number, name in enumerate(names):
        x, y = space.points[group == name, :2].T
        seen = look(number)
        axes.plot(
            x, y, ls="", marker=seen.marker, ms=1.6 if many else 3.4, color=seen.colour, mew=0,
            alpha=0.4 if many else 0.7, rasterized=many,
        )  # fmt: skip
    handles = [Line2D([], [], ls="", marker=look(i).marker, color=look(i).colour) for i in range(len(names))]
    labels = [f"{folded(name, 44, 1)} ({int((group == name).sum())})" for name in names]
    if new is not None:
        x, y = space.place(new[None])[0, :2]
        axes.plot(x, y, ls="", marker="*", ms=13, color=ALARM, mec="white", mew=0.8, zorder=5)
        handles.append(Line2D([], [], ls="", marker="*", ms=10, color=ALARM))
        labels.append("this patient")
    across = 1 if max(map(len, labels)) > 24 else 2
    figure.legend(handles, labels, loc="outside lower center", ncols=across)
    first, second = 100 * space.shares[:2]
    axes.set(xlabel=f"PC 1 ({first:.1f} % of variance)", ylabel=f"PC 2 ({second:.1f} % of variance)")
    axes.margins(0.06)
    return figure
