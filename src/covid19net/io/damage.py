"""Slices that decoded without complaint but do not fit between their neighbours.

Most compressed streams carry no checksum: decoders turn damaged ones into some picture and report nothing.
Damage leaves traces that the slices above and below do not share, each looked for here:

- JPEG, JPEG-LS: everything after the damage is off. The means of tiles differ.
- JPEG lossless, one bit: often only the rest of one row is off, up to the right edge.
- JPEG 2000: a picture is kept as blocks of coefficients of its wavelet transform (5/3, the reversible one),
  and damage fills a block with noise. That adds texture of one direction and size, and of that one only,
  whereas anatomy, motion and noise of the scanner change the other directions along with it.
- High-throughput JPEG 2000: blocks that turn flat, and wild single pixels.

What changes less than the noise of the scan stays unseen. Of 344 JPEG 2000 slices with damaged bytes, all
with a mean error above 12 HU were found, most above 2 HU, and none below 0.5 HU, which is what damage to the
end of a block amounts to.
"""

from collections.abc import Sequence

import numpy as np

TISSUE = (-1024, 3000)  # HU; wilder values say no more than these
TILE = 16  # pixels, along y and x, of the tiles whose means are compared
DIFFERENCE = 40  # HU between the means of a tile, beyond the difference of the neighbours
USUAL_DIFFERENCES = 4  # times the median one, added: sharp kernels have noise of 250 HU
# Share of tiles that differ, for each mm between slices. Inner slices of four real series, also thinned to
# every 2nd to 12th slice, have at most 0.002 to 0.006; damaged JPEG lossless streams have 0.1 to 0.9 in all.
ODD_SHARE = 0.012
LEAST_SPACING = 3.0  # mm; finer slices may differ as much as these
AT_ENDS = 4.0  # times as much at the first and last slice, which have neighbours on one side only

LEVELS = 3  # of the wavelet transform: textures of about 2, 4 and 8 pixels; coarser ones show in the means
CELL = 8  # coefficients, along y and x, whose mean size is taken
BLOCK = 4  # cells, along y and x: 32 coefficients, the smallest block that encoders use
# Of the 16 cells of a block, the sixth smallest counts: edges of organs and of the couch fill fewer cells of
# a block than damage, which fills all.
RANK = 5
FLOOR = 8.0  # HU, added to the size of coefficients: below it compression with loss changes them at will
# Powers of two by which the texture of a block, in one direction, may exceed that of the two slices before
# and the two after. Four real series, also thinned to every 2nd to 12th slice, reach 0.4 at 1 to 4 mm between
# slices, 0.7 at 5 to 10 mm, 1.1 at 15 to 50 mm; coded with loss (8 HU) 0.8 at 1 to 5 mm; damage 1 to 5.
RISE, RISE_PER_MM, MOST_RISE = 0.8, 0.08, 2.0
USUAL_CHANGES = 12  # times the median change of a series, which must be exceeded too; 0.03 to 0.2 on the real
FALL = 1.2  # times as much for texture to vanish: up to 0.7, 0.9 and 1.5 on the same series

EDGE = 32  # pixels at the right end of a row
ROW = 30  # HU by which these may stand out from the rows above and below; real series reach 2
WILD, MOST_WILD = 1500, 32  # HU of a finest diagonal coefficient, and how many; metal has 3 at most


def odd_slices(hu: np.ndarray, spacing: float) -> list[int]:
    """Indices of slices that do not fit between their neighbours.

    Args:
        hu: axes (slice, row, column), at least three slices.
        spacing: mm between slices.
    """
    textures, wild = _textures(hu)
    odd = _odd_means(hu, spacing) | _odd_rows(hu) | (wild > MOST_WILD + 4 * _largest_beside(wild))
    for level in textures:
        odd |= _odd_textures(level, spacing)
    return [int(i) for i in np.flatnonzero(odd)]


def _largest_beside(values: np.ndarray) -> np.ndarray:
    """The largest of the two values before and the two after, along the first axis."""
    count = len(values)
    largest = np.full_like(values, -np.inf if values.dtype.kind == "f" else np.iinfo(values.dtype).min)
    for step in (-2, -1, 1, 2):
        here = slice(max(0, -step), count - max(0, step))
        there = slice(max(0, step), count - max(0, -step))
        largest[here] = np.maximum(largest[here], values[there])
    return largest


def _odd_means(hu: np.ndarray, spacing: float) -> np.ndarray:
    """Which slices have means of tiles that are far from those of both neighbours."""
    means = _tile_means(hu)
    # The end slices are compared with the two next to them, on one side.
    below = np.concatenate([means[2:3], means[:-1]])
    above = np.concatenate([means[1:], means[-3:-2]])
    apart = np.minimum(np.abs(means - below), np.abs(means - above))
    limits = DIFFERENCE + USUAL_DIFFERENCES * np.median(apart) + np.abs(above - below)
    share = (apart > limits).mean(axis=(1, 2))
    limit = np.full(len(hu), ODD_SHARE * max(spacing, LEAST_SPACING))
    limit[[0, -1]] *= AT_ENDS
    limit = np.maximum(limit, 1 / means[0].size)  # one tile of a small image is not enough
    # A damaged slice also makes its neighbours look odd to a lesser degree: name the oddest of a run.
    beside = np.maximum(np.r_[0, share[:-1]], np.r_[share[1:], 0])
    return np.asarray((share > limit) & (share >= beside))


