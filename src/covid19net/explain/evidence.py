"""What speaks for a map of suspicious areas, and against it.

A map says where the network's argument lies, not whether it is a good one. Whatever can be checked without
knowing the disease is: does the map lie in the lungs, in dense lung, and does it stay where it is when the
picture is changed in ways that do not matter? The numbers are those of the map as it is written, in percent
of its own largest value, so that all but the stability can be computed again from heatmap.nii.gz and
lungs.nii.gz. Energy is the sum of a map's values, as in the pointing game by energy (Wang 2020, "Score-CAM",
arXiv 1910.01279).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from covid19net.density import WELL_AERATED
from covid19net.engine import Evidence
from covid19net.explain.grad_cam import grad_cam, heat_in_box
from covid19net.lungs import LEFT, RIGHT
from covid19net.preprocess import AIR
from covid19net.quantify import THIRDS, thirds
from covid19net.stream import cores, overlapped
from covid19net.volume import Box, CTVolume, Finding, Overlay

# The lung's own normal range ends this many robust standard deviations above its most frequent HU.
NORMAL_SIGMAS = 3.0
MAD_TO_SD = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
PART = 1_000_000  # voxels counted at a time, so that memory does not grow with the lungs
SMOOTHING = 25  # HU; width of the running mean over the histogram, so that its peak is not one of noise
NOISE = 0.1  # sd of the noise that is added to the lung image, in its own sd
COARSE = (24, 60, 90)  # voxels (z, y, x) maps are compared on: half a cell of theirs, or finer
LEAST_IN_LUNGS = 1.0  # energy in the lungs over what a map spread evenly over the box has there
LEAST_STABLE = 0.5  # correlation of the map with that of the changed picture


@dataclass(frozen=True)
class Stability:
    """Pearson correlation of a map with the one the network draws of a changed picture, in [-1, 1].

    Attributes:
        flip: left and right of the lung image exchanged, and the map exchanged back.
        noise: normal noise added, with a tenth of the lung image's own standard deviation.
    """

    flip: float
    noise: float


@dataclass(frozen=True)
class MapEvidence:
    """Where the energy of a map lies.

    Attributes:
        inside_lungs: share of the energy in the lungs, in [0, 1].
        inside_lungs_over_chance: that, over the lungs' share of the lung box; 1 for a map spread evenly.
        right: share of the energy in the lungs that lies in the right one; None where no side is known.
        left: in the left one; likewise.
        upper: in the upper thirds of the lungs' height.
        middle: in the middle thirds.
        lower: in the lower thirds.
        normal_up_to_hu: end of this lung's own normal range, HU; what lies above is dense lung.
        dense_lung: share of the lungs that is dense, in [0, 1].
        dense_over_chance: share of the energy in the lungs that lies in dense lung, over `dense_lung`; 0
            where none is.
        stability: None where it was not to be checked.
    """

    inside_lungs: float
    inside_lungs_over_chance: float
    right: float | None
    left: float | None
    upper: float
    middle: float
    lower: float
    normal_up_to_hu: float
    dense_lung: float
    dense_over_chance: float
    stability: Stability | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the map is not to be relied on, in words; empty for a map that passes."""
        found = []
        if self.inside_lungs_over_chance < LEAST_IN_LUNGS:
            found.append(
                f"{100 * self.inside_lungs:.0f} % of the map lies in the lungs, less than of a map without "
                "any information"
            )
        changes = {"left and right are exchanged": "flip", "a little noise is added": "noise"}
        for change, name in changes.items():
            if self.stability and getattr(self.stability, name) < LEAST_STABLE:
                correlation = getattr(self.stability, name)
                found.append(f"the map changes when {change} (correlation {correlation:.2f})")
        return tuple(found)

    def summary(self) -> str:
        """Where the map lies, in one line."""
        parts = [
            f"{100 * self.inside_lungs:.0f} % in the lungs ({self.inside_lungs_over_chance:.1f} x chance)"
        ]
        if self.right is not None and self.left is not None:
            parts.append(f"right {100 * self.right:.0f} %, left {100 * self.left:.0f} %")
        heights = {name: 100 * getattr(self, name) for name in ("upper", "middle", "lower")}
        parts.append(", ".join(f"{name} {share:.0f} %" for name, share in heights.items()))
        parts.append(f"in dense lung {self.dense_over_chance:.1f} x chance")
        if self.stability:
            parts.append(f"stability {min(self.stability.flip, self.stability.noise):.2f}")
        return f"Heat map: {'; '.join(parts)}"


