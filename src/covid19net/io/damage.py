"""Slices that decoded without complaint but do not fit between their neighbours.

JPEG and JPEG 2000 decoders fill up what a damaged code stream no longer tells and report nothing. Damage
shows as a part of one slice whose mean differs from the slices above and below by far more than these differ
from each other.
"""

import numpy as np

TILE = 16  # pixels, along y and x
TISSUE = (-1024, 3000)  # HU; wilder values say no more than these
DIFFERENCE = 60  # HU between the means of a tile, beyond the difference of the neighbours
# Share of tiles that differ. Inner slices of four real series have at most 0.004 at 2 mm between slices,
# 0.011 at 5 mm, 0.04 at 6 mm and 0.06 at 15 mm; damaged JPEG lossless streams have 0.1 to 0.9. JPEG 2000
# spreads damage so thinly that only the worst is found (mean error above 40 HU).
ODD_SHARE = 0.06
ODD_SHARE_AT = 5.0  # mm between slices; the share is raised in proportion above
AT_ENDS = (
    4.0  # times as much at the first and last slice, which have neighbours on one side only (up to 0.09)
)


def odd_slices(hu: np.ndarray, spacing: float) -> list[int]:
    """Indices of slices that do not fit between their neighbours.

    Args:
        hu: axes (slice, row, column), at least three slices.
        spacing: mm between slices.
    """
    means = _tile_means(hu)
    # The end slices are compared with the two next to them, on one side.
    below = np.concatenate([means[2:3], means[:-1]])
    above = np.concatenate([means[1:], means[-3:-2]])
    apart = np.minimum(np.abs(means - below), np.abs(means - above))
    share = (apart > DIFFERENCE + np.abs(above - below)).mean(axis=(1, 2))
    limit = np.full(len(hu), ODD_SHARE * max(1.0, spacing / ODD_SHARE_AT))
    limit[[0, -1]] *= AT_ENDS
    # A damaged slice also makes its neighbours look odd to a lesser degree: name the oddest of a run.
    return [int(i) for i in np.flatnonzero(share > limit) if share[i] == share[max(i - 1, 0) : i + 2].max()]


def _tile_means(hu: np.ndarray) -> np.ndarray:
    """Mean HU of tiles, from every fourth pixel of every fourth row."""
    tiles = [max(1, n // TILE) for n in hu.shape[1:]]
    rows, columns = (min(TILE, n) for n in hu.shape[1:])
    part = hu[:, : tiles[0] * rows, : tiles[1] * columns]
    part = part.reshape(len(hu), tiles[0], rows, tiles[1], columns)[:, :, ::4, :, ::4]
    return np.asarray(np.clip(part, *TISSUE).mean(axis=(2, 4), dtype=np.float32))
