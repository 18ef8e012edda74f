"""Does a map depend on what the network learned? Needs torch.

With randomised weights a map must fall apart (Adebayo 2018, "Sanity checks for saliency maps", NeurIPS
31:9505). Together with deletion and insertion (`covid19net.explain.deletion`) these are tests that the map of
a scan can fail.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit

from covid19net.engine import DiagnosisNetwork
from covid19net.errors import InputError
from covid19net.explain.deletion import Curves, Progress, cell_order, cleared_lungs, curves
from covid19net.explain.evidence import COARSE, similarity
from covid19net.explain.grad_cam import BLOCK3, grad_cam, heat_in_box, on_lung_image
from covid19net.explain.stages import look_inside, parts_of
from covid19net.weights import WeightFile

if TYPE_CHECKING:
    from torch import nn

UNLIKE = 0.5  # correlation with the map of the network as it is; above it, randomised weights did not matter
_CASCADE = {  # from the score back to the image, each row beside those before it
    "score": ("head.predict", "head.transition"),
    "block 4": ("head.block",),
    "block 3": ("backbone.block3", "backbone.transition2"),
    "block 2": ("backbone.block2", "backbone.transition1"),
    "block 1": ("backbone.block1",),
    "stem": ("backbone.stem_conv1", "backbone.stem_conv2"),
}


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
    def mean(self) -> float:
        """Mean size of the correlation after randomising whole networks, in [0, 1]."""
        return float(np.mean(np.abs(self.whole)))

    @property
    def passes(self) -> bool:
        """Whether the map of a wholly randomised network is another map."""
        return self.mean < UNLIKE


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


@dataclass(frozen=True, eq=False)
class Sanity:
    """Both tests of the map of one scan.

    Attributes:
        probability: of COVID-19.
        randomised: what became of the map.
        curves: what became of the score.
    """

    probability: float
    randomised: Randomised
    curves: Curves

    def record(self) -> dict[str, object]:
        """Plain values for JSON."""
        names = ("share", "deletion", "insertion", "random_deletion", "random_insertion")
        return {
            "probability": self.probability,
            "randomised_weights": {
                "correlation_after": {k: round(v, 4) for k, v in self.randomised.cascade.items()},
                "correlation_all_randomised": [round(v, 4) for v in self.randomised.whole],
                "limit": UNLIKE,
                "passes": self.randomised.passes,
            },
            "deletion_insertion": {
                **{name: [round(v, 4) for v in getattr(self.curves, name).tolist()] for name in names},
                "areas": {name: round(area, 4) for name, area in self.curves.areas().items()},
                "passes": self.curves.passes,
            },
        }

    def lines(self) -> tuple[str, str]:
        """The verdicts in words."""
        area = self.curves.areas()
        return (
            f"randomised weights: {'passed' if self.randomised.passes else 'FAILED'} (correlation with "
            f"the true map {self.randomised.mean:.2f} on average, whatever its sign)",
            f"deletion and insertion: {'passed' if self.curves.passes else 'FAILED'} (areas "
            f"{area['deletion']:.3f} and {area['insertion']:.3f}; in random order "
            f"{area['random_deletion']:.3f} and {area['random_insertion']:.3f})",
        )


def examine(
    image: np.ndarray,
    lungs: np.ndarray,
    network: DiagnosisNetwork,
    weights: WeightFile,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> Sanity:
    """Put the map of a scan to both tests.

    Args:
        image: the lung image.
        lungs: on the voxels of the lung box, not 0 in the lungs.
        network: the diagnosis network of the weights.
        weights: the file it is from.
        progress: called with (test, share done).

    Raises:
        InputError: the map is empty.
        WeightsError: torch is not installed.
        ResourceError: not enough memory.
    """

    def told(test: str) -> Progress | None:
        return (lambda share: progress(test, share)) if progress else None

    evidence = network(image)
    cam = grad_cam(evidence)
    if not cam.any():
        raise InputError("the map is empty: there is nothing to test")
    backbone, head = parts_of(weights)
    randomised, _ = randomised_maps(
        backbone, head, image, shrink=evidence.shrink, progress=told("randomised weights")
    )
    nearest = [
        np.rint(np.linspace(0, n - 1, m)).astype(int) for n, m in zip(lungs.shape, image.shape, strict=True)
    ]
    on_image = lungs[np.ix_(*nearest)]
    cells = cell_order(cam, on_image, on_lung_image(BLOCK3, evidence.shrink))
    found = curves(
        lambda picture: float(expit(network(picture).logit)),
        image,
        cleared_lungs(image, on_image),
        cells,
        progress=told("deletion and insertion"),
    )
    return Sanity(float(expit(evidence.logit)), randomised, found)
