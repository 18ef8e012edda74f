"""Lungs of a CT scan: the segmentation network on its slices, and the mask on the patient's own grid."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from covid19net.engine import LungNetwork, ScanOnDevice
from covid19net.errors import NotChestCTError
from covid19net.lungs import LUNG_PROBABILITY, clean_up, split_sides
from covid19net.preprocess import segmentation_affine, slice_inputs
from covid19net.resize import bands, resized, zoom_matrix
from covid19net.stream import cores, overlapped
from covid19net.volume import CTVolume, Overlay

LARGEST_STEP = 5.0  # mm between segmented slices; the thickest slices of the published data sets
STEP_TOLERANCE = 1.001  # spacing is rounded in headers: 2.5 mm twice is 5 mm


@dataclass(frozen=True, eq=False)
class Lungs:
    """What the segmentation found.

    Attributes:
        mask: uint8 on the network's grid, (z, 256, 256) with one slice for each CT slice: 1 right lung, 2
            left lung. The first and the last slice are empty, because the network needs both neighbours.
        millilitres: volume of the (right, left) lung.
    """

    mask: Overlay
    millilitres: tuple[float, float]


def chosen_slices(count: int, spacing: float, *, every_slice: bool) -> list[int]:
    """Inner slices the network is run on: every one, or evenly no more than 5 mm apart with both ends.

    Args:
        count: slices of the scan.
        spacing: mm between them.
        every_slice: the published procedure.

    Raises:
        NotChestCTError: fewer than three slices.
    """
    if count < 3:
        raise NotChestCTError(f"a scan needs at least 3 slices, this one has {count}")
    step = 1 if every_slice else max(1, int(LARGEST_STEP * STEP_TOLERANCE / spacing))
    inner = np.arange(1, count - 1)
    if step == 1:
        return [int(i) for i in inner]
    stops = -(-(inner.size - 1) // step) + 1
    return sorted({int(i) for i in np.linspace(inner[0], inner[-1], stops).round()})


def lung_probability(
    volume: CTVolume,
    network: LungNetwork,
    *,
    every_slice: bool = False,
    progress: Callable[[int, int], None] | None = None,
    there: ScanOnDevice | None = None,
) -> Overlay:
    """Probability of lung, float32 in [0, 1], (z, 256, 256) with one slice for each CT slice.

    Between segmented slices the probability is interpolated linearly.

    Args:
        volume: the scan.
        network: from `engine.open_lungs`.
        every_slice: run the network on every inner slice, as published, instead of slices up to 5 mm apart.
        progress: called with (slices done, slices in all).
        there: the scan on the network's device, where that is one for `engine.on_device`.
    """
    indices = chosen_slices(volume.shape[0], volume.spacing[0], every_slice=every_slice)
    if there:
        return Overlay(there.lung_probability(network, indices, progress), segmentation_affine(volume))
    found = np.zeros((volume.shape[0], 256, 256), np.float32)
    for done, (index, plane) in enumerate(
        zip(indices, network.stream(slice_inputs(volume, indices)), strict=True), start=1
    ):
        found[index] = plane
        if progress:
            progress(done, len(indices))
    for low, high in pairwise(indices):
        for z in range(low + 1, high):
            share = np.float32((z - low) / (high - low))
            found[z] = (1 - share) * found[low] + share * found[high]
    return Overlay(found, segmentation_affine(volume))


def find_lungs(probability: Overlay, *, clean: bool) -> Lungs:
    """Mask, sides and volumes from the network's probability.

    Args:
        probability: from `lung_probability`.
        clean: remove what is no lung and fill holes in three dimensions; the published procedure does not.

    Raises:
        NotChestCTError: no voxel is lung.
    """
    values = probability.values
    mask = clean_up(values, probability.spacing) if clean else values >= LUNG_PROBABILITY
    mask[[0, -1]] = False
    if not mask.any():
        raise NotChestCTError("no lungs found: no voxel of the scan is lung")
    sides = split_sides(mask, probability.spacing)
    voxel = float(np.prod(probability.spacing)) / 1000
    right, left = (float((sides == side).sum() * voxel) for side in (1, 2))
    return Lungs(Overlay(sides, probability.affine), (right, left))


def lungs_on_ct(
    lungs: Lungs, probability: Overlay, volume: CTVolume, there: ScanOnDevice | None = None
) -> Overlay:
    """The mask on the CT's own grid, uint8: 1 right lung, 2 left lung.

    The probability is resized linearly, so the outline is smooth; where the clean-up changed the mask, the
    cleaned mask wins.

    Args:
        lungs: from `find_lungs`.
        probability: from `lung_probability`.
        volume: the scan.
        there: as for `lung_probability`, with which it was called.
    """
    sides = lungs.mask.values
    (rows, y, on_y), (columns, x, on_x) = (
        _window(np.asarray(sides.any(axis=(0, 3 - axis))), volume.shape[axis]) for axis in (1, 2)
    )
    below = np.nextafter(np.float32(LUNG_PROBABILITY), np.float32(0))
    out = np.zeros(volume.shape, np.uint8)
    slices = [int(z) for z in np.flatnonzero(sides.any(axis=(1, 2)))]
    if there:
        on_z = slice(slices[0], slices[-1] + 1)
        out[on_z, on_y, on_x] = there.lungs_in(sides[on_z, y, x], (on_z, y, x), rows, columns)
        return Overlay(out, volume.affine)

    on_rows, on_columns = bands(rows), bands(columns)

    def put(z: int) -> None:
        side, chance = sides[z, y, x], probability.values[z, y, x]
        chance = np.where(side > 0, np.maximum(chance, LUNG_PROBABILITY), np.minimum(chance, below))
        is_lung = resized(chance, on_rows, on_columns) >= LUNG_PROBABILITY
        toward_right = resized((side == 1).astype(np.float32) - (side == 2), on_rows, on_columns)
        out[z, on_y, on_x] = is_lung * np.where(toward_right > 0, np.uint8(1), np.uint8(2))

    deque(overlapped(put, slices, cores()), maxlen=0)
    return Overlay(out, volume.affine)


def _window(seen: np.ndarray, size: int) -> tuple[np.ndarray, slice, slice]:
    """Linear resizing of the part of an axis that holds lung: matrix, part of the grid, part of the CT."""
    found = np.flatnonzero(seen)
    grid = slice(max(int(found[0]) - 1, 0), int(found[-1]) + 2)  # one pixel more, so that edges can fade
    matrix = zoom_matrix(seen.size, size, 1)
    reached = np.flatnonzero(matrix[:, grid].any(axis=1))
    ct = slice(int(reached[0]), int(reached[-1]) + 1)
    return np.ascontiguousarray(matrix[ct, grid]), grid, ct
