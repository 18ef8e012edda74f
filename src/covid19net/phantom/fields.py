"""Shapes and textures as functions of place, the building blocks of the synthetic chest.

Shapes are signed distances in millimetres, negative inside. Everything is evaluated on one axial plane at a
time, so that a few slices of any size cost no more than those slices.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

Window = tuple[slice, slice]
EVERYWHERE: Window = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class Plane:
    """One axial plane of the patient, in anatomical coordinates.

    Attributes:
        x: mm to the patient's left of the spine, axes (row, column).
        y: mm behind the centre of the vertebral body at this level, axes (row, column).
        t: mm below the top of the lungs.
        room: coordinates in the room (LPS mm): x of the columns, y of the rows.
        z: height in the room, mm.
        pixel: pixel size in anatomical mm.
        back: 3x2 matrix from (x, y, 1) to room (x, y), without the small warp.
    """

    x: np.ndarray
    y: np.ndarray
    t: float
    room: tuple[np.ndarray, np.ndarray]
    z: float
    pixel: float
    back: np.ndarray

    def window(self, x: tuple[float, float], y: tuple[float, float], margin: float = 8.0) -> Window | None:
        """Index range of the rows and columns that can hold a shape within x and y; None when off the plane.

        The margin (mm) covers the warp and the patient's roll.
        """
        corners = np.array([[a, b, 1.0] for a in x for b in y]) @ self.back
        found = []
        for axis, coordinates in ((1, self.room[1]), (0, self.room[0])):
            low, high = corners[:, axis].min() - margin, corners[:, axis].max() + margin
            start, stop = np.searchsorted(coordinates, (low, high))
            if start >= stop:
                return None
            found.append(slice(int(start), int(stop)))
        return found[0], found[1]

    def cut(self, window: Window) -> "Plane":
        """The part of the plane within an index range of its rows and columns."""
        rows, columns = window
        room = self.room[0][columns], self.room[1][rows]
        return replace(self, x=self.x[window], y=self.y[window], room=room)


def squircle(
    dx: np.ndarray, dy: np.ndarray, half: tuple[float | np.ndarray, float | np.ndarray], corner: float = 0.3
) -> np.ndarray:
    """Distance to a shape between ellipse and rectangle, measured along the ray from its centre.

    Args:
        dx: offset from the centre, mm.
        dy: offset from the centre, mm.
        half: half axes (x, y), mm; arrays are allowed.
        corner: 0 gives an ellipse, 1 a rectangle (Fernandez Guasti's squircle).
    """
    u, v = (dx / half[0]) ** 2, (dy / half[1]) ** 2
    rho = u + v
    if corner:
        rho = 0.5 * (rho + np.sqrt(np.maximum(rho * rho - (4 * corner) * u * v, 0)))
    rho = np.sqrt(np.maximum(rho, 1e-6))
    return np.asarray(np.sqrt(dx * dx + dy * dy + 1e-4) * (1 - 1 / rho))


def capsule(
    x: np.ndarray, y: np.ndarray, t: float, ends: tuple[np.ndarray, np.ndarray], radii: tuple[float, float]
) -> np.ndarray:
    """Distance to a straight tube with rounded ends whose radius runs from the first to the second value.

    Args:
        x: anatomical x, mm.
        y: anatomical y, mm.
        t: anatomical depth, mm.
        ends: two points (x, y, t).
        radii: radius at each end, mm.
    """
    (ax, ay, at), (dx, dy, dt) = ends[0].tolist(), (ends[1] - ends[0]).tolist()  # plain floats keep float32
    px, py, pt = x - ax, y - ay, t - at
    square = max(dx * dx + dy * dy + dt * dt, 1e-6)
    s = np.clip(px * (dx / square) + py * (dy / square) + pt * dt / square, 0, 1)
    px -= s * dx
    py -= s * dy
    qt = pt - s * dt
    return np.asarray(np.sqrt(px * px + py * py + qt * qt) - (radii[0] + s * (radii[1] - radii[0])))


def tube(x: np.ndarray, y: np.ndarray, t: float, path: np.ndarray) -> np.ndarray | None:
    """Distance to a bent tube, None when the plane stays clear of it.

    Args:
        x: anatomical x, mm.
        y: anatomical y, mm.
        t: anatomical depth, mm.
        path: rows (x, y, t, radius), mm.
    """
    best = None
    for a, b in pairwise(path):
        reach = max(a[3], b[3]) + 6
        if min(a[2], b[2]) - reach < t < max(a[2], b[2]) + reach:
            f = capsule(x, y, t, (a[:3], b[:3]), (float(a[3]), float(b[3])))
            best = f if best is None else np.minimum(best, f)
    return best


def smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Union of two shapes whose common crease is filled over about `blend` mm."""
    h = np.maximum(blend - np.abs(a - b), 0) / blend
    return np.asarray(np.minimum(a, b) - h * h * (blend * 0.25))


def cover(distance: np.ndarray, width: float) -> np.ndarray:
    """Part of each pixel inside the shape, 0 to 1, for an edge `width` mm wide."""
    return np.clip(0.5 - distance / width, 0, 1)


def paint(image: np.ndarray, part: np.ndarray, value: np.ndarray | float) -> None:
    """Lay a value over the image, in place, as thick as `part` (0 to 1)."""
    image += part * (value - image)


def texture(lattice: np.ndarray, cell: float, plane: Plane, shift: float = 0.0) -> np.ndarray:
    """Smooth random field, about standard normal, on a plane.

    A cubic B-spline over a periodic lattice of random numbers; on a grid it is two small matrix products.

    Args:
        lattice: random numbers, equal sides, axes (z, y, x).
        cell: distance of lattice points, mm.
        plane: where.
        shift: lattice points to move on by, for another field from the same numbers.
    """
    (columns, across), (rows, down), (layers, along) = (
        _weights(places / cell + shift, lattice.shape[0])
        for places in (plane.room[0], plane.room[1], np.array([plane.z]))
    )
    block = lattice[np.ix_(layers, rows, columns)]
    return np.asarray(down @ np.einsum("k,kij->ij", along[0], block) @ across.T)


def _weights(position: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lattice points that rising positions touch, and their B-spline weights (positions, points).

    The weights are scaled so that the field keeps the variance of the lattice.
    """
    base = np.floor(position).astype(int)
    f = (position - base).astype(np.float32)
    first = int(base[0])
    out = np.zeros((len(position), int(base[-1]) - first + 4), np.float32)
    row = np.arange(len(position))
    for k, w in enumerate(((1 - f) ** 3, 3 * f**3 - 6 * f**2 + 4, -3 * f**3 + 3 * f**2 + 3 * f + 1, f**3)):
        out[row, base - first + k] = w / np.float32(6 * 0.69)
    return (first - 1 + np.arange(out.shape[1])) % count, out