def normal_range_end(hu: np.ndarray) -> float:
    """Where the normal range of a lung ends, HU: its mode and three robust standard deviations.

    The mode is sought among well aerated HU. The spread is that of the voxels below it, mirrored: disease
    adds to the other side. It differs with kernel, dose and breath, which is why no fixed limit is taken.

    Args:
        hu: of the voxels of the lungs.
    """
    low, high = WELL_AERATED
    counts = np.zeros(high - AIR + 1, np.int64)
    for part in np.array_split(hu, 1 + hu.size // PART):
        counts += np.bincount(np.clip(part, AIR, high).astype(int) - AIR, minlength=counts.size)
    counts = counts[:-1]  # the last holds whatever is denser
    smooth = np.convolve(counts, np.ones(SMOOTHING), "same")[low - AIR :]
    mode = low + int(np.flatnonzero(smooth == smooth.max()).mean())
    below = hu[hu < mode]
    spread = float(np.median(mode - below)) if below.size else 0.0
    return mode + NORMAL_SIGMAS * MAD_TO_SD * spread


def map_evidence(
    heat: Overlay, lungs: Overlay, volume: CTVolume, box: Box, *, sides_known: bool = True
) -> MapEvidence | None:
    """Where a map lies.

    Args:
        heat: from `heat_map`.
        lungs: on the CT's grid, 1 right lung, 2 left lung.
        volume: the scan, HU.
        box: the lung box.
        sides_known: whether 1 and 2 mean that.

    Returns:
        Without stability; None for a map without energy, or without any in a mask that is empty.
    """
    labels: tuple[int | None, ...] = (RIGHT, LEFT) if sides_known else (None,)
    parts = (each.values[box.slices] for each in (heat, lungs))
    planes = zip(*parts, volume.hu[box.slices], strict=True)
    found = list(overlapped(partial(_in_slice, labels), planes, cores()))
    total = sum(each.total for each in found)
    warmth, hu = (np.concatenate([getattr(each, of) for each in found]) for of in ("warmth", "hu"))
    if not total or not hu.size:
        return None
    end = normal_range_end(hu)
    dense = hu > end
    lung_energy, share = float(warmth.sum(dtype=np.int64)), float(dense.mean())
    of_dense = (
        float(warmth[dense].sum(dtype=np.int64)) / lung_energy / share if lung_energy and share else 0.0
    )
    sides, heights = _distribution(np.array([each.sides for each in found]))
    return MapEvidence(
        inside_lungs=lung_energy / total,
        inside_lungs_over_chance=lung_energy / total / (hu.size / float(np.prod(box.shape))),
        right=sides[0] if sides_known else None,
        left=sides[1] if sides_known else None,
        upper=heights["upper"],
        middle=heights["middle"],
        lower=heights["lower"],
        normal_up_to_hu=end,
        dense_lung=share,
        dense_over_chance=of_dense,
    )


class _InSlice(NamedTuple):
    """One slice of the lung box.

    Attributes:
        total: energy.
        sides: (voxels, energy) of each lung.
        warmth: of the map in the lungs, (voxels,).
        hu: in the lungs, (voxels,).
    """

    total: int
    sides: list[tuple[int, int]]
    warmth: np.ndarray
    hu: np.ndarray


def _in_slice(labels: Sequence[int | None], planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> _InSlice:
    """What is to be known of a slice of the map, the lungs and the scan."""
    energy, lungs, hu = planes
    inside = lungs > 0
    of, warmth = lungs[inside], energy[inside]
    own = [warmth if label is None else warmth[of == label] for label in labels]
    sides = [(each.size, int(each.sum(dtype=np.int64))) for each in own]
    return _InSlice(int(energy.sum(dtype=np.int64)), sides, warmth, hu[inside])


def _distribution(by_slice: np.ndarray) -> tuple[list[float], dict[str, float]]:
    """Shares of the energy in the lungs by side and by third.

    Args:
        by_slice: (slice, lung, voxels and energy).
    """
    heights = dict.fromkeys(THIRDS, 0.0)
    for voxels, energy in by_slice.transpose(1, 2, 0):
        if voxels.any():
            third = thirds(voxels[:, None, None] > 0)
            for number, name in enumerate(THIRDS):
                heights[name] += float(energy[third == number].sum())
    total = sum(heights.values()) or 1.0
    sides = [float(energy) / total for energy in by_slice[:, :, 1].sum(axis=0)]
    return sides, {name: height / total for name, height in heights.items()}


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two maps, in [-1, 1]; 0 where one of them is the same everywhere."""
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def stability(image: np.ndarray, network: Callable[[np.ndarray], Evidence], evidence: Evidence) -> Stability:
    """Whether the map stays where it is; takes two runs of the network.

    Args:
        image: the lung image, (48, 240, 360).
        network: the diagnosis network.
        evidence: what it says of the image.
    """

    def drawn(found: Evidence) -> np.ndarray:
        return heat_in_box(grad_cam(found), COARSE, found.shrink)

    map_ = drawn(evidence)
    flipped = drawn(network(np.ascontiguousarray(image[..., ::-1])))[..., ::-1]
    noise = np.random.default_rng(0).standard_normal(image.shape, np.float32)  # the same each time
    noise *= NOISE * image.std()
    noise += image
    noisy = drawn(network(noise))
    return Stability(similarity(map_, flipped), similarity(map_, noisy))


def check_map(evidence: MapEvidence | None) -> tuple[Finding, ...]:
    """The finding "map-unreliable" for a map that fails a check."""
    if evidence is None or not evidence.failures:
        return ()
    return (Finding("map-unreliable", f"do not rely on the heat map: {'; '.join(evidence.failures)}"),)
