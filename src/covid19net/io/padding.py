"""What the words of a DICOM image hold: values of the image, overlays above their bits, padding around it.

Headers are not always true to the words. Padding outside the round field of view often uses all 16 bits
where `BitsStored` says 12, some writers do so for bright tissue too, and `PixelPaddingValue` may be absent or
name a value that the image uses for tissue. The picture itself tells which is the case.
"""

import numpy as np

from covid19net.errors import InputError
from covid19net.io.header import Slice, Stored

NAMED_SHARE = 0.1  # of the pixels along the edges that a named padding takes, unless a corner has it
UNNAMED_SHARE = 0.25  # the same for padding that no element names
PATCH = 3  # pixels, along y and x, of the corners that unnamed padding fills instead
TISSUE = (-900, 1500)  # HU; what no range of padding values may touch
AIRY = -900  # HU; what needs no padding to look like surroundings
LEAST = -1024  # HU; less is no tissue


def scale_of(plane: Slice) -> tuple[float, float]:
    """Slope and intercept; values that a header lacks leave the stored ones as they are."""
    return (1.0 if plane.slope is None else plane.slope), plane.intercept or 0.0


def read_words(words: np.ndarray, plane: Slice) -> tuple[np.ndarray, np.ndarray | None]:
    """The stored values of one plane, and which of its pixels lie outside the field of view.

    Args:
        words: as decoded, with all their bits, axes (row, column), integer.
        plane: what its header says.

    Returns:
        Integer values, before rescaling, and a mask of the same shape; None when nothing is padding.

    Raises:
        InputError: bits are used that the header does not allow, and the picture does not tell what for.
    """
    stored = plane.stored
    kind = f"{'i' if stored.signed else 'u'}{words.itemsize}"
    full = words.view(np.dtype(kind))
    spare = stored.stored < words.itemsize * 8
    values = _significant(words, stored) if spare else full
    outside = _named(full, values, plane)
    if not spare or stored.high_bit + 1 != stored.stored:
        return values, outside
    beyond = full != values
    if not beyond.any():
        return values, outside
    if outside is None:
        outside = _unnamed(full, values, beyond, plane)
    if outside is not None:
        beyond &= ~outside
    return (full if _uses_all_bits(full, values, beyond, outside, plane) else values), outside


def bright_surroundings(hu: np.ndarray, most: int) -> np.ndarray | None:
    """Pixels above `most` HU that fill the edges: padding such as 63536, stored in 16 bits without a sign."""
    bright = hu > most
    if not bright.any() or not _surrounds(bright):
        return None
    there = _edge(hu)[_edge(bright)]
    return np.asarray(bright & (hu >= there.min()) & (hu <= there.max()))


def _significant(words: np.ndarray, stored: Stored) -> np.ndarray:
    """Keep the bits that belong to the image: overlays may sit above them, and sign bits need spreading."""
    width = words.itemsize * 8
    shift_down = max(stored.high_bit + 1 - stored.stored, 0)
    up = max(width - stored.stored - shift_down, 0)
    lifted = words.view(np.dtype(f"u{words.itemsize}")) << up
    return lifted.view(np.dtype(f"{'i' if stored.signed else 'u'}{words.itemsize}")) >> (
        width - stored.stored
    )


def _edge(image: np.ndarray) -> np.ndarray:
    """The pixels along the four edges."""
    return np.concatenate([image[0], image[-1], image[1:-1, 0], image[1:-1, -1]])


def _surrounds(mask: np.ndarray) -> bool:
    """Whether a set of pixels fills much of the edges or two of the corners."""
    corners = [mask[y, x].all() for y in (slice(PATCH), slice(-PATCH, None))
               for x in (slice(PATCH), slice(-PATCH, None))]  # fmt: skip
    return bool(_edge(mask).mean() >= UNNAMED_SHARE or sum(corners) >= 2)


