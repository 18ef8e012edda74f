"""Is this a chest CT in Hounsfield units, and does it show the lungs? Asked of the image, not of its tags.

Findings (code: meaning):

| code | meaning |
|---|---|
| `lung-volume` | lungs smaller or larger than adults have |
| `one-lung` | one side holds nearly no lung |
| `coverage` | the scan ends inside the lungs |
| `metal` | voxels at the end of the scanner's range |
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError, NotChestCTError
from covid19net.volume import CTVolume, Finding, Overlay

FEWEST_SLICES = 3
FEWEST_PIXELS = 32  # along y and x; a 512 matrix shrunk 16 times shows no lung any more
NARROWEST = 80.0  # mm in plane; no chest is narrower, centimetres taken for millimetres are
SATURATED = 3071  # HU; the largest value of 12 bits with an intercept of -1024
LEAST_METAL = 20  # voxels of it; single ones are noise in dense bone
LUNG_AND_AIR = -500  # HU; aerated lung lies below it (Gattinoni et al., AJRCCM 2001;164:1701)
SOFT_TISSUE = (-200, 200)  # HU; fat -100, muscle and blood 30 to 70, with noise
SHIFTED_TISSUE = (824, 1224)  # where soft tissue lies when 1024 was added
MOST_SHIFTED = 0.05  # of all voxels; bone this dense makes up less than 0.02 of the scans looked at
LEAST_AIR = 0.01  # of all voxels; the five real scans looked at have 0.38 to 0.71
LEAST_SOFT = 0.05  # of all voxels; the same scans have 0.25 to 0.57
SMOOTHEST_NOISE = 0.5  # correlation of neighbouring voxels: pure noise has 0, a chest CT 0.9 and more
FEW_VALUES = 16  # a mask or label map has fewer different values, no CT does
NORMALIZED = 20.0  # HU; a scan whose values span less was scaled to 0..1 or by its standard deviation
NO_LUNGS = 0.2  # litres; below it what was found is bowel gas or trachea
# Total lung capacity is 6.60 H - 5.79 L (sd 0.60) in women and 7.99 H - 7.08 L (sd 0.70) in men of H metres
# (Quanjer et al., Eur Respir J 1993;6 Suppl 16:5): 2.8 L for the smallest, 10.4 L for the tallest. Breathing
# out and consolidated lungs take the lower end down to a third.
ADULT_LUNGS = (0.8, 10.0)  # litres
SMALLER_SIDE = 0.1  # of both lungs; the left has about 0.45
END_AREA = 0.03  # of the largest slice: lung in the end slice that means the scan cuts it
END_DISTANCE = 1.6  # slices: the segmentation may leave the outermost slice empty
RIGHT, LEFT = 1, 2
LITRE = 1e6  # mm3


def check_hounsfield(volume: CTVolume, values: "Values | None" = None) -> tuple[Finding, ...]:
    """Refuse what cannot be a CT volume of the body in Hounsfield units.

    Args:
        volume: HU, axes (z, y, x).
        values: what its values look like, when it is known already.

    Returns:
        Finding `metal`, or nothing.

    Raises:
        NotChestCTError: too few slices; constant, all air, or noise; a mask.
        InputError: values that are not Hounsfield units: shifted by 1024, scaled to 0..1, an 8-bit window.
    """
    if min(volume.shape) < FEWEST_SLICES or min(volume.shape[1:]) < FEWEST_PIXELS:
        raise NotChestCTError(
            f"{' x '.join(map(str, volume.shape))} voxels (z, y, x) are too few for a chest CT"
        )
    sides = [n * s for n, s in zip(volume.shape[1:], volume.spacing[1:], strict=True)]
    if min(sides) < NARROWEST:
        raise InputError(
            f"the scan would be {sides[0]:.4g} x {sides[1]:.4g} mm wide: its voxel size is wrong"
        )
    values = values or Values.of(volume.hu)
    _refuse_empty(values)
    _refuse_noise(volume.hu)
    _refuse_other_units(values)
    if values.saturated < LEAST_METAL:
        return ()
    text = (
        f"{values.saturated} voxels reach the end of the scanner's range, {SATURATED} HU: "
        "streaks of metal may show"
    )
    return (Finding("metal", text),)


@dataclass(frozen=True)
class Values:
    """What the values of a volume look like.

    Attributes:
        low: the lowest.
        high: the highest.
        saturated: how many reach the end of the scanner's range.
        distinct: how many different ones a sample holds; see `sampled`.
        air: share of the sample that is air or aerated lung, in [0, 1].
        soft: share that is soft tissue.
        shifted: share that lies where soft tissue would with 1024 added.
    """

    low: float
    high: float
    saturated: int
    distinct: int
    air: float
    soft: float
    shifted: float

    @classmethod
    def of(cls, hu: np.ndarray) -> "Values":
        """From a volume of HU, axes (z, y, x)."""
        sample, high = hu[sampled(hu.shape)], float(hu.max())
        return cls(
            low=float(hu.min()),
            high=high,
            saturated=int(np.count_nonzero(hu >= SATURATED)) if high >= SATURATED else 0,
            distinct=_distinct(sample),
            air=float((sample < LUNG_AND_AIR).mean()),
            soft=float(((sample > SOFT_TISSUE[0]) & (sample < SOFT_TISSUE[1])).mean()),
            shifted=float(((sample > SHIFTED_TISSUE[0]) & (sample < SHIFTED_TISSUE[1])).mean()),
        )


def _distinct(sample: np.ndarray) -> int:
    """How many different values there are; whole numbers need not be sorted for it."""
    if sample.dtype != np.int16:
        return len(np.unique(sample))
    return int(np.count_nonzero(np.bincount(sample.ravel().astype(np.int64) - int(sample.min()))))


def sampled(shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """The part of a volume (z, y, x) that is looked at closely: 128 rows and columns or a few more."""
    return slice(None), slice(None, None, max(1, shape[1] // 128)), slice(None, None, max(1, shape[2] // 128))


def _refuse_empty(values: Values) -> None:
    if not np.isfinite([values.low, values.high]).all():
        raise NotChestCTError("the scan holds values that are no numbers")
    if values.low == values.high:
        raise NotChestCTError(f"every voxel has the same value ({values.low:g}); no lungs found")
    if values.distinct <= FEW_VALUES and values.low >= 0:
        raise NotChestCTError(f"only {values.distinct} different values: a mask, not a CT; no lungs found")
    if values.high < LUNG_AND_AIR:
        raise NotChestCTError("the scan shows nothing but air; no lungs found")


def _refuse_other_units(values: Values) -> None:
    span = f"{values.low:g} to {values.high:g}"
    if values.high - values.low <= NORMALIZED:
        raise InputError(
            f"not Hounsfield units: values from {span} were scaled; give the CT as it was stored"
        )
    if values.low >= 0 and values.high <= 255:
        raise InputError(f"not Hounsfield units: values from {span} are an 8-bit picture of a window")
    if values.low >= -1 or values.shifted > MOST_SHIFTED:
        raise InputError(f"not Hounsfield units: values from {span}, probably shifted by 1000 or 1024")
    if values.air < LEAST_AIR:
        raise InputError(f"no air or lung among the values ({span}): not Hounsfield units, or no chest CT")
    if values.soft < LEAST_SOFT:
        raise InputError(f"no soft tissue around 0 HU among the values ({span}): not Hounsfield units")


def _refuse_noise(hu: np.ndarray) -> None:
    middle = hu[len(hu) // 2].astype(np.float64)
    a, b = middle[:, :-1].ravel(), middle[:, 1:].ravel()
    spread = a.std() * b.std()
    if spread == 0:
        raise NotChestCTError("the middle slice is empty; no lungs found")
    if float(((a - a.mean()) * (b - b.mean())).mean() / spread) < SMOOTHEST_NOISE:
        raise NotChestCTError("the scan is noise without structure; no lungs found")


def check_lungs(lungs: Overlay, volume: CTVolume, *, sides_known: bool = True) -> tuple[Finding, ...]:
    """Say whether the lungs that were found are whole and of human size.

    Args:
        lungs: mask of uint8, 1 right lung, 2 left lung, on any grid in the same patient; z rises to the head.
        volume: the scan in which they were found.
        sides_known: whether the file says which side is which; without, no side is named.

    Returns:
        Findings `lung-volume`, `one-lung`, `coverage`.

    Raises:
        NotChestCTError: less than 0.2 L of lung; says so where a slab of lungs is all the scan shows.
    """
    voxel = abs(float(np.linalg.det(lungs.affine[:3, :3]))) / LITRE
    right, left = (float(np.count_nonzero(lungs.values == side)) * voxel for side in (RIGHT, LEFT))
    total = right + left
    cut = _cut_ends(lungs, volume) if total else []
    where = " and ".join(cut)
    if total < NO_LUNGS and len(cut) == 2:
        height = volume.shape[0] * volume.spacing[0]
        raise NotChestCTError(
            f"incomplete chest: the scan is {height:.0f} mm high and ends inside the lungs at the {where} "
            f"({total:.2f} L of lung shown)"
        )
    if total < NO_LUNGS:
        raise NotChestCTError(f"no lungs found ({total:.2f} L of lung tissue)")
    findings = []
    if not ADULT_LUNGS[0] <= total <= ADULT_LUNGS[1]:
        usual = f"adults have {ADULT_LUNGS[0]:g} to {ADULT_LUNGS[1]:g} L"
        findings.append(Finding("lung-volume", f"the lungs measure {total:.2f} L; {usual}"))
    if min(right, left) < SMALLER_SIDE * total:
        side = f"the {'right' if right < left else 'left'}" if sides_known else "one"
        findings.append(Finding("one-lung", f"nearly no lung was found on {side} side"))
    if cut:
        findings.append(
            Finding("coverage", f"the scan ends inside the lungs at the {where}; parts are not shown")
        )
    return tuple(findings)


def _cut_ends(lungs: Overlay, volume: CTVolume) -> list[str]:
    """Which ends of the scan, "bottom" or "top", still show lung."""
    area = np.count_nonzero(lungs.values, axis=(1, 2))
    centre = [(n - 1) / 2 for n in lungs.values.shape[1:]]
    places = np.stack([np.arange(len(area)), *(np.full(len(area), c) for c in centre), np.ones(len(area))])
    # Where each slice of the mask lies among the slices of the scan.
    index = (np.linalg.inv(volume.affine) @ lungs.affine @ places)[0]
    shown = index[area > END_AREA * area.max()]
    step = max(1.0, lungs.spacing[0] / volume.spacing[0])  # a coarse mask ends up to half its step early
    ends = []
    if shown.min() < END_DISTANCE * step:
        ends.append("bottom")
    if shown.max() > volume.shape[0] - 1 - END_DISTANCE * step:
        ends.append("top")
    return ends
