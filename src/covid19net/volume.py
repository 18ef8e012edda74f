"""A CT scan, and maps made from it, as arrays that know their place in the patient.

World coordinates are millimetres in the patient system of DICOM, LPS: +x to the patient's left, +y to the
back (posterior), +z to the head (superior). An affine is a 4x4 matrix from array indices (z, y, x) to (x, y,
z) in millimetres; array axes are always written in the order (z, y, x).
"""

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from covid19net.errors import VolumeError
from covid19net.origin import Origin

SMALLEST_SPACING = 1e-3  # mm; anything below is a damaged header, not a voxel
LARGEST_SPACING = 100.0  # mm; metre or micrometre units give values outside these bounds


class Finding(NamedTuple):
    """Something a reader of the result must know: a stable code for machines, a sentence for people.

    The sentence never holds text from a scan's tags or file names: it may be shown anywhere.
    """

    code: str
    message: str


class Box(NamedTuple):
    """A block of voxels, start included, stop excluded, axes (z, y, x)."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (z, y, x)."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of an array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x


def _checked(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return a read-only float64 copy of the affine; raise when array or affine cannot be a volume."""
    if array.ndim != 3:
        raise VolumeError(f"a volume has 3 axes (z, y, x), got an array of shape {array.shape}")
    affine = np.array(affine, np.float64)
    if affine.shape != (4, 4):
        raise VolumeError(f"an affine is a 4x4 matrix, got shape {affine.shape}")
    if not np.isfinite(affine).all():
        raise VolumeError("the affine holds values that are not numbers")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not ((spacing > SMALLEST_SPACING) & (spacing < LARGEST_SPACING)).all():
        raise VolumeError(f"voxel size {np.round(spacing, 6).tolist()} mm (z, y, x) is not plausible")
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise VolumeError("the affine is singular: two voxel axes are parallel")
    affine.flags.writeable = False
    return affine


@dataclass(frozen=True, eq=False)
class CTVolume:
    """A CT scan.

    Attributes:
        hu: Hounsfield units, axes (z, y, x); int16 where every value is a whole number, else float32.
        affine: 4x4, from indices (z, y, x) to mm in LPS.

    Raises:
        VolumeError: not three axes, or an affine that cannot be one.
    """

    hu: np.ndarray
    affine: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", _checked(self.hu, self.affine))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (z, y, x)."""
        return self.hu.shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, axes (z, y, x)."""
        return spacing_of(self.affine)


@dataclass(frozen=True, eq=False)
class Overlay:
    """A mask, a probability or a heat map on a grid of its own, in the same patient.

    Attributes:
        values: axes (z, y, x).
        affine: 4x4, from indices (z, y, x) to mm in LPS.
    """

    values: np.ndarray
    affine: np.ndarray

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", _checked(self.values, self.affine))

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, axes (z, y, x)."""
        return spacing_of(self.affine)


@dataclass(frozen=True, eq=False)
class Scan:
    """A CT volume with what its files said about it.

    Attributes:
        volume: the scan, standing upright (see `upright`).
        headers: plain values without anything that names a person: UIDs, modality, scanner model, kernel,
            kV, slice thickness; what the format does not carry is absent.
        findings: what was chosen, skipped or doubted while reading.
        origin: the DICOM slices it was read from, and whose they are; None for other formats.
    """

    volume: CTVolume
    headers: dict[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    origin: Origin | None = field(default=None, repr=False)


def spacing_of(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel size in mm, axes (z, y, x), of an affine from indices (z, y, x)."""
    z, y, x = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return z, y, x


def crop(volume: CTVolume, box: Box) -> CTVolume:
    """Return the part of the scan inside the box, still in its place in the patient."""
    affine = np.array(volume.affine)
    affine[:3, 3] = (volume.affine @ [*box.start, 1])[:3]
    return CTVolume(volume.hu[box.slices], affine)


def upright(volume: CTVolume) -> CTVolume:
    """Turn the array so that z rises to the head, y to the back and x to the patient's left.

    Axes are only permuted and reversed, never interpolated: an oblique scan keeps its angles, every voxel its
    value and its place. Axes go to the assignment with the largest sum of direction cosines, so that a tilted
    scan cannot give two array axes the same name.
    """
    direction = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)  # rows x, y, z
    wanted = direction[::-1]  # rows z, y, x
    order = max(permutations(range(3)), key=lambda p: sum(abs(wanted[row, p[row]]) for row in range(3)))
    hu = volume.hu.transpose(order)
    affine = volume.affine[:, [*order, 3]].copy()
    for axis in range(3):
        if affine[2 - axis, axis] < 0:
            hu = np.flip(hu, axis)
            affine[:3, 3] += affine[:3, axis] * (hu.shape[axis] - 1)
            affine[:3, axis] *= -1
    return CTVolume(np.ascontiguousarray(hu), affine)
