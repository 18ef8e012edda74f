"""From the upright grid of results back to the slices as they were acquired."""

import numpy as np

from covid19net.origin import Origin
from covid19net.volume import Overlay


def on_slices(overlay: Overlay, origin: Origin) -> np.ndarray:
    """The values of a mask or map at the pixels of the source slices.

    The turn upright is undone axis by axis, without interpolation. Where the reader interpolated between
    slices or undid the shear of a tilted gantry, a pixel gets the value of the nearest voxel.

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
    out = np.empty((len(origin.slices), rows, columns), overlay.values.dtype)
    for index, each in enumerate(origin.slices):
        at, row, column = (round(value) for value in each.place)
        at = min(at, len(acquired) - 1)
        out[index] = acquired[at, row : row + rows, column : column + columns]
    return out