def _named(full: np.ndarray, values: np.ndarray, plane: Slice) -> np.ndarray | None:
    """Pixels with the padding value, or in its range, if these do mark the surroundings.

    Some files name a value that is ordinary tissue. The value is compared with all bits of the words, which
    padding uses, else with the bits that belong to the image, in case the sign was not spread.
    """
    if plane.padding is None:
        return None
    low, high = _padding_range(plane.padding, plane)
    for read in (full, values) if values is not full else (full,):
        outside = np.asarray((read >= low) & (read <= high))
        if outside[[0, 0, -1, -1], [0, -1, 0, -1]].any() or _edge(outside).mean() >= NAMED_SHARE:
            return outside
    return None


def _padding_range(padding: int, plane: Slice) -> tuple[int, int]:
    """Lowest and highest padding value; the value alone when the range that is named holds tissue."""
    slope, intercept = scale_of(plane)
    low, high = sorted((padding, padding if plane.padding_limit is None else plane.padding_limit))
    darkest, brightest = sorted((slope * low + intercept, slope * high + intercept))
    if darkest < TISSUE[1] and brightest > TISSUE[0]:
        return padding, padding
    return low, high


def _unnamed(full: np.ndarray, values: np.ndarray, beyond: np.ndarray, plane: Slice) -> np.ndarray | None:
    """Pixels with the one word that fills the surroundings, if only padding explains its high bits.

    Overlays do not: they leave the air around the patient what it is, and an overlay everywhere is no border.
    """
    at_edge = _edge(beyond)
    if not at_edge.any():
        return None
    found, counts = np.unique(_edge(full)[at_edge], return_counts=True)
    outside = full == found[counts.argmax()]
    slope, intercept = scale_of(plane)
    masked = slope * float(values[outside][0]) + intercept
    if masked < AIRY or not _surrounds(outside) or 2 * np.count_nonzero(beyond[~outside]) > (~outside).sum():
        return None
    return np.asarray(outside)


def _uses_all_bits(
    full: np.ndarray, values: np.ndarray, beyond: np.ndarray, outside: np.ndarray | None, plane: Slice
) -> bool:
    """Whether the pixels whose high bits are set hold values that need these bits.

    If so the writer lied about `BitsStored`: cutting the bits off would turn bone into air. That is so where
    all bits together run on smoothly. If the low bits alone do, the high ones are an overlay.
    """
    if not beyond.any():
        return False
    if plane.stored.signed and np.abs(full[beyond].astype(np.int64)).max() < 1 << plane.stored.stored:
        return _is_spread(full, values, beyond, plane)
    with_all, without = (_roughness(each, beyond, outside) for each in (full, values))
    if without <= with_all:
        return False
    if without < 2 * with_all:
        raise InputError(
            f"{plane.source.name}: pixels use more than the {plane.stored.stored} bits that the header "
            "allows, and it is not clear whether as values"
        )
    return True


def _is_spread(full: np.ndarray, values: np.ndarray, beyond: np.ndarray, plane: Slice) -> bool:
    """Whether signed words with all high bits alike are true to all of them, not cut short of their sign.

    So they are if the signs of other words are spread over these bits, or if cut they would be less than air
    without being padding.
    """
    if np.count_nonzero((full < 0) & (full == values)) > np.count_nonzero(beyond):
        return True
    slope, intercept = scale_of(plane)
    below = values[beyond] * slope + intercept < LEAST
    return bool(2 * np.count_nonzero(below) > below.size and not _surrounds(beyond))


def _roughness(values: np.ndarray, at: np.ndarray, outside: np.ndarray | None) -> int:
    """Sum of the differences between pixels side by side, one of them in `at`, none outside."""
    wide = values.astype(np.int64)
    total = 0
    for turn in (np.asarray, np.transpose):
        image, marked = turn(wide), turn(at)
        counted = marked[1:] | marked[:-1]
        if outside is not None:
            inside = ~turn(outside)
            counted &= inside[1:] & inside[:-1]
        total += int(np.abs(np.diff(image, axis=0))[counted].sum())
    return total
