"""Does the score depend on what a map shows? Deletion and insertion (Petsiuk 2018, "RISE", arXiv 1806.07421).

Taking away what the map shows must lower the score sooner than taking away as much anywhere else in the
lungs, and putting it back must raise it sooner.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.explain.grad_cam import BLOCK3, Grid

STEPS = 8  # of a curve
ORDERS = 2  # random ones, averaged
Progress = Callable[[float], None]
Score = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Curves:
    """The score while cells of the lungs are cleared, or are put back into cleared lungs.

    Attributes:
        share: of the cells, rising from 0 to 1.
        deletion: probability with the hottest cells cleared first.
        insertion: probability with the hottest cells put back first.
        random_deletion: with cells cleared in random order, the mean of several orders.
        random_insertion: with cells put back in random order, likewise.
    """

    share: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    random_deletion: np.ndarray
    random_insertion: np.ndarray

    def areas(self) -> dict[str, float]:
        """Area under each curve, in [0, 1]."""
        names = ("deletion", "insertion", "random_deletion", "random_insertion")
        return {name: float(np.trapezoid(getattr(self, name), self.share)) for name in names}

    @property
    def passes(self) -> bool:
        """Whether the map's order lowers the score sooner, and raises it sooner, than a random one."""
        area = self.areas()
        return area["deletion"] < area["random_deletion"] and area["insertion"] > area["random_insertion"]


def cleared_lungs(image: np.ndarray, lungs: np.ndarray) -> np.ndarray:
    """The lung image with whatever is denser than this lung mostly is taken out of the lungs.

    Args:
        image: the lung image, (z, y, x).
        lungs: on the same voxels, not 0 in the lungs.

    Raises:
        InputError: no lung.
    """
    inside = lungs > 0
    if not inside.any():
        raise InputError("there are no lungs to clear")
    return np.where(inside, np.minimum(image, np.median(image[inside])), image).astype(np.float32)


def cell_order(cam: np.ndarray, lungs: np.ndarray, grid: Grid = BLOCK3) -> tuple[np.ndarray, np.ndarray]:
    """Cells of a map with lung in them, hottest first, and the cell of each voxel of the lung image.

    Args:
        cam: from `grad_cam`, (z, y, x).
        lungs: on the lung image, not 0 in the lungs.
        grid: of the map in voxels of the lung image, see `on_lung_image`.

    Returns:
        Numbers of cells, and for every voxel the number of its cell.
    """
    nearest = []
    for axis, size in enumerate(lungs.shape):
        at = np.rint((np.arange(size) - grid.first_centre[axis]) / grid.stride[axis]).astype(int)
        nearest.append(np.clip(at, 0, cam.shape[axis] - 1))
    z, y, x = np.ix_(*nearest)
    cells = np.asarray((z * cam.shape[1] + y) * cam.shape[2] + x)
    with_lung = np.unique(cells[lungs > 0])
    heat = cam.ravel()[with_lung]
    return with_lung[np.argsort(-heat, kind="stable")], cells


def curves(
    score: Score,
    image: np.ndarray,
    cleared: np.ndarray,
    cells: tuple[np.ndarray, np.ndarray],
    *,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Curves:
    """Deletion and insertion, by the map's order and by random orders of the same cells.

    Args:
        score: probability of an image.
        image: the lung image.
        cleared: from `cleared_lungs`.
        cells: from `cell_order`.
        steps: of each curve.
        progress: called with the share done.
    """
    hottest, cell_of = cells
    share = np.linspace(0, 1, steps + 1)
    counts = np.rint(share * len(hottest)).astype(int)
    ends = {0: score(image), len(hottest): score(cleared)}
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(hottest) for _ in range(ORDERS)]
    runs, done = 2 * (1 + ORDERS) * max(steps - 1, 1), 0

    def deleted(order: np.ndarray) -> np.ndarray:
        """Scores with more and more of an order's cells cleared."""
        nonlocal done
        found = []
        for count in counts:
            if count in ends:
                found.append(ends[int(count)])
                continue
            gone = np.zeros(int(cell_of.max()) + 1, bool)
            gone[order[:count]] = True
            found.append(score(np.where(gone[cell_of], cleared, image)))
            done += 1
            if progress:
                progress(min(done / runs, 1.0))
        return np.array(found)

    # Putting the hottest back first is clearing the coldest first, read backwards.
    random_ = np.array([deleted(order) for order in shuffled])
    back = np.array([deleted(order[::-1])[::-1] for order in shuffled])
    return Curves(
        share, deleted(hottest), deleted(hottest[::-1])[::-1], random_.mean(axis=0), back.mean(axis=0)
    )
