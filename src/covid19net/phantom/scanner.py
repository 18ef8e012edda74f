"""A CT scanner drawn at random, and the scans it makes of a patient."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy import ndimage

from covid19net.errors import InputError
from covid19net.phantom.anatomy import Patient
from covid19net.phantom.fields import Plane
from covid19net.phantom.parenchyma import Picture, picture
from covid19net.phantom.room import Clutter, back_of, draw_clutter, paint_room
from covid19net.phantom.thorax import lungs, plane_at
from covid19net.volume import CTVolume, Overlay

SUBSLICE = 2.6  # mm; thicker slices are averages of planes about this far apart
LOWEST, HIGHEST = -1024, 3071  # HU of 12-bit scanners


@dataclass(frozen=True)
class Scanner:
    """How a scan is made.

    Attributes:
        spacing: distance of slices, mm.
        thickness: thickness of slices, mm.
        matrix: rows and columns.
        fov: width of the picture, mm.
        centre: room (x, y) of the picture's middle, mm.
        blur: standard deviation of the in-plane point spread, mm.
        sharpen: edge enhancement of the kernel, 0 for soft kernels.
        noise: standard deviation in soft tissue, HU.
        grain: size of the noise's grain, mm.
        padding: HU outside the circular field of view (of width `fov` around `centre`); None where the
            picture fills the square.
        clutter: table, blankets, leads.
        enhancement: HU that contrast medium adds to arterial and to venous blood.
        top: mm above the top of the lungs where the scan begins.
        bottom: mm below the top of the lungs where it ends.
    """

    spacing: float = 5.0
    thickness: float = 5.0
    matrix: int = 512
    fov: float = 380.0
    centre: tuple[float, float] = (0.0, -45.0)
    blur: float = 0.7
    sharpen: float = 0.0
    noise: float = 18.0
    grain: float = 0.7
    padding: int | None = None
    clutter: Clutter = field(default_factory=Clutter)
    enhancement: tuple[float, float] = (0.0, 0.0)
    top: float = 40.0
    bottom: float = 320.0


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """A scan whose truth is known.

    Attributes:
        volume: HU (int16), upright: z to the head, y to the back, x to the patient's left.
        lungs: uint8, 1 right and 2 left lung, on the volume's grid. Lesions, consolidation at the pleura and
            vessels within the lungs are in; trachea, main bronchi, mediastinum, hilar vessels, effusion and
            what lies outside the field of view are not.
        lesions: uint8, 1 ground glass, 2 consolidation, 3 nodule.
        patient: who was scanned.
    """

    volume: CTVolume
    lungs: Overlay
    lesions: Overlay
    patient: Patient


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Draw a scanner and its settings; equal states of the generator give equal scanners."""
    spacing = float(rng.choice([0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 7.0, 8.0, 10.0]))
    thickness = spacing * float(rng.choice([1.0, 1.0, 1.25, 0.6]))
    sharp = rng.random() < 0.4
    fov = float(rng.uniform(310, 480))
    contrast = rng.random() < 0.3
    early = rng.uniform(0, 1)
    noise = float(np.clip(rng.lognormal(np.log(42 if sharp else 17), 0.4) / np.sqrt(thickness / 2.5), 4, 90))
    return Scanner(
        spacing=spacing,
        thickness=thickness,
        fov=fov,
        centre=(float(rng.normal(0, 9)), float(rng.normal(-42, 10))),
        blur=float(rng.uniform(0.35, 0.5) if sharp else rng.uniform(0.4, 0.8)),
        sharpen=float(rng.uniform(0.4, 1.4)) if sharp else 0.0,
        noise=noise,
        grain=float(rng.uniform(0.22, 0.38) if sharp else rng.uniform(0.35, 0.6)),
        padding=int(rng.choice([-1024, -2000, -2048, -3024])) if rng.random() < 0.35 else None,
        clutter=draw_clutter(rng),
        enhancement=(rng.uniform(90, 330), rng.uniform(60, 260) * early + 40) if contrast else (0.0, 0.0),
        top=float(rng.uniform(5, 130)),
        bottom=float(rng.uniform(230, 400)),
    )


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
    patient: Patient, scanner: Scanner, rng: np.random.Generator, shape: tuple[int, int, int] = (48, 240, 360)
) -> PhantomCase:
    """Scan the box around the lungs on a grid of a given shape, whatever voxel size that gives.

    Args:
        patient: who.
        scanner: kernel, noise, table and contrast; its slices, their thickness and its matrix are not used.
        rng: random numbers for the noise alone.
        shape: voxels along (z, y, x).
    """
    return scan_grid(patient, replace(scanner, thickness=0.0), _lung_axes(patient, shape), rng)


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
    affine = _affine(axes, scanner.spacing)
    size = tuple(len(a) for a in axes)
    hu, lung, lesion = np.empty(size, np.int16), np.empty(size, np.uint8), np.empty(size, np.uint8)
    table = back_of(patient)
    unseen = _outside_field(scanner, axes)
    for k, z in enumerate(axes[0]):
        found = _slice(patient, scanner, (axes[2], axes[1]), float(z), table)
        hu[k] = _expose(scanner, found.hu, axes, rng, shoulders=-z < 15)
        lung[k], lesion[k] = found.lungs, found.lesions
    if scanner.padding is not None:
        hu[:, unseen], lung[:, unseen], lesion[:, unseen] = scanner.padding, 0, 0
    return PhantomCase(CTVolume(hu, affine), Overlay(lung, affine), Overlay(lesion, affine), patient)


