"""Spline interpolation as `scipy.ndimage.zoom` does it, several times faster (see docs/performance.md).

On its default grid (first and last voxel centres stay in place) a zoom is a linear map along each axis, so it
is computed as one matrix for each. A spline fades with distance: the products leave out what is zero.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

SMALLEST_WEIGHT = 1e-12  # of a voxel in a resized one; what is below adds 1e-9 HU at most
BAND = 32  # rows of a matrix multiplied at a time: 512 x 512 to 256 x 256 takes 0.4 instead of 1.5 ms


class Band(NamedTuple):
    """Some rows of a matrix, without the columns on either side that hold nothing but zeros.

    Attributes:
        rows: which.
        columns: those that are left.
        weights: (rows, columns).
    """

    rows: slice
    columns: slice
    weights: np.ndarray


Bands = tuple[Band, ...]


@lru_cache(maxsize=32)
def zoom_matrix(size: int, new_size: int, order: int = 3) -> np.ndarray:
    """The linear map of `scipy.ndimage.zoom` along one axis.

    Args:
        size: voxels before.
        new_size: voxels after.
        order: 3 for the cubic spline, 1 for linear interpolation.

    Returns:
        float32 matrix (new_size, size); read-only, because it is kept for the next scan.
    """
    from scipy import ndimage  # slow to import: not before it is needed

    matrix: np.ndarray = ndimage.zoom(np.eye(size), (new_size / size, 1), order=order).astype(np.float32)
    # A spline's weights fade without end; the smallest would be denormal numbers: products ten times slower.
    matrix[np.abs(matrix) < SMALLEST_WEIGHT] = 0
    if matrix.shape != (new_size, size):  # scipy rounds size * (new_size / size); never seen to differ
        raise AssertionError(f"zoom from {size} to {new_size} gave {matrix.shape}")
    matrix.flags.writeable = False
    return matrix


def bands(matrix: np.ndarray) -> Bands:
    """A matrix (new size, size) in which every row holds something, cut for `resized`."""

    def cut() -> Iterator[Band]:
        for start in range(0, len(matrix), BAND):
            part = matrix[start : start + BAND]
            seen = np.flatnonzero(part.any(axis=0))
            columns = slice(int(seen[0]), int(seen[-1]) + 1)
            yield Band(slice(start, start + len(part)), columns, np.ascontiguousarray(part[:, columns]))

    return tuple(cut())


def resized(planes: np.ndarray, rows: Bands, columns: Bands) -> np.ndarray:
    """Resize planes in both directions: matrix @ plane @ matrix transposed.

    Args:
        planes: float32, (..., y, x).
        rows: of the matrix (new y, y).
        columns: of the matrix (new x, x).

    Returns:
        float32, (..., new y, new x).
    """
    *more, _, width = planes.shape
    half = np.empty((*more, rows[-1].rows.stop, width), np.float32)
    for to, seen, weights in rows:
        np.matmul(weights, planes[..., seen, :], out=half[..., to, :])
    out = np.empty((*half.shape[:-1], columns[-1].rows.stop), np.float32)
    for to, seen, weights in columns:
        np.matmul(half[..., seen], weights.T, out=out[..., to])
    return out


def zoom(array: np.ndarray, shape: tuple[int, int, int], order: int = 3) -> np.ndarray:
    """`scipy.ndimage.zoom` of an array (z, y, x) to a shape, in float32."""
    z, y, x = (zoom_matrix(a, b, order) for a, b in zip(array.shape, shape, strict=True))
    return resized(np.tensordot(z, array.astype(np.float32, copy=False), 1), bands(y), bands(x))
