"""From Hounsfield units to what the two networks see, exactly as in Wang et al. 2020 and their code.

Section numbers in comments are those of the paper's methods: "lung segmentation", "lung-ROI" and "non-lung
area suppression". Interpolation is `scipy.ndimage.zoom`'s; see `resize`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.errors import NotChestCTError
from covid19net.resize import bands, resized, zoom_matrix
from covid19net.stream import cores, overlapped
from covid19net.volume import Box, CTVolume, Overlay

AIR = -1024  # HU; lower values are padding outside the scanner's field of view
SLICE_SIZE = 256  # pixels of the segmentation network's square input
SD_FLOOR = 1e-6  # added to the standard deviation of a slice, as released
SMALLEST_SHARE = 0.03  # of the largest lung area; slices with less do not count
FEWEST_SLICES = 3  # a lung box with fewer gives no result
FEWEST_PIXELS = 60  # sides of the lung box, in pixels of a 512 x 512 image
PUBLISHED_MATRIX = 512  # pixels of the images the limit above was made for
HIGHEST_PERCENTILE = 95  # of the HU in the lung box; whatever lies above becomes this value
LUNG_SHARE = 0.2  # a voxel with more of the resized mask counts as lung
WALL_SIGMAS = 4.0  # elsewhere HU stay within this many sd of the mean lung HU (file names say 3, code 4)
IMAGE_SHAPE = (48, 240, 360)  # (z, y, x) of the lung image
WHOLE = (1, 1, 1)  # voxels of it that are one for a network trained at full size
CHUNK = 8  # slices worked on at a time, so that memory does not grow with the scan


@dataclass(frozen=True, eq=False)
class LungImage:
    """What COVID-19Net sees.

    Attributes:
        values: float32, (48, 240, 360), mean 0 and sd 1 over the whole image.
        box: the part of the CT it shows, in voxels of the CT; first and last voxel centres of the box are the
            first and last voxel centres of the image.
    """

    values: np.ndarray
    box: Box


def slice_inputs(volume: CTVolume, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """What the segmentation network sees of each slice (paper: lung segmentation).

    HU below -1024 become -1024; each slice is z-scored on its own; the three channels are the slice below,
    the slice and the slice above; resized in plane to 256 x 256 by cubic splines.

    Args:
        volume: the scan.
        indices: slices to prepare, each with a neighbour on both sides, rising.

    Yields:
        float32, (3, 256, 256), for each index.
    """
    rows, columns = (bands(zoom_matrix(n, SLICE_SIZE)) for n in volume.shape[1:])
    kept: dict[int, np.ndarray] = {}
    for index in indices:
        for i in (index - 1, index, index + 1):
            if i not in kept:
                hu = np.maximum(volume.hu[i], AIR).astype(np.float64)
                mean = hu.mean()
                sd = np.sqrt(max(np.vdot(hu, hu) / hu.size - mean**2, 0.0))  # whole HU: sums without rounding
                kept[i] = resized((hu - mean).astype(np.float32), rows, columns) / np.float32(sd + SD_FLOOR)
        kept = {i: kept[i] for i in kept if i >= index - 1}
        yield np.stack([kept[index - 1], kept[index], kept[index + 1]])


def segmentation_affine(volume: CTVolume) -> np.ndarray:
    """Affine of the network's 256 x 256 grid, whose corner pixels sit on the corner pixels of the CT."""
    affine = np.array(volume.affine)
    for axis in (1, 2):
        affine[:3, axis] *= (volume.shape[axis] - 1) / (SLICE_SIZE - 1)
    return affine


def slice_range(mask: np.ndarray) -> tuple[int, int]:
    """First slice and last slice + 1 of the lung box (paper: lung-ROI).

    A slice counts when its lung area is at least 0.03 of the largest; it is used when it and its neighbours
    count; the range goes from the first used to the last used slice, gaps stay in.

    Args:
        mask: lung mask of the inner slices, bool, (z, y, x).

    Raises:
        NotChestCTError: no slice is used.
    """
    area = mask.sum(axis=(1, 2))
    counts = np.pad(area >= SMALLEST_SHARE * max(area.max(initial=0), 1), 1, constant_values=True)
    used = np.flatnonzero(counts[:-2] & counts[1:-1] & counts[2:])
    if not used.size:
        raise NotChestCTError("no lungs found: no three neighbouring slices show lung")
    return int(used[0]), int(used[-1]) + 1


def lung_box(lungs: Overlay, shape: tuple[int, int, int]) -> Box:
    """The part of the CT that holds the lungs (paper: lung-ROI).

    In plane: the bounding box of the mask over all its slices, scaled to the CT and truncated to whole
    voxels.

    Args:
        lungs: lung mask, (z, 256, 256) with one slice for each CT slice; the first and the last are empty,
            because the network needs both neighbours of a slice.
        shape: of the CT, (z, y, x).

    Raises:
        NotChestCTError: no lungs, fewer than 3 slices, or a side under 60 pixels of a 512 x 512 image.
    """
    mask = lungs.values[1:-1] > 0
    bottom, top = slice_range(mask)
    start, stop = [bottom + 1], [top + 1]
    for axis, size in ((1, shape[1]), (2, shape[2])):
        seen = np.flatnonzero(mask.any(axis=(0, 3 - axis)))
        start.append(int(seen[0] * size / SLICE_SIZE))
        stop.append(int((seen[-1] + 1) * size / SLICE_SIZE))
    box = Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    sides = [box.shape[axis] * PUBLISHED_MATRIX / shape[axis] for axis in (1, 2)]
    if box.shape[0] < FEWEST_SLICES or min(sides) < FEWEST_PIXELS:
        raise NotChestCTError(
            f"lungs too small for a result: {box.shape[0]} slices of {box.shape[1]} x {box.shape[2]} voxels "
            f"(needed: {FEWEST_SLICES} slices, {FEWEST_PIXELS} pixels of a {PUBLISHED_MATRIX}-pixel image)"
        )
    return box


