"""Products with matrices that are zero far from their diagonal: filters and splines on a grid."""

from dataclasses import dataclass

import numpy as np

_ROWS = 64  # rows a block
_SMALL = 48  # columns up to which one block is fastest


@dataclass(frozen=True, eq=False)
class Band:
    """A matrix as blocks (rows, columns, values) outside of which it is zero."""

    count: int
    blocks: tuple[tuple[slice, slice, np.ndarray], ...]

    @classmethod
    def of(cls, matrix: np.ndarray) -> "Band":
        """Cut a matrix, no row of which is zero throughout, into blocks."""
        count, columns = matrix.shape
        if columns <= _SMALL:
            return cls(count, ((slice(0, count), slice(0, columns), matrix),))
        blocks = []
        for start in range(0, count, _ROWS):
            rows = slice(start, min(start + _ROWS, count))
            used = np.flatnonzero(matrix[rows].any(axis=0))
            span = slice(int(used[0]), int(used[-1]) + 1)
            blocks.append((rows, span, np.ascontiguousarray(matrix[rows, span])))
        return cls(count, tuple(blocks))

    def down(self, image: np.ndarray) -> np.ndarray:
        """The matrix times an image: along its columns."""
        out = np.empty((self.count, image.shape[1]), image.dtype)
        for rows, span, values in self.blocks:
            np.matmul(values, image[span], out=out[rows])
        return out

    def across(self, image: np.ndarray) -> np.ndarray:
        """An image times the matrix transposed: along its rows."""
        out = np.empty((image.shape[0], self.count), image.dtype)
        for rows, span, values in self.blocks:
            np.matmul(image[:, span], values.T, out=out[:, rows])
        return out
