"""Masks as runs of voxels along x, and their connected parts: much less to look at than every voxel.

The lungs of a scan are some ten million voxels but fewer than a hundred thousand runs: their parts are found
several times faster than by labelling voxels. Arrays have axes (z, y, x).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Touching = Literal["corners", "faces", "in plane"]  # voxels that belong together: 26, 6, or 4 of a slice


@dataclass(frozen=True, eq=False)
class Runs:
    """Runs of a mask in rising order; each lies within one row.

    Places are indices into the flattened mask with one empty row and one empty column added at the far end.

    Attributes:
        start: place of each run's first voxel.
        stop: place after its last voxel.
        shape: of the mask.
    """

    start: np.ndarray
    stop: np.ndarray
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: np.ndarray) -> "Runs":
        """The runs of a mask, bool."""
        z, y, x = mask.shape
        wide = np.zeros((z, y + 1, x + 1), bool)
        wide[:, :y, :x] = mask
        flat = wide.ravel()
        edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
        if flat[:1].any():
            edges = np.concatenate([[0], edges])
        return cls(edges[::2], edges[1::2], (z, y, x))

    @property
    def sizes(self) -> np.ndarray:
        """Voxels of each run."""
        return np.asarray(self.stop - self.start)

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Index z and y of each run."""
        z, y = np.divmod(self.start // (self.shape[2] + 1), self.shape[1] + 1)
        return z, y

    def parts(self, touching: Touching) -> tuple[int, np.ndarray]:
        """How many connected parts there are, and which one (from 0) each run belongs to."""
        row = self.shape[2] + 1
        plane = row * (self.shape[1] + 1)
        steps = {"corners": (row, plane - row, plane, plane + row), "faces": (row, plane), "in plane": (row,)}
        pairs = [self._meeting(step, int(touching == "corners")) for step in steps[touching]]
        one, other = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
        return _connected(len(self.start), one, other)

    def _meeting(self, step: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of runs of which the second, a step farther on, lies beside the first."""
        first = np.searchsorted(self.stop, self.start + (step - reach), side="right")
        count = np.searchsorted(self.start, self.stop + (step + reach), side="left") - first
        one = np.repeat(np.arange(len(count)), count)
        before = np.cumsum(count) - count
        return one, first[one] + np.arange(len(one)) - before[one]

    def painted(self, values: np.ndarray) -> np.ndarray:
        """The array (z, y, x) that holds each run's value on its voxels and 0 elsewhere."""
        z, y, x = self.shape
        bounds = np.stack([self.start, self.stop], 1).ravel()
        lengths = np.diff(bounds, prepend=0, append=z * (y + 1) * (x + 1))
        flat = np.zeros(len(lengths), values.dtype)
        flat[1::2] = values
        return np.asarray(np.repeat(flat, lengths).reshape(z, y + 1, x + 1)[:, :y, :x])

    def cut(self, places: np.ndarray) -> "tuple[Runs, np.ndarray]":
        """Cut each run at a place of its own.

        Args:
            places: one for each run; what lies before it is the first piece, the rest the second.

        Returns:
            The pieces that are not empty, and whether each is a second one.
        """
        middle = np.clip(places, self.start, self.stop)
        start = np.stack([self.start, middle], 1).ravel()
        stop = np.stack([middle, self.stop], 1).ravel()
        there = stop > start
        second = np.tile([False, True], len(middle))
        return Runs(start[there], stop[there], self.shape), second[there]


def _connected(count: int, one: np.ndarray, other: np.ndarray) -> tuple[int, np.ndarray]:
    """Connected parts of a graph: how many, and the part of each node, in the order of their first nodes.

    As `scipy.sparse.csgraph.connected_components`, whose import takes longer than a scan's graphs.

    Args:
        count: of the nodes.
        one: a node of each edge.
        other: the other node.
    """
    first = np.arange(count)  # a node of the same part, at last its first
    while one.size:
        a, b = first[one], first[other]
        first[np.maximum(a, b)] = np.minimum(a, b)
        while not np.array_equal(farther := first[first], first):
            first = farther
        apart = first[one] != first[other]
        one, other = one[apart], other[apart]
    is_first = first == np.arange(count)
    return int(is_first.sum()), (np.cumsum(is_first) - 1)[first]
