"""Suspicious lung areas: Grad-CAM on the patient's own CT grid.

Selvaraju et al. 2017, "Grad-CAM"; Wang et al. 2020, Figure 5. The map is drawn on the features at the end of
dense block 3, whose gradient the converted network gives along with its score.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from covid19net.engine import Evidence, ScanOnDevice
from covid19net.errors import InputError
from covid19net.preprocess import IMAGE_SHAPE
from covid19net.stream import cores, overlapped
from covid19net.volume import Box, CTVolume, Overlay

# Where a voxel of the feature map lies in the lung image: index * STRIDE + FIRST_CENTRE, axes (z, y, x),
# from the network's own strides. Along z three poolings of two: 2 * 2 * 2, centre (8 - 1) / 2. Along y and x
# also the stem of stride 2, whose window of three is padded on the far side only and so is centred on its
# second voxel: 2i + 1, then 4i + 2, 8i + 4, 16i + 8.
STRIDE = (8, 16, 16)
FIRST_CENTRE = (3.5, 8.0, 8.0)
FULL_SCALE = 100  # the largest value of a heat map, in percent


class Grid(NamedTuple):
    """Where the voxels of a stage's maps lie in the lung image: index * stride + first_centre, (z, y, x)."""

    stride: tuple[float, float, float]
    first_centre: tuple[float, float, float]


BLOCK3 = Grid(STRIDE, FIRST_CENTRE)


def on_lung_image(grid: Grid, shrink: Sequence[int]) -> Grid:
    """The grid in voxels of the lung image, where `shrink` of them are one voxel for the network."""
    z, y, x = (stride * by for stride, by in zip(grid.stride, shrink, strict=True))
    # A block's centre is its voxel's.
    first = [at * by + (by - 1) / 2 for at, by in zip(grid.first_centre, shrink, strict=True)]
    return Grid((z, y, x), (first[0], first[1], first[2]))


