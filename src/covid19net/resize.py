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
        columns: those that are left; none of a row of zeros.
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
    if size == 1:
        matrix = np.ones((new_size, 1))
    else:
        matrix = _spline(size, new_size) if order > 1 else _weights(size, new_size, _HAT)
    # A spline's weights fade without end; the smallest would be denormal numbers: products ten times slower.
    matrix[np.abs(matrix) < SMALLEST_WEIGHT] = 0
    matrix = matrix.astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def _spline(size: int, new_size: int) -> np.ndarray:
    """Cubic: the spline through the voxels, mirrored at its ends as scipy does, at the new places."""
    # At the voxels a cubic B-spline is 1/6, 4/6, 1/6; the one beyond an end is the one before it.
    through = (4 * np.eye(size) + np.eye(size, k=1) + np.eye(size, k=-1)) / 6
    through[0, 1] = through[-1, -2] = 2 / 6
    return np.asarray(_weights(size, new_size, _CUBIC) @ np.linalg.inv(through))


# B-splines between two voxels: for each voxel around, factors of the powers 0 to 3 of the way between them.
_HAT = np.array([[1, -1, 0, 0], [0, 1, 0, 0]])
_CUBIC = np.array([[1, -3, 3, -1], [4, 0, -6, 3], [1, 3, 3, -3], [0, 0, 0, 1]]) / 6


def _weights(size: int, new_size: int, pieces: np.ndarray) -> np.ndarray:
    """What each voxel's B-spline amounts to at the new places, (new_size, size)."""
    places = np.arange(new_size) * ((size - 1) / max(new_size - 1, 1))
    low = places.astype(int)
    amounts = (places - low)[:, None] ** np.arange(4) @ pieces.T
    around = np.abs(low[:, None] + np.arange(len(pieces)) - (len(pieces) // 2 - 1))
    around = np.where(around < size, around, np.abs(2 * (size - 1) - around))
    matrix = np.zeros((new_size, size))
    np.add.at(matrix, (np.arange(new_size)[:, None], around), amounts)
    # For some sizes rounding puts the last place just beyond the last voxel, where scipy finds nothing. The
    # published weights were made with that.
    matrix[places > size - 1] = 0
    return matrix


def bands(matrix: np.ndarray) -> Bands:
    """A matrix (new size, size), cut for `resized`."""

    def cut() -> Iterator[Band]:
        for start in range(0, len(matrix), BAND):
            part = matrix[start : start + BAND]
            seen = np.flatnonzero(part.any(axis=0))
            columns = slice(int(seen[0]), int(seen[-1]) + 1) if seen.size else slice(0)
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