def _chunks(box: Box) -> Iterator[slice]:
    for z in range(box.start[0], box.stop[0], CHUNK):
        yield slice(z, min(z + CHUNK, box.stop[0]))


def lung_share(lungs: Overlay, box: Box, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, Box]:
    """Matrices that resize the mask's box linearly to the CT's box, and that box on the mask's grid."""
    mask = lungs.values > 0
    seen = [np.flatnonzero(mask.any(axis=(0, 3 - axis))) for axis in (1, 2)]
    (y0, y1), (x0, x1) = ((int(s[0]), int(s[-1]) + 1) for s in seen)
    rows = zoom_matrix(y1 - y0, box.shape[1], 1)
    columns = zoom_matrix(x1 - x0, box.shape[2], 1)
    return rows, columns, Box((0, y0, x0), (shape[0], y1, x1))


def lung_image(volume: CTVolume, lungs: Overlay, box: Box | None = None) -> LungImage:
    """Cut out the lungs, quieten what is not lung, resize and standardize (paper: non-lung area suppression).

    HU above the 95th percentile of the box become that percentile. Lung is where the linearly resized mask
    exceeds 0.2; every other voxel is clipped to the mean lung HU +- 4 sd. Resized by cubic splines to 48 x
    240 x 360, clipped to the range before resizing, z-scored over the whole image.

    Args:
        volume: the scan.
        lungs: lung mask, (z, 256, 256), one slice for each CT slice.
        box: the lung box, when it is known already.

    Raises:
        NotChestCTError: the lungs are missing or too small (see `lung_box`), or all of one value.
    """
    box = box or lung_box(lungs, volume.shape)
    roi = volume.hu[box.slices]
    ceiling = np.float32(np.percentile(roi, HIGHEST_PERCENTILE))
    *share, grid = lung_share(lungs, box, volume.shape)
    share_y, share_x = (bands(matrix) for matrix in share)

    def quiet(z: slice) -> tuple[np.ndarray, np.ndarray]:
        """HU under the ceiling, and where lung is, of some slices."""
        hu = np.minimum(volume.hu[z, *box.slices[1:]].astype(np.float32), ceiling)
        inside = (lungs.values[z, *grid.slices[1:]] > 0).astype(np.float32)
        return hu, resized(inside, share_y, share_x) > LUNG_SHARE

    def sums(z: slice) -> tuple[int, float, float]:
        hu, inside = quiet(z)
        values = hu[inside].astype(np.float64)
        return values.size, float(values.sum()), float(values @ values)

    parts = list(overlapped(sums, _chunks(box), cores()))
    count, total, squares = (sum(column) for column in zip(*parts, strict=True))
    mean = total / count
    sd = np.sqrt(max(squares / count - mean**2, 0.0))
    floor, top = np.float32(mean - WALL_SIGMAS * sd), np.float32(mean + WALL_SIGMAS * sd)

    image = np.zeros(IMAGE_SHAPE, np.float32)
    along_z, *in_plane = (zoom_matrix(a, b) for a, b in zip(box.shape, IMAGE_SHAPE, strict=True))
    along_y, along_x = (bands(matrix) for matrix in in_plane)
    lowest, highest = np.float32(np.inf), np.float32(-np.inf)

    def fitted(z: slice) -> tuple[np.float32, np.float32, np.ndarray]:
        hu, inside = quiet(z)
        np.clip(hu, floor, top, out=hu, where=~inside)
        return hu.min(), hu.max(), resized(hu, along_y, along_x)

    # Added in order: the same sum each time. Along z only here, as slices wait for their turn on every core,
    # and they are a sixth of an image.
    done = 0
    for low, high, slices in overlapped(fitted, _chunks(box), cores()):
        lowest, highest = min(lowest, low), max(highest, high)
        weights = along_z[:, done : done + len(slices)]
        reached = np.flatnonzero(weights.any(axis=1))
        if reached.size:  # few slices count for all of an image, in a very long scan some for none
            near = slice(int(reached[0]), int(reached[-1]) + 1)
            image[near] += np.tensordot(weights[near], slices, 1)
        done += len(slices)
    image = np.clip(image, lowest, highest)
    deviation = image.std(dtype=np.float64)
    if not deviation > 0:
        raise NotChestCTError("no lungs found: the lung box holds one single value")
    return LungImage(((image - image.mean(dtype=np.float64)) / deviation).astype(np.float32), box)


def shrunken(image: np.ndarray, shrink: tuple[int, int, int]) -> np.ndarray:
    """A lung image at reduced size: means of blocks of voxels, standardized again.

    Args:
        image: (48, 240, 360).
        shrink: voxels along (z, y, x) whose mean is taken; whole divisors of the image's size.

    Returns:
        float32, mean 0 and sd 1.
    """
    (z, y, x), (dz, dy, dx) = (n // d for n, d in zip(image.shape, shrink, strict=True)), shrink
    small = image.astype(np.float32).reshape(z, dz, y, dy, x, dx).mean((1, 3, 5))
    return np.asarray((small - small.mean()) / small.std(), np.float32)