def weighted_maps(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Grad-CAM of a stage: channels weighted by the mean of their gradient, added, and cut at zero.

    Args:
        maps: (channel, z, y, x).
        gradient: of the score with respect to them.

    Returns:
        float32, >= 0, (z, y, x).
    """
    weights = gradient.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
    return np.asarray(np.maximum(np.tensordot(weights, maps, 1), 0), np.float32)


def grad_cam(evidence: Evidence) -> np.ndarray:
    """The part of the score each place of the feature map argues for.

    Channels are weighted by the mean of their gradient, added, and cut at zero (Grad-CAM, equations 1 and 2).

    Returns:
        float32, >= 0, (6, 15, 23) for a full-size image; all zero when no place argues for COVID-19.
    """
    return weighted_maps(evidence.maps, evidence.gradient)


def _linear_matrix(positions: np.ndarray, size: int) -> np.ndarray:
    """Matrix (positions, size) of linear interpolation; outside the ends the end value holds."""
    positions = np.clip(positions, 0, size - 1)
    low = np.minimum(positions.astype(int), max(size - 2, 0))
    share = (positions - low).astype(np.float32)
    matrix = np.zeros((positions.size, size), np.float32)
    matrix[np.arange(positions.size), low] = 1 - share
    if size > 1:
        matrix[np.arange(positions.size), low + 1] += share
    return matrix


def _to_box(
    cam: np.ndarray, shape: Sequence[int], shrink: Sequence[int], grid: Grid = BLOCK3
) -> list[np.ndarray]:
    """Matrices along (z, y, x) from the map to the voxels of the lung box; see `heat_in_box`."""
    matrices, grid = [], on_lung_image(grid, shrink)
    for axis, size in enumerate(shape):
        image = np.linspace(0, IMAGE_SHAPE[axis] - 1, size)
        cells = (image - grid.first_centre[axis]) / grid.stride[axis]
        matrices.append(_linear_matrix(cells, cam.shape[axis]))
    return matrices


def heat_in_box(
    cam: np.ndarray, shape: Sequence[int], shrink: Sequence[int] = (1, 1, 1), grid: Grid = BLOCK3
) -> np.ndarray:
    """The Grad-CAM map interpolated linearly on the voxels of the lung box.

    The first and last voxel centres of the box are those of the lung image; a voxel of the feature map lies
    where the strides and paddings of the network put it.

    Args:
        cam: from `grad_cam`.
        shape: voxels of the box, (z, y, x).
        shrink: voxels of the lung image that are one voxel for the network, (z, y, x).
        grid: of the stage the map was drawn at.

    Returns:
        float32, of that shape.
    """
    along_z, along_y, along_x = _to_box(cam, shape, shrink, grid)
    return np.asarray(along_y @ (np.tensordot(along_z, cam, 1) @ along_x.T))


def heat_map(
    cam: np.ndarray,
    box: Box,
    volume: CTVolume,
    shrink: Sequence[int] = (1, 1, 1),
    there: ScanOnDevice | None = None,
) -> Overlay:
    """The Grad-CAM map on the CT's own grid.

    Args:
        cam: from `grad_cam`.
        box: the lung box the image was made from.
        volume: the scan.
        shrink: as in `Evidence`.
        there: the scan on a device that is to do the work.

    Returns:
        uint8, percent of the map's own largest value (0 to 100), shape and affine of the CT; zero outside the
        box.
    """
    out = np.zeros(volume.shape, np.uint8)
    if not cam.any():
        return Overlay(out, volume.affine)
    inside = out[box.slices]
    matrices = _to_box(cam, box.shape, shrink)
    if there:
        inside[...] = there.heat(cam, matrices, FULL_SCALE)
        return Overlay(out, volume.affine)
    along_z, along_y, along_x = matrices
    planes = np.tensordot(along_z, cam, 1)

    def drawn(z: int) -> np.ndarray:
        return np.asarray(along_y @ (planes[z] @ along_x.T))

    def put(z: int) -> None:
        inside[z] = np.rint(drawn(z) * scale)

    # Drawn twice, slice by slice, rather than kept: a map in float32 is twice the scan.
    hottest = max(overlapped(lambda z: drawn(z).max(), range(len(inside)), cores()))
    if hottest > 0:  # between the slices of a very coarse scan a warm place can be missed
        scale = FULL_SCALE / hottest
        deque(overlapped(put, range(len(inside)), cores()), maxlen=0)
    return Overlay(out, volume.affine)


def placed(heat: np.ndarray, box: Box, volume: CTVolume) -> Overlay:
    """A map on the voxels of the lung box, >= 0, as `heat_map` gives it: in percent, on the CT's own grid."""
    out = np.zeros(volume.shape, np.uint8)
    if heat.max() > 0:
        out[box.slices] = np.rint(heat * (FULL_SCALE / heat.max())).astype(np.uint8)
    return Overlay(out, volume.affine)


def pointing(heat: np.ndarray, lesions: np.ndarray, shrink: Sequence[int] = (1, 1, 1)) -> tuple[float, bool]:
    """How well a map points at known lesions.

    Args:
        heat: on the voxels of the lung box, from `heat_in_box`.
        lesions: on the same voxels, not 0 where a lesion is.
        shrink: as for `heat_in_box`.

    Returns:
        The share of the map's energy that lies in lesions over the lesions' share of the box (1 is chance; 0
        for an empty map); and whether its hottest place lies in a lesion or less than half a voxel of the
        feature map beside it (the pointing game with a tolerance, Zhang 2018 Int J Comput Vis 126:1084).

    Raises:
        InputError: no lesion.
    """
    inside = lesions > 0
    if not inside.any():
        raise InputError("there is no lesion to point at")
    if not heat.max() > 0:
        return 0.0, False
    share = float(heat[inside].sum() / heat.sum() / inside.mean())
    peak = np.unravel_index(int(heat.argmax()), heat.shape)
    near = []
    for at, size, image, stride, by in zip(peak, heat.shape, IMAGE_SHAPE, STRIDE, shrink, strict=True):
        reach = round(stride * by * size / image / 2)
        near.append(slice(max(int(at) - reach, 0), int(at) + reach + 1))
    return share, bool(inside[tuple(near)].any())
