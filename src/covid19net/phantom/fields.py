"""Shapes and textures as functions of place, the building blocks of the synthetic chest.

Shapes are signed distances in millimetres, negative inside. Everything is evaluated on one axial plane at a
time, so that a few slices of any size cost no more than those slices. Planes are float32 and large, so the
work is done in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from covid19net.phantom.bands import Band

Window = tuple[slice, slice]
Number = TypeVar("Number", float, np.ndarray)
FAR = 1e3  # mm; distance to a shape that the plane does not meet
DEEP = 30.0  # mm around an organ where its distance is known: lesions thin out under the pleura within it


@dataclass(frozen=True, eq=False)
class Plane:
    """One axial plane of the patient, in anatomical coordinates.

    Attributes:
        x: mm to the patient's left of the spine, axes (row, column).
        y: mm behind the centre of the vertebral body at this level, axes (row, column).
        t: mm below the top of the lungs.
        room: coordinates in the room (LPS mm): x of the columns, y of the rows; evenly spaced.
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
        found = []
        for axis in (1, 0):
            (a, b, c), places = self.back[:, axis].tolist(), self.room[axis]
            middle = (x[0] + x[1]) / 2 * a + (y[0] + y[1]) / 2 * b + c
            reach = (x[1] - x[0]) / 2 * abs(a) + (y[1] - y[0]) / 2 * abs(b) + margin
            start, stop = int(places.searchsorted(middle - reach)), int(places.searchsorted(middle + reach))
            if start >= stop:
                return None
            found.append(slice(start, stop))
        return found[0], found[1]

    def cut(self, window: Window) -> "Plane":
        """The part of the plane within an index range of its rows and columns."""
        rows, columns = window
        room = self.room[0][columns], self.room[1][rows]
        return replace(self, x=self.x[window], y=self.y[window], room=room)

    def locate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, as fractions, where the plane has the anatomical coordinates x and y (1-D).

        The warp is undone by steps from the pixel found before; off the plane it is ignored.
        """
        steps = [float(r[1] - r[0]) if len(r) > 1 else 1.0 for r in self.room]
        column, row = ((x * a + y * b + c - r[0]) / s
                       for (a, b, c), r, s in zip(self.back.T, self.room, steps, strict=True))  # fmt: skip
        for _ in range(2):
            i = np.clip(np.rint(row), 0, len(self.room[1]) - 1).astype(np.intp)
            j = np.clip(np.rint(column), 0, len(self.room[0]) - 1).astype(np.intp)
            dx, dy = x - self.x[i, j], y - self.y[i, j]
            column = j + (dx * self.back[0, 0] + dy * self.back[1, 0]) / steps[0]
            row = i + (dx * self.back[0, 1] + dy * self.back[1, 1]) / steps[1]
        return row, column


@dataclass(frozen=True, eq=False)
class Patch:
    """Distance to a shape on the part of a plane that can hold it."""

    window: Window
    distance: np.ndarray


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
    u, v = np.square(dx / half[0]), np.square(dy / half[1])
    rho = u + v
    if corner:
        u *= v
        u *= -4 * corner
        u += np.square(rho, out=v)
        rho += np.sqrt(np.maximum(u, 0, out=u), out=u)
        rho *= 0.5
    np.sqrt(np.maximum(rho, 1e-6, out=rho), out=rho)
    away = np.square(dx, out=u)
    away += np.square(dy, out=v)
    away += 1e-4
    np.sqrt(away, out=away)
    away -= np.divide(away, rho, out=rho)
    return np.asarray(away)


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
    s = px * (dx / square)
    step = py * (dy / square)
    s += step
    s += pt * dt / square
    s.clip(0, 1, out=s)
    px -= np.multiply(s, dx, out=step)
    py -= np.multiply(s, dy, out=step)
    np.subtract(pt, np.multiply(s, dt, out=step), out=step)
    px *= px
    px += np.square(py, out=py)
    px += np.square(step, out=step)
    np.sqrt(px, out=px)
    s *= radii[0] - radii[1]
    px += s
    px -= radii[0]
    return np.asarray(px)


def extent(mask: np.ndarray) -> Window | None:
    """The smallest window that holds all of a mask, None of an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def mirrored(
    plane: Plane, ends: tuple[np.ndarray, np.ndarray], radii: tuple[float, float], reach: float
) -> list[Patch]:
    """A straight tube (x > 0) and its mirror image, each on the part of the plane within `reach` mm."""
    reach += max(radii)
    (x0, x1), (y0, y1) = (sorted((float(ends[0][k]), float(ends[1][k]))) for k in (0, 1))
    found = []
    for side in (-1, 1):
        low, high = sorted((side * x0, side * x1))
        window = plane.window((low - reach, high + reach), (y0 - reach, y1 + reach))
        if window is not None:
            x, y = plane.x[window] * side, plane.y[window]
            found.append(Patch(window, capsule(x, y, plane.t, ends, radii)))
    return found


