"""What radiologists measure in the lungs: volume, mean density, and how much is as dense as disease.

Counted from the HU inside the lung mask, by side and by third; no network has a part in it but the one that
found the lungs. A share at a density is not a share of disease: vessels, walls of airways and the edge of the
lung, where a voxel is part lung and part chest wall, are dense too, and so is a lung that has breathed out. A
healthy lung therefore has a few percent of either; what the mask leaves out is not counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from covid19net.density import WELL_AERATED
from covid19net.errors import NotChestCTError
from covid19net.lungs import LEFT, RIGHT
from covid19net.stream import cores, overlapped
from covid19net.volume import CTVolume, Overlay

# HU, low end included, high end not. Ground glass begins where Colombi 2020 (Radiology 296:E86) ends the well
# aerated lung, and ends at the -300 HU that told it best from consolidation in BMC Infect Dis 2021
# (doi 10.1186/s12879-021-06556-z); consolidation ends with the lung without air of Lanza 2020 (Eur Radiol
# 30:6770), for what is denser is calcium or contrast medium.
GROUND_GLASS = (WELL_AERATED[1], -300)
CONSOLIDATION = (-300, 100)
WINDOWS = {"ground_glass": GROUND_GLASS, "consolidation": CONSOLIDATION}
SIDES = {"right": RIGHT, "left": LEFT}
THIRDS = ("lower", "middle", "upper")  # as z rises


@dataclass(frozen=True)
class Region:
    """A part of the lungs.

    Attributes:
        millilitres: volume, ml.
        mean_hu: mean density, HU.
        ground_glass: share of this region from -700 to below -300 HU, in [0, 1].
        consolidation: share of this region from -300 to below 100 HU, in [0, 1].
    """

    millilitres: float
    mean_hu: float
    ground_glass: float
    consolidation: float


@dataclass(frozen=True)
class Quantification:
    """Every part of the lungs.

    Attributes:
        regions: "both"; "right" and "left"; "upper", "middle" and "lower"; "right-upper" to "left-lower". A
            region without lung is absent, and so are the sides where it is not known which is which.
    """

    regions: Mapping[str, Region]

    def sides(self, otherwise: tuple[float, float]) -> tuple[float, float]:
        """Millilitres of the (right, left) lung.

        Args:
            otherwise: proportion of two parts, to divide the whole by where no side is known.
        """
        if not {"right", "left"} & self.regions.keys():
            scale = self.regions["both"].millilitres / sum(otherwise)
            return otherwise[0] * scale, otherwise[1] * scale
        right, left = (
            self.regions[side].millilitres if side in self.regions else 0.0 for side in ("right", "left")
        )
        return right, left


def thirds(mask: np.ndarray) -> np.ndarray:
    """Which third of a lung each slice belongs to: a third of its height each, as lung zones are read.

    Height counts, not volume, so that a border does not move where disease has shrunk a part of the lung.

    Args:
        mask: of one lung (both, where they cannot be told apart), (z, y, x), z rising to the head; not empty.

    Returns:
        (z,), 0 lower, 1 middle, 2 upper; of use only between the lung's lowest and highest slice.
    """
    shown = np.flatnonzero(mask.any(axis=(1, 2)))
    low, height = int(shown[0]), int(shown[-1]) + 1 - int(shown[0])
    centres = (np.arange(len(mask)) - low + 0.5) / height
    return np.asarray(np.clip((3 * centres).astype(int), 0, 2))


def quantify(volume: CTVolume, lungs: Overlay, *, sides_known: bool = True) -> Quantification:
    """Measure the lungs of a scan.

    Args:
        volume: the scan, HU, upright.
        lungs: mask on the scan's own grid, 1 right lung, 2 left lung.
        sides_known: whether 1 and 2 mean that; otherwise every voxel that is not 0 is lung of no known side.

    Raises:
        NotChestCTError: the mask is empty.
    """
    labels: Mapping[str, int | None] = SIDES if sides_known else {"": None}
    counted = partial(_sums, volume.hu, lungs.values, tuple(labels.values()))
    by_slice = np.array(list(overlapped(counted, range(len(lungs.values)), cores())))
    cells: dict[tuple[str, str], np.ndarray] = {}
    for number, name in enumerate(labels):
        sums = by_slice[:, number]
        shown = sums[:, :1, None] > 0
        if shown.any():
            lies_in = thirds(shown)
            cells |= {(name, third): sums[lies_in == n].sum(axis=0) for n, third in enumerate(THIRDS)}
    if not cells:
        raise NotChestCTError("no lungs found: no voxel of the scan is lung")
    millilitre = float(np.prod(volume.spacing)) / 1000
    regions = {}
    for side, third in product(("", *SIDES) if sides_known else ("",), ("", *THIRDS)):
        inside = [sums for (s, t), sums in cells.items() if side in ("", s) and third in ("", t)]
        total = np.sum(inside, axis=0) if inside else np.zeros(4)
        if total[0]:
            name = "-".join(filter(None, (side, third))) or "both"
            mean, glass, solid = (float(value) for value in total[1:] / total[0])
            regions[name] = Region(float(total[0]) * millilitre, mean, glass, solid)
    return Quantification(regions)


def _sums(hu: np.ndarray, lungs: np.ndarray, labels: Sequence[int | None], z: int) -> np.ndarray:
    """Of each lung in one slice: voxels, sum of their HU, voxels at ground-glass and consolidation density.

    Args:
        hu: of the scan.
        lungs: mask on its grid.
        labels: of the lungs; None for every voxel that is not 0.
        z: which slice.
    """
    inside = lungs[z] > 0
    of, values = lungs[z][inside], hu[z][inside]
    sums = np.zeros((len(labels), 2 + len(WINDOWS)))
    for row, label in zip(sums, labels, strict=True):
        own = values if label is None else values[of == label]
        shares = [np.count_nonzero((own >= low) & (own < high)) for low, high in WINDOWS.values()]
        row[:] = own.size, own.sum(dtype=np.float64), *shares
    return sums
