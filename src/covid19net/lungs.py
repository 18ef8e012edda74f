"""The lung mask in three dimensions: stray parts off, enclosed holes filled, right and left told apart.

Arrays have axes (z, y, x): z rises to the head, y to the back, x to the patient's left.
"""

import numpy as np

from covid19net.runs import Runs

LUNG_PROBABILITY = 0.5  # a voxel at or above it is lung
SECOND_LUNG = 0.1  # share of the largest part; a part of at least this size is a lung wherever it lies
FRAGMENT = 1.0  # ml; smaller parts are dropped
FRAGMENT_PEAK = 0.9  # a fragment must hold a voxel the network is this sure of
NEAR = 10.0  # mm between a fragment and a lung it may belong to
LARGEST_VESSEL = 100.0  # mm2; larger holes of an axial slice may be the dome of the diaphragm and stay open
ONE_LUNG = (
    0.75  # depth of the valley between the lungs over the lower of both peaks; above it there is one lung
)
WHOLE = 0.98  # share of a part on one side of the midline from which the whole part belongs to that side
DETOUR = 0.5  # voxels of lung; price of a row in which the border runs along the lungs' outer edge
STEEPEST = 2  # columns the border between the lungs may move from one row to the next
RIGHT, LEFT = 1, 2


def clean_up(probability: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """The lungs alone, whole: parts that are no lung removed, vessels and enclosed disease filled in.

    Kept are the largest connected part, every part of at least a tenth of its size, and smaller parts of at
    least 1 ml that lie within 10 mm of these. Filled are holes without a way out in three dimensions, of any
    size, and holes of axial slices up to 1 cm2.

    Args:
        probability: of lung, in [0, 1], axes (z, y, x).
        spacing: voxel size in mm, axes (z, y, x).

    Returns:
        bool, the shape of `probability`; empty where no voxel reaches 0.5.
    """
    mask = np.asarray(probability >= LUNG_PROBABILITY)
    window = _window(mask)
    if window is None:
        return mask
    inner = _lung_parts(mask[window], probability[window], spacing)
    cleaned = np.zeros_like(mask)
    cleaned[window] = _filled(inner, spacing[1] * spacing[2])
    return cleaned


def _window(mask: np.ndarray) -> tuple[slice, slice, slice] | None:
    """The bounding box of a mask; None when it is empty."""
    rows: np.ndarray = np.asarray(mask.any(axis=2))
    columns = np.bitwise_or.reduce(mask.reshape(-1, mask.shape[2]), axis=0)
    found = []
    for line in (rows.any(axis=1), rows.any(axis=0), columns):
        seen = np.flatnonzero(line)
        if not seen.size:
            return None
        found.append(slice(int(seen[0]), int(seen[-1]) + 1))
    return found[0], found[1], found[2]


def _lung_parts(mask: np.ndarray, probability: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    runs = Runs.of(mask)
    _, labels = runs.parts("corners")
    size = np.bincount(labels, runs.sizes)
    keep = size >= SECOND_LUNG * size.max()
    fragments = np.flatnonzero(~keep & (size * np.prod(spacing) / 1000 >= FRAGMENT))
    lungs = runs.painted(keep[labels])
    for part in fragments:
        here = runs.painted(labels == part)
        box = _around(here, [int(np.ceil(NEAR / s)) for s in spacing])
        is_sure = probability[here].max() >= FRAGMENT_PEAK
        keep[part] = is_sure and _is_near(here[box], lungs[box], spacing)
    return runs.painted(keep[labels])


def _around(part: np.ndarray, margin: list[int]) -> tuple[slice, ...]:
    box = _window(part)
    assert box is not None
    return tuple(slice(max(b.start - m, 0), b.stop + m) for b, m in zip(box, margin, strict=True))


def _is_near(part: np.ndarray, lungs: np.ndarray, spacing: tuple[float, float, float]) -> bool:
    if not lungs.any():
        return False
    from scipy import ndimage  # slow to import: not before it is needed

    distance = ndimage.distance_transform_edt(~lungs, spacing)
    return bool(distance[part].min() <= NEAR)


def _filled(mask: np.ndarray, pixel: float) -> np.ndarray:
    """Fill what is enclosed in three dimensions, and small holes of axial slices.

    Args:
        mask: axes (z, y, x).
        pixel: its area in mm2.
    """
    air = Runs.of(np.pad(~mask, 1, constant_values=True))
    _, labels = air.parts("faces")
    outside = labels == labels[0]
    mask = ~air.painted(outside)[1:-1, 1:-1, 1:-1]
    z, y = air.rows
    is_air = outside & (z > 0) & (z <= len(mask))
    air = Runs(air.start[is_air], air.stop[is_air], air.shape)
    _, labels = air.parts("in plane")
    small = np.bincount(labels, air.sizes) * pixel <= LARGEST_VESSEL
    small[labels[y[is_air] == 0]] = False  # what surrounds a slice is no hole, however small
    return np.asarray(mask | air.painted(small[labels])[1:-1, 1:-1, 1:-1])


def split_sides(mask: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """Tell the right lung from the left.

    A part that lies on one side of the border between the lungs belongs to that side as a whole; a part that
    spans it, because the lungs touch or the airways join them, is cut along the border.

    Args:
        mask: bool, axes (z, y, x), x rising to the patient's left.
        spacing: voxel size in mm, axes (z, y, x).

    Returns:
        uint8, the shape of `mask`: 0 outside, 1 right lung, 2 left lung.
    """
    sides = np.zeros(mask.shape, np.uint8)
    window = _window(mask)
    if window is None:
        return sides
    inner = mask[window]
    middle = _midline(inner.sum(axis=(0, 1)), spacing[2])
    if middle is None:
        columns = np.arange(mask.shape[2])[window[2]]
        centre = float((inner.sum(axis=(0, 1)) * columns).sum() / inner.sum())
        sides[window][inner] = RIGHT if centre < (mask.shape[2] - 1) / 2 else LEFT
        return sides
    runs = Runs.of(inner)
    _, labels = runs.parts("corners")
    z, y = runs.rows
    width = inner.shape[2] + 1
    border = runs.start // width * width + _border(inner, middle)[z, y] + 1
    beyond = runs.stop - np.clip(border, runs.start, runs.stop)
    share = np.bincount(labels, beyond) / np.bincount(labels, runs.sizes)
    # A part that does not span the border is cut before its first voxel or after its last.
    border = np.where((share >= WHOLE)[labels], runs.start, border)
    border = np.where((share <= 1 - WHOLE)[labels], runs.stop, border)
    pieces, is_left = runs.cut(border)
    sides[window] = pieces.painted(np.where(is_left, LEFT, RIGHT).astype(np.uint8))
    return sides


def _midline(profile: np.ndarray, pixel: float) -> int | None:
    """The column between the lungs; None when there is one lung.

    Args:
        profile: lung voxels of each column.
        pixel: width of a column, mm.
    """
    smooth = _smoothed(profile, 8 / pixel)
    quarter = len(smooth) // 4
    if quarter < 2:
        return None
    middle = quarter + int(np.argmin(smooth[quarter : len(smooth) - quarter]))
    lower_peak = min(smooth[:middle].max(), smooth[middle:].max())
    return middle if smooth[middle] < ONE_LUNG * lower_peak else None


def _smoothed(line: np.ndarray, sigma: float) -> np.ndarray:
    """A line of numbers under a Gaussian that ends at four standard deviations; zeros beyond its ends."""
    reach = int(4 * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(line, bell / bell.sum())[reach : reach + len(line)]


def _border(mask: np.ndarray, middle: int) -> np.ndarray:
    """The column of the border in each row of each slice: the way from front to back through least lung.

    Dynamic programming over rows, all slices at once. Away from the middle each row costs a little, or the
    border would run around a lung that touches the other.

    Returns:
        int, axes (z, y).
    """
    columns = np.arange(mask.shape[2])
    toll = (DETOUR * ((columns - middle) / (len(columns) / 2)) ** 2).astype(np.float32)
    cost = mask[:, 0].astype(np.float32) + toll
    moves = np.zeros((mask.shape[1], mask.shape[0], mask.shape[2]), np.int8)
    padded = np.full((len(cost), len(columns) + 2 * STEEPEST), np.inf, np.float32)
    for row in range(1, mask.shape[1]):
        padded[:, STEEPEST:-STEEPEST] = cost
        for move in (m for m in range(-STEEPEST, STEEPEST + 1) if m):
            other = padded[:, STEEPEST + move : STEEPEST + move + len(columns)]
            np.putmask(moves[row], other < cost, np.int8(move))
            np.minimum(cost, other, out=cost)
        cost += mask[:, row]
        cost += toll
    border = np.empty(mask.shape[:2], int)
    here = cost.argmin(1)
    for row in range(mask.shape[1] - 1, -1, -1):
        border[:, row] = here
        here = here + moves[row, np.arange(len(here)), here]
    return border
