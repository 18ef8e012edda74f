"""Where the slices of a series lie: from positions in headers to a regular grid, or to a refusal."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from covid19net.errors import VolumeError

SAME_POSITION = (
    1e-3  # mm; closer slices are at one position (rounding of decimals in headers is 1e-4 and less)
)
JITTER = (
    0.1  # of the slice distance: how far a slice may lie off a regular grid (rounded positions reach 0.08)
)
ROUNDING = 0.1  # mm: as far as positions rounded to 0.1 mm lie off, both ends of the grid being rounded too
LARGEST_JITTER = 0.25  # of the slice distance, whatever the rounding
WHOLE_GAP = (
    0.15  # of the slice distance: how close a gap is to a whole number of them, to say "slices missing"
)
DRIFT = 0.5  # pixels: a shift of the stack in plane, over its whole height, below which tilt is ignored
SIDEWAYS = 1.0  # pixels: how far one slice may lie beside the line through the others
COSINE = 1e-3  # tolerance on direction cosines of one series
FIELD_OF_VIEW = (20.0, 3000.0)  # mm, in plane: no chest CT is outside; metres or micrometres in headers are


class Stack(NamedTuple):
    """Slices in order.

    Attributes:
        order: indices of the slices, towards the head first axis rising.
        step: mm from each slice to the next, (x, y, z).
        gaps: list of (index in `order` before the gap, slices missing there).
        regular: whether a grid with `step` describes every position.
    """

    order: np.ndarray
    step: np.ndarray
    gaps: tuple[tuple[int, float], ...]
    regular: bool


@dataclass(frozen=True)
class Planes:
    """Geometry of n parallel slices of one size.

    Attributes:
        positions: (n, 3), mm, LPS: centre of each slice's first pixel.
        along_row: direction in which the column index grows, (x, y, z), length 1.
        along_column: direction in which the row index grows.
        spacing: mm between rows, between columns.
    """

    positions: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    spacing: tuple[float, float]

    @property
    def normal(self) -> np.ndarray:
        """Perpendicular to the slices, turned so that it does not point to the feet."""
        normal = np.cross(self.along_row, self.along_column)
        leading = normal[np.argmax(np.abs(normal))]
        return np.asarray(normal if leading > 0 else -normal)

    @property
    def heights(self) -> np.ndarray:
        """Place of each slice along the normal, mm."""
        return np.asarray(self.positions @ self.normal)


def is_orientation(cosines: np.ndarray) -> bool:
    """Whether six direction cosines are two perpendicular vectors of length 1, as far as rounding allows."""
    if not np.abs(cosines).max() < 2:  # before squares are taken: headers hold 1e308 and NaN
        return False
    row, column = cosines[:3], cosines[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(min(lengths) > 0.9 and max(lengths) < 1.1 and abs(row @ column) < 0.01)


def make_planes(positions: np.ndarray, orientation: np.ndarray, spacing: tuple[float, ...]) -> Planes:
    """Check an orientation and pixel spacing from headers and make planes of them.

    Args:
        positions: (n, 3), mm.
        orientation: six direction cosines, row then column.
        spacing: mm between rows, between columns.

    Raises:
        VolumeError: cosines not perpendicular unit vectors; spacing zero, negative or not a number.
    """
    row, column = orientation[:3], orientation[3:]
    if not is_orientation(orientation):
        raise VolumeError("ImageOrientationPatient does not hold two perpendicular unit vectors")
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise VolumeError("PixelSpacing is zero, negative or not a number")
    if not np.isfinite(positions).all():
        raise VolumeError("ImagePositionPatient holds values that are not numbers")
    return Planes(positions, row, column, (spacing[0], spacing[1]))


def doubled(planes: Planes) -> list[np.ndarray]:
    """Groups of slices at one position, each with two or more indices."""
    order = np.argsort(planes.heights, kind="stable")
    new = np.diff(planes.heights[order]) > SAME_POSITION
    groups = np.split(order, np.flatnonzero(new) + 1)
    return [group for group in groups if len(group) > 1]


def stack(planes: Planes) -> Stack:
    """Put slices in order and say whether they form a regular grid.

    Args:
        planes: at least two, all at different heights.
    """
    order = np.argsort(planes.heights, kind="stable")
    heights = planes.heights[order]
    distances = np.diff(heights)
    # The median distance is upset by rounded positions; the whole extent is not, unless slices are missing.
    spacing = (heights[-1] - heights[0]) / (len(heights) - 1)
    index = np.arange(len(heights))
    tolerance = max(JITTER * spacing, min(ROUNDING, LARGEST_JITTER * spacing))
    regular = bool((np.abs(heights - heights[0] - spacing * index) <= tolerance).all())
    if not regular:
        spacing = float(np.median(distances))
    gaps = () if regular else _gaps(distances, spacing)
    step = _step(planes.positions[order], heights, spacing)
    return Stack(order, step, gaps, regular)


def _gaps(distances: np.ndarray, spacing: float) -> tuple[tuple[int, float], ...]:
    odd = np.flatnonzero(np.abs(distances - spacing) > JITTER * spacing)
    return tuple((int(at), float(distances[at] / spacing - 1)) for at in odd)


def _step(positions: np.ndarray, heights: np.ndarray, spacing: float) -> np.ndarray:
    """Displacement from slice to slice, mm: the stack's direction, at the given distance between slices."""
    direction = (positions[-1] - positions[0]) / (heights[-1] - heights[0])
    return np.asarray(direction * spacing)