def _tile_means(hu: np.ndarray) -> np.ndarray:
    """Mean HU of tiles, from every other pixel of every other row."""
    tiles = [max(1, n // TILE) for n in hu.shape[1:]]
    rows, columns = (min(TILE, n) for n in hu.shape[1:])
    part = hu[:, : tiles[0] * rows, : tiles[1] * columns]
    part = part.reshape(len(hu), tiles[0], rows, tiles[1], columns)[:, :, ::2, :, ::2]
    return np.asarray(np.clip(part, *TISSUE).mean(axis=(2, 4), dtype=np.float32))


def _odd_rows(hu: np.ndarray) -> np.ndarray:
    """Which slices have a row whose right end stands out from the rows above and below.

    Not a line of the picture: the blur of a scanner makes those wider than one row, so that the rows next to
    them differ from the next but one.
    """
    ends = np.clip(hu[:, :, -EDGE:], *TISSUE).mean(axis=2, dtype=np.float32)
    if ends.shape[1] < 5:
        return np.zeros(len(hu), bool)
    above, row, below = ends[:, 1:-3], ends[:, 2:-2], ends[:, 3:-1]
    apart = np.abs(row - (above + below) / 2)
    blur = np.abs(ends[:, :-4] - above) + np.abs(ends[:, 4:] - below) + np.abs(above - below)
    padded = np.pad(apart, ((0, 0), (1, 1)))
    near = np.maximum(np.maximum(padded[:, :-2], padded[:, 2:]), apart)
    limit = ROW + 4 * np.median(apart) + 2 * blur + _largest_beside(near)
    return np.asarray((apart > limit).any(axis=1))


def _textures(hu: np.ndarray) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """How strong the texture of blocks is, and how many finest coefficients of each slice are wild.

    Returns:
        For each level with a block or more: for three directions, binary logarithms of mean sizes of
        coefficients, axes (slice, block along y, block along x). And the numbers, one per slice.
    """
    levels = [n for n in range(LEVELS) if min(hu.shape[1:]) >> (n + 1) >= CELL * BLOCK]
    cells: list[list[list[np.ndarray]]] = [[[], [], []] for _ in levels]
    wild = np.zeros(len(hu), np.int64)
    for index, image in enumerate(hu):
        low = np.clip(image, *TISSUE).astype(np.int16, copy=False)
        for level in levels:
            low, *bands = _wavelet(low)
            sizes = [np.abs(band, out=band) for band in bands]
            if level == 0:
                wild[index] = np.count_nonzero(sizes[2] > WILD)
            for kept, size in zip(cells[level], sizes, strict=True):
                kept.append(_cell_means(size))
    return [[_block_ranks(np.array(kept)) for kept in level] for level in cells], wild


def _wavelet(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """One level of the 5/3 transform: coarse image, and details along x, along y and along both."""
    coarse, fine = _lifted(image)
    low, along_x = (part.T for part in _lifted(coarse.T))
    along_y, both = (part.T for part in _lifted(fine.T))
    return low, along_x, along_y, both


def _lifted(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse and detail coefficients along the first axis (ISO 15444-1 F.3.8.2)."""
    # Copied as they lie in memory; as few arrays as will do, for asking for one takes time.
    odd = image[1::2].copy(order="K")
    even = image[0::2][: len(odd)].copy(order="K")
    between, around = np.empty_like(odd), np.empty_like(odd)
    np.add(even[:-1], even[1:], out=between[:-1])
    np.add(even[-1], even[-1], out=between[-1])
    between >>= 1
    detail = np.subtract(odd, between, out=odd)
    np.add(detail[:-1], detail[1:], out=around[1:])
    np.add(detail[0], detail[0], out=around[0])
    around += 2
    around >>= 2
    return np.add(even, around, out=around), detail


def _cell_means(size: np.ndarray) -> np.ndarray:
    """Mean size of the coefficients of every cell."""
    rows, columns = (n // CELL for n in size.shape)
    strips = size[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns * CELL).sum(1, dtype=np.int32)
    return np.asarray(strips.reshape(rows, columns, CELL).sum(2) / np.float32(CELL * CELL), np.float32)


def _block_ranks(cells: np.ndarray) -> np.ndarray:
    """Binary logarithm of the sixth smallest of the cells of each block."""
    rows, columns = (n // BLOCK for n in cells.shape[1:])
    blocks = cells[:, : rows * BLOCK, : columns * BLOCK].reshape(-1, rows, BLOCK, columns, BLOCK)
    blocks = blocks.swapaxes(2, 3).reshape(-1, rows, columns, BLOCK * BLOCK)
    return np.asarray(np.log2(np.partition(blocks, RANK, axis=-1)[..., RANK] + FLOOR))


def _odd_textures(directions: Sequence[np.ndarray], spacing: float) -> np.ndarray:
    """Which slices have a block with far more or less texture of one direction than their neighbours."""
    usual = [float(np.median(np.abs(s[1:-1] - (s[2:] + s[:-2]) / 2))) for s in directions]
    limit = min(RISE + RISE_PER_MM * spacing, MOST_RISE)
    odd = np.zeros(len(directions[0]), bool)
    for sign, factor in ((1, 1.0), (-1, FALL)):
        change = [sign * s - _largest_beside(sign * s) for s in directions]
        for own in range(3):
            others = np.maximum(change[own - 1], change[own - 2])
            alone = change[own] - np.maximum(others, 0)
            odd |= (alone > factor * max(limit, USUAL_CHANGES * usual[own])).any(axis=(1, 2))
        if sign < 0:  # a whole level that is lost leaves no texture of any direction
            lost = np.minimum.reduce(change)
            odd |= (lost > factor * max(limit, USUAL_CHANGES * min(usual))).any(axis=(1, 2))
    return odd
