"""The scans that a scanner makes of a patient."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np

from covid19net.errors import InputError
from covid19net.phantom.anatomy import Patient
from covid19net.phantom.parenchyma import LEFT, RIGHT, Picture, picture
from covid19net.phantom.room import back_of, paint_room
from covid19net.phantom.scanner import Scanner, expose, outside_field
from covid19net.phantom.thorax import lungs, plane_at
from covid19net.volume import CTVolume, Overlay

SUBSLICE = 2.6  # mm; thicker slices are averages of planes about this far apart
COARSE_SUBSLICE = 5.0  # mm; the same where speed counts


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """A scan whose truth is known.

    Attributes:
        volume: HU (int16), upright: z to the head, y to the back, x to the patient's left.
        lungs: uint8, 1 right and 2 left lung, on the volume's grid. Lesions, consolidation at the pleura and
            vessels within the lungs are in; trachea, main bronchi, mediastinum, hilar vessels, effusion and
            what lies outside the field of view are not.
        lesions: uint8, 1 ground glass, 2 consolidation, 3 nodule.
        lobes: uint8, 1 right upper, 2 right middle, 3 right lower, 4 left upper, 5 left lower, where `lungs`
            has its lung. The borders are the fissures drawn in the picture.
        patient: who was scanned.
    """

    volume: CTVolume
    lungs: Overlay
    lesions: Overlay
    lobes: Overlay
    patient: Patient


def scan_patient(patient: Patient, scanner: Scanner, rng: np.random.Generator) -> PhantomCase:
    """Scan a patient from the scanner's bottom to its top.

    Args:
        patient: who.
        scanner: how.
        rng: random numbers for the noise alone.
    """
    height = patient.shape.scale[2]
    z = np.arange(-scanner.bottom * height, scanner.top * height + 1e-6, scanner.spacing)
    return scan_slices(patient, scanner, z, rng)


def scan_slices(
    patient: Patient, scanner: Scanner, z_mm: Sequence[float] | np.ndarray, rng: np.random.Generator
) -> PhantomCase:
    """Scan some slices only.

    Args:
        patient: who.
        scanner: how.
        z_mm: heights of the slices, mm, rising and evenly spaced; the top of the lungs is near 0.
        rng: random numbers for the noise alone.

    Raises:
        InputError: no slice, or heights not rising evenly.
    """
    pixel = scanner.fov / scanner.matrix
    steps = (np.arange(scanner.matrix) - (scanner.matrix - 1) / 2) * pixel
    axes = np.asarray(z_mm, float), steps + scanner.centre[1], steps + scanner.centre[0]
    return scan_grid(patient, scanner, axes, rng)


def scan_lungs(
    patient: Patient,
    scanner: Scanner,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (48, 240, 360),
    *,
    thickness: float | None = None,
) -> PhantomCase:
    """Scan the box around the lungs on a grid of a given shape, whatever voxel size that gives.

    Args:
        patient: who.
        scanner: kernel, noise, table and contrast; its slices, their thickness and its matrix are not used.
        rng: random numbers for the noise alone.
        shape: voxels along (z, y, x).
        thickness: thickness of slices, mm, whatever their distance; None for infinitely thin ones.
    """
    scanner = replace(scanner, thickness=thickness or 0.0)
    planes = ceil(scanner.thickness / COARSE_SUBSLICE)
    return _scan(patient, scanner, _lung_axes(patient, shape), rng, planes)


def _lung_axes(patient: Patient, shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    coarse = [
        np.arange(-330, 20, 7.0) * patient.shape.scale[2],
        np.arange(-230.0, 120, 5),
        np.arange(-200.0, 201, 5),
    ]
    planes = (plane_at(patient.shape, (coarse[2], coarse[1]), float(z)) for z in coarse[0])
    inside = np.stack([lungs(patient.shape, plane)[0] < 0 for plane in planes])
    axes = []
    for axis, (places, count) in enumerate(zip(coarse, shape, strict=True)):
        seen = places[inside.any(axis=tuple(k for k in range(3) if k != axis))]
        low, high = seen.min() - 4, seen.max() + 4
        axes.append(low + (np.arange(count) + 0.5) * (high - low) / count)
    return tuple(axes)


def scan_grid(
    patient: Patient, scanner: Scanner, axes: tuple[np.ndarray, ...], rng: np.random.Generator
) -> PhantomCase:
    """Scan a patient on any regular grid.

    Args:
        patient: who.
        scanner: how; slices and matrix come from the axes instead.
        axes: coordinates (z, y, x) in the room, LPS mm, rising and evenly spaced.
        rng: random numbers for the noise alone.

    Raises:
        InputError: an empty axis, or one that does not rise evenly.
    """
    return _scan(patient, scanner, axes, rng, round(scanner.thickness / SUBSLICE))


def _scan(
    patient: Patient,
    scanner: Scanner,
    axes: tuple[np.ndarray, ...],
    rng: np.random.Generator,
    planes: int,
) -> PhantomCase:
    """Scan on a grid, each slice the average of some planes (at least one)."""
    affine = _affine(axes, scanner.spacing)
    size = tuple(len(a) for a in axes)
    hu, (lung, lesion, lobe) = np.empty(size, np.int16), np.empty((3, *size), np.uint8)
    table = back_of(patient)
    offsets = ((np.arange(max(planes, 1)) + 0.5) / max(planes, 1) - 0.5) * scanner.thickness
    for k, z in enumerate(axes[0]):
        found = _slice(patient, scanner, (axes[2], axes[1]), float(z) + offsets, table)
        hu[k] = expose(scanner, found.hu, axes, rng, shoulders=-z < 15)
        lung[k], lesion[k], lobe[k] = found.lungs, found.lesions, found.lobes
    if scanner.padding is not None:
        unseen = outside_field(scanner, axes)
        hu[:, unseen] = scanner.padding
        lung[:, unseen], lesion[:, unseen], lobe[:, unseen] = 0, 0, 0
    lung_mask, lesion_mask, lobe_mask = (Overlay(values, affine) for values in (lung, lesion, lobe))
    return PhantomCase(CTVolume(hu, affine), lung_mask, lesion_mask, lobe_mask, patient)


def _affine(axes: tuple[np.ndarray, ...], spacing: float) -> np.ndarray:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, places in enumerate(axes):
        gaps = np.diff(places)
        step = float(gaps.mean()) if len(gaps) else spacing
        if not len(places) or (len(gaps) and (step <= 0 or np.ptp(gaps) > 1e-3 * step)):
            raise InputError(f"coordinates along axis {'zyx'[axis]} do not rise evenly, or there are none")
        affine[2 - axis, axis] = step
        affine[2 - axis, 3] = places[0]
    return affine


def _slice(
    patient: Patient,
    scanner: Scanner,
    room: tuple[np.ndarray, np.ndarray],
    heights: np.ndarray,
    table: float,
) -> Picture:
    """One slice without noise: the mean of the planes at some heights; labels where most planes agree."""
    shots = []
    for height in heights.tolist():
        plane = plane_at(patient.shape, room, height)
        shot = picture(patient, plane, scanner.enhancement)
        paint_room(scanner.clutter, shot.hu, plane, shot.body, table)
        shots.append(shot)
    if len(shots) == 1:
        return shots[0]
    hu = np.mean([s.hu for s in shots], axis=0)
    lung = np.mean([s.lungs > 0 for s in shots], axis=0) >= 0.5
    sides = np.max([s.lungs for s in shots], axis=0) * lung
    lesion = _commonest([s.lesions for s in shots]) * lung
    return Picture(hu, shots[0].body, sides, _vote([s.lobes for s in shots], sides), lesion)


def _commonest(lesions: Sequence[np.ndarray]) -> np.ndarray:
    """The lesion most planes with one show, the denser of equals; 0 where fewer than half show any."""
    votes = np.stack([np.sum([shot == kind for shot in lesions], axis=0) for kind in (3, 2, 1)])
    seen = votes.sum(0) * 2 >= len(lesions)
    return np.where(seen, 3 - np.argmax(votes, axis=0), 0).astype(np.uint8)


def _vote(lobes: Sequence[np.ndarray], sides: np.ndarray) -> np.ndarray:
    """The lobe of its side that most planes show at a pixel, 0 outside the lungs."""
    votes = [np.sum([shot == label for shot in lobes], axis=0) for label in range(1, 6)]
    right, left = np.argmax(votes[:3], axis=0) + 1, np.argmax(votes[3:], axis=0) + 4
    return np.where(sides == RIGHT, right, np.where(sides == LEFT, left, 0)).astype(np.uint8)