def _outside_field(scanner: Scanner, axes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Pixels (y, x) outside the circle the scanner reconstructs."""
    x, y = axes[2] - scanner.centre[0], axes[1] - scanner.centre[1]
    return np.asarray(x[None] ** 2 + y[:, None] ** 2 > (scanner.fov / 2) ** 2)


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
    patient: Patient, scanner: Scanner, room: tuple[np.ndarray, np.ndarray], z: float, table: float
) -> Picture:
    """One slice without noise: the mean of planes through its thickness; labels where most planes agree."""
    count = max(1, round(scanner.thickness / SUBSLICE))
    heights = z + ((np.arange(count) + 0.5) / count - 0.5) * scanner.thickness
    shots = []
    for height in heights:
        plane: Plane = plane_at(patient.shape, room, float(height))
        shot = picture(patient, plane, scanner.enhancement)
        paint_room(scanner.clutter, shot.hu, plane, shot.body, table)
        shots.append(shot)
    if count == 1:
        return shots[0]
    hu = np.mean([s.hu for s in shots], axis=0)
    lung = np.mean([s.lungs > 0 for s in shots], axis=0) >= 0.5
    sides = np.max([s.lungs for s in shots], axis=0)
    lesion = np.median([s.lesions for s in shots], axis=0).astype(np.uint8)
    return Picture(hu, shots[0].body, np.where(lung, sides, 0).astype(np.uint8), lesion * lung)


def _expose(
    scanner: Scanner,
    hu: np.ndarray,
    axes: tuple[np.ndarray, ...],
    rng: np.random.Generator,
    *,
    shoulders: bool,
) -> np.ndarray:
    """Blur, kernel, noise, rounding."""
    pixel = (axes[1][1] - axes[1][0], axes[2][1] - axes[2][0])
    sigma = [scanner.blur / p for p in pixel]
    hu = ndimage.gaussian_filter(hu.astype(np.float32), sigma, truncate=3)
    if scanner.sharpen:
        hu = hu + scanner.sharpen * (hu - ndimage.gaussian_filter(hu, [1.0 / p for p in pixel], truncate=3))
    if scanner.noise:
        hu = hu + _noise(scanner, hu, pixel, rng, shoulders)
    return np.asarray(np.clip(np.round(hu), LOWEST, HIGHEST).astype(np.int16))


def _noise(
    scanner: Scanner, hu: np.ndarray, pixel: tuple[float, float], rng: np.random.Generator, shoulders: bool
) -> np.ndarray:
    """Grainy noise, weaker in air and lung as in soft tissue; streaks between the shoulders."""
    white = rng.standard_normal(hu.shape, np.float32)
    grain = ndimage.gaussian_filter(white, [scanner.grain / p for p in pixel], truncate=3)
    if scanner.sharpen:
        grain -= ndimage.gaussian_filter(grain, [1.6 / p for p in pixel], truncate=3)
    dense = np.clip((hu[::8, ::8] + 1000) / 1000, 0, 1.3)
    dense = ndimage.gaussian_filter(dense, [12 / (8 * p) for p in pixel])
    level = _spread(hu.shape[0]) @ dense @ _spread(hu.shape[1]).T
    out = grain * (scanner.noise / max(float(grain.std()), 1e-6)) * (0.5 + 0.5 * level)
    if shoulders:
        streak = ndimage.gaussian_filter1d(rng.standard_normal(hu.shape, np.float32), 25 / pixel[1], axis=1)
        out += streak * (0.8 * scanner.noise / max(float(streak.std()), 1e-6)) * level
    return np.asarray(out)


@lru_cache(maxsize=8)
def _spread(count: int) -> np.ndarray:
    """Matrix from values on every eighth of `count` pixels to all of them, steps smoothed over nine pixels."""
    steps = np.repeat(np.eye(-(-count // 8), dtype=np.float32), 8, axis=0)[:count]
    return np.asarray(ndimage.uniform_filter1d(steps, 9, axis=0))