def describe_gaps(planes: Planes, found: Stack) -> str:
    """One clear clause on what is irregular: how many slices are missing, and where."""
    heights = planes.heights[found.order]
    spacing = float(found.step @ planes.normal)
    whole = [(at, round(n)) for at, n in found.gaps if n > 0.5 and abs(n - round(n)) <= WHOLE_GAP * max(n, 1)]
    if whole and len(whole) == len(found.gaps):
        missing = sum(n for _, n in whole)
        places = ", ".join(f"{heights[at]:.1f} to {heights[at + 1]:.1f} mm" for at, _ in whole[:5])
        more = f" and {len(whole) - 5} more" if len(whole) > 5 else ""
        slices = "1 slice is" if missing == 1 else f"{missing} slices are"
        return f"{slices} missing at z {places}{more} (slices are {spacing:.2f} mm apart)"
    distances = np.diff(heights)
    return f"slices are not equally spaced ({distances.min():.2f} to {distances.max():.2f} mm apart)"


def affine_of(planes: Planes, found: Stack) -> np.ndarray:
    """4x4, from indices (slice, row, column) to mm, LPS; slices perpendicular to the normal.

    Args:
        planes: the slices.
        found: their order.
    """
    affine = np.eye(4)
    affine[:3, 0] = planes.normal * (found.step @ planes.normal)
    affine[:3, 1] = planes.along_column * planes.spacing[0]
    affine[:3, 2] = planes.along_row * planes.spacing[1]
    affine[:3, 3] = planes.positions[found.order[0]]
    return affine


def drift(planes: Planes, found: Stack) -> np.ndarray:
    """Shift of the stack in plane, in pixels (rows, columns) per slice; (0, 0) unless the gantry was tilted.

    The table moves level while a tilted gantry's slices lean: each slice then starts higher or lower in plane
    than the one before.
    """
    sideways = found.step - planes.normal * (found.step @ planes.normal)
    _check_scatter(planes, found)
    per_slice = np.array([sideways @ planes.along_column, sideways @ planes.along_row]) / planes.spacing
    total = np.abs(per_slice) * (len(found.order) - 1)
    return np.asarray(np.where(total > DRIFT, per_slice, 0.0))


def _check_scatter(planes: Planes, found: Stack) -> None:
    """Raise a VolumeError when slices are shifted sideways one by one, as no table or tilt does."""
    positions = planes.positions[found.order]
    along = (planes.heights[found.order] - planes.heights[found.order[0]])[:, None]
    expected = positions[0] + found.step / (found.step @ planes.normal) * along
    off = np.linalg.norm(positions - expected, axis=1)
    if off.max() > SIDEWAYS * max(planes.spacing):
        worst = int(np.argmax(off))
        raise VolumeError(
            f"slice {worst + 1} from below lies {off[worst]:.1f} mm beside the line of the others: slices of "
            "different fields of view were mixed"
        )


def straighten(hu: np.ndarray, per_slice: np.ndarray, air: float) -> tuple[np.ndarray, np.ndarray]:
    """Undo the shear of a tilted gantry: slide every slice to its place on a rectangular grid.

    Slices keep their lean, and their values but for linear interpolation between neighbouring pixels; the
    frame grows so that nothing is cut off.

    Args:
        hu: axes (slice, row, column).
        per_slice: shift in pixels (rows, columns) from slice to slice.
        air: HU to fill with.

    Returns:
        The new array, and the place of the old first pixel of the first slice in it, (row, column).
    """
    from scipy.ndimage import shift

    shifts = np.arange(len(hu))[:, None] * per_slice
    shifts -= shifts.min(axis=0)
    grown = np.ceil(shifts.max(axis=0) - 1e-6).astype(int)
    rows, columns = hu.shape[1] + grown[0], hu.shape[2] + grown[1]
    out = np.full((len(hu), rows, columns), air, hu.dtype)
    for index, image in enumerate(hu):
        whole = np.floor(shifts[index]).astype(int)
        rest = shifts[index] - whole
        framed = np.pad(image.astype(np.float32), ((0, 1), (0, 1)), constant_values=air)
        moved = shift(framed, rest, order=1, mode="constant", cval=air) if rest.any() else framed
        target = out[index, whole[0] : whole[0] + framed.shape[0], whole[1] : whole[1] + framed.shape[1]]
        moved = moved[: target.shape[0], : target.shape[1]]
        target[...] = np.rint(moved) if hu.dtype.kind == "i" else moved
    return out, shifts[0]


def regrid(hu: np.ndarray, heights: np.ndarray, spacing: float) -> np.ndarray:
    """Interpolate linearly between slices onto equal distances.

    Args:
        hu: axes (slice, row, column).
        heights: place of each slice, mm, rising.
        spacing: wanted distance, mm.
    """
    wanted = np.arange(heights[0], heights[-1] + spacing * 1e-3, spacing)
    out = np.empty((len(wanted), *hu.shape[1:]), hu.dtype)
    for index, height in enumerate(wanted):
        above = int(np.clip(np.searchsorted(heights, height), 1, len(heights) - 1))
        share = np.clip((height - heights[above - 1]) / (heights[above] - heights[above - 1]), 0, 1)
        mixed = hu[above - 1] * np.float32(1 - share) + hu[above] * np.float32(share)
        out[index] = np.rint(mixed) if hu.dtype.kind == "i" else mixed
    return out


def check_field_of_view(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    """Raise a VolumeError when the image is no size a chest CT can have, as with metres in a header."""
    sides = [n * s for n, s in zip(shape, spacing, strict=True)]
    if max(sides[1:]) < FIELD_OF_VIEW[0] or max(sides) > FIELD_OF_VIEW[1]:
        text = " x ".join(f"{side:.4g}" for side in sides)
        raise VolumeError(f"the scan would be {text} mm (z, y, x) large: its voxel size is wrong")