def stretch(plane: Plane, a: np.ndarray, b: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box (low, high), each (pieces, 2) x and y in mm, that holds what straight tubes show on a plane.

    Args:
        plane: where.
        a: (pieces, 3) x, y, t of one end.
        b: (pieces, 3) of the other end.
        reach: (pieces,) how far from its axis a tube is looked at, mm.
    """
    rise = b[:, 2] - a[:, 2]
    rise = np.where(np.abs(rise) > 1e-3, rise, 1e-3)
    ends = [np.clip((plane.t + sign * reach - a[:, 2]) / rise, 0, 1)[:, None] for sign in (-1, 1)]
    flat = (np.abs(b[:, 2] - a[:, 2]) <= 1e-3)[:, None]  # lies within the plane from end to end
    p = np.where(flat, a, a + ends[0] * (b - a))[:, :2]
    q = np.where(flat, b, a + ends[1] * (b - a))[:, :2]
    return np.minimum(p, q) - reach[:, None], np.maximum(p, q) + reach[:, None]


def nearest(shapes: Sequence[np.ndarray]) -> np.ndarray:
    """Union of shapes; the first is overwritten."""
    for other in shapes[1:]:
        np.minimum(shapes[0], other, out=shapes[0])
    return shapes[0]


def smooth_min(a: np.ndarray, b: np.ndarray, blend: float) -> np.ndarray:
    """Union of two shapes whose common crease is filled over about `blend` mm."""
    h = a - b
    np.subtract(blend, np.abs(h, out=h), out=h)
    np.square(np.maximum(h, 0, out=h), out=h)
    h *= -0.25 / blend
    h += np.minimum(a, b)
    return np.asarray(h)


def cover(distance: np.ndarray, width: float) -> np.ndarray:
    """Part of each pixel inside the shape, 0 to 1, for an edge `width` mm wide."""
    part = distance * (-1 / width)
    part += 0.5
    return part.clip(0, 1, out=part)


def paint(image: np.ndarray, part: np.ndarray, value: np.ndarray | float) -> None:
    """Lay a value over the image, in place, as thick as `part` (0 to 1)."""
    change = value - image
    change *= part
    image += change


def texture(lattice: np.ndarray, cell: float, plane: Plane, shift: float = 0.0) -> np.ndarray:
    """Smooth random field, about standard normal, on a plane.

    A cubic B-spline over a periodic lattice of random numbers; on a grid it is two small matrix products.

    Args:
        lattice: random numbers, equal sides, axes (z, y, x).
        cell: distance of lattice points, mm.
        plane: where.
        shift: lattice points to move on by, for another field from the same numbers.
    """
    side = lattice.shape[0]
    layer = int(np.floor(plane.z / cell + shift))
    along = _spline(plane.z / cell + shift - layer)
    block = along[0] * lattice[(layer - 1) % side]
    for k in (1, 2, 3):
        block += along[k] * lattice[(layer - 1 + k) % side]
    (columns, wide), (rows, high) = (_weights(places.tobytes(), cell, shift, side) for places in plane.room)
    return high.down(wide.across(block.take(rows, 0).take(columns, 1)))


def _spline(f: Number) -> tuple[Number, Number, Number, Number]:
    """Weights of the four lattice points around a place `f` (0 to 1) of the way from the second to the third.

    They are scaled so that the field keeps the variance of the lattice.
    """
    scale = 1 / (6 * 0.69)
    square, rest = f * f * scale, 1 - f
    first, last = rest * rest * rest * scale, square * f
    second = 3 * last - 6 * square + 4 * scale
    return first, second, 6 * scale - first - second - last, last


@lru_cache(maxsize=256)  # the planes of a scan share their rows and columns
def _weights(places: bytes, cell: float, shift: float, side: int) -> tuple[np.ndarray, Band]:
    """Lattice points that rising places (float64, mm) touch, and their weights (places, points)."""
    position = np.frombuffer(places) * (1 / cell) + shift
    base = np.floor(position)
    offset = (base - base[0]).astype(np.intp)
    out = np.zeros((len(position), int(offset[-1]) + 4), np.float32)
    at = np.arange(len(position)) * out.shape[1] + offset
    for k, weight in enumerate(_spline((position - base).astype(np.float32))):
        out.reshape(-1)[at + k] = weight
    return (int(base[0]) - 1 + np.arange(out.shape[1])) % side, Band.of(out)
