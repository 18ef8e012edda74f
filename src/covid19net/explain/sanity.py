"""Does a map depend on what the network learned, and does the score depend on what the map shows?

Two tests a map can fail: with randomised weights it must fall apart (Adebayo 2018, "Sanity checks for
saliency maps", NeurIPS 31:9505), and taking away what it shows must lower the score sooner than taking away
as much anywhere else (deletion and insertion: Petsiuk 2018, "RISE", arXiv 1806.07421). Randomising needs
torch.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from covid19net.errors import InputError
from covid19net.explain.evidence import COARSE, similarity
from covid19net.explain.grad_cam import BLOCK3, Grid, heat_in_box
from covid19net.explain.stages import look_inside

if TYPE_CHECKING:
    from torch import nn

STEPS = 10  # of a curve
ORDERS = 2  # random ones, averaged
UNLIKE = 0.5  # correlation with the map of the network as it is; above it, randomised weights did not matter
_CASCADE = {  # from the score back to the image, each row beside those before it
    "score": ("head.predict", "head.transition"),
    "block 4": ("head.block",),
    "block 3": ("backbone.block3", "backbone.transition2"),
    "block 2": ("backbone.block2", "backbone.transition1"),
    "block 1": ("backbone.block1",),
    "stem": ("backbone.stem_conv1", "backbone.stem_conv2"),
}
Progress = Callable[[float], None]
Score = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Randomised:
    """Correlation of maps after randomising with the true map, in [-1, 1].

    Attributes:
        cascade: what was randomised, from the score back to the image -> correlation; each row includes those
            before it.
        whole: of so many whole networks with other shuffles, each.
    """

    cascade: dict[str, float]
    whole: tuple[float, ...]

    @property
    def passes(self) -> bool:
        """Whether the map of a wholly randomised network is another map."""
        return bool(np.mean(np.abs(self.whole)) < UNLIKE)


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


def shuffle(module: "nn.Module", rng: np.random.Generator) -> None:
    """Shuffle the numbers of every kernel of a module in place; norms and biases are left alone."""
    import torch

    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1:
                order = torch.from_numpy(rng.permutation(weight.numel()))
                weight.copy_(weight.flatten()[order].view_as(weight))


def randomised_maps(
    backbone: "nn.Module",
    head: "nn.Module",
    image: np.ndarray,
    *,
    shrink: tuple[int, int, int] = (1, 1, 1),
    networks: int = 3,
    progress: Progress | None = None,
) -> tuple[Randomised, dict[str, np.ndarray]]:
    """Draw the map again with more and more of the network randomised.

    Args:
        backbone: of a network; it is copied.
        head: the rest of it; likewise.
        image: the lung image, (z, y, x).
        shrink: as in `Evidence`.
        networks: whole networks to randomise, each in its own way.
        progress: called with the share done.

    Returns:
        The correlations, and the map of each row of the cascade on a coarse grid: "none" is the true one.
    """
    runs = 1 + len(_CASCADE) + networks
    done = 0

    def drawn(body: "nn.Module", top: "nn.Module") -> np.ndarray:
        nonlocal done
        cam = look_inside(body, top, image, ("block3",), shrink)["block3"].grad_cam()
        done += 1
        if progress:
            progress(done / runs)
        return heat_in_box(cam, COARSE, shrink)

    maps = {"none": drawn(backbone, head)}
    body, top, rng = deepcopy(backbone), deepcopy(head), np.random.default_rng(0)
    cascade = {}
    for name, paths in _CASCADE.items():
        inner = getattr(body, "backbone", body)
        for path in paths:
            where, _, rest = path.partition(".")
            shuffle((top if where == "head" else inner).get_submodule(rest), rng)
        maps[name] = drawn(body, top)
        cascade[name] = similarity(maps["none"], maps[name])
    whole = []
    for seed in range(1, networks + 1):
        body, top, rng = deepcopy(backbone), deepcopy(head), np.random.default_rng(seed)
        shuffle(body, rng)
        shuffle(top, rng)
        whole.append(similarity(maps["none"], drawn(body, top)))
    return Randomised(cascade, tuple(whole)), maps


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
        cam: map of a network that sees the whole image, (z, y, x).
        lungs: on the lung image, not 0 in the lungs.
        grid: of the map.

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
