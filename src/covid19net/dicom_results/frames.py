"""From the upright grid of results back to the slices as they were acquired."""

import numpy as np

from covid19net.origin import Origin
from covid19net.volume import Overlay


def on_slices(overlay: Overlay, origin: Origin) -> np.ndarray:
    """The values of a mask or map at the pixels of the source slices.

    The turn upright is undone axis by axis, without interpolation. Where the reader interpolated between
    slices or undid the shear of a tilted gantry, a pixel gets the value of the nearest voxel; a pixel that
    the grid does not reach, 0.

    Args:
        overlay: on the grid of the scan, upright.
        origin: the slices the scan was read from.

    Returns:
        Axes (slice, row, column), in the order of `origin.slices`.
    """
    turn = np.linalg.inv(overlay.affine)[:3, :3] @ origin.affine[:3, :3]  # acquired axes as upright ones
    axes = np.abs(turn).argmax(axis=0)
    acquired = overlay.values.transpose(axes)
    backward = [turn[axis, index] < 0 for index, axis in enumerate(axes)]
    acquired = acquired[tuple(slice(None, None, -1) if b else slice(None) for b in backward)]
    rows, columns = origin.size
    out = np.zeros((len(origin.slices), rows, columns), overlay.values.dtype)
    for index, each in enumerate(origin.slices):
        at, row, column = (round(value) for value in each.place)
        at = min(at, len(acquired) - 1)
        part = acquired[at, max(row, 0) : row + rows, max(column, 0) : column + columns]
        first, left = max(-row, 0), max(-column, 0)  # an uneven tilted series may reach out of the grid
        out[index, first : first + part.shape[0], left : left + part.shape[1]] = part
    return out
