"""A CT scanner drawn at random, and what its kernel and its noise make of a slice."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from covid19net.phantom.bands import Band
from covid19net.phantom.room import Clutter, draw_clutter

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


class Kernel(NamedTuple):
    """What a reconstruction kernel does to edges and noise; see `Scanner`."""

    blur: float
    sharpen: float
    grain: float


def draw_kernel(rng: np.random.Generator, *, sharp: bool) -> Kernel:
    """Draw a soft or a sharp kernel."""
    if sharp:
        return Kernel(
            float(rng.uniform(0.35, 0.5)), float(rng.uniform(0.4, 1.4)), float(rng.uniform(0.22, 0.38))
        )
    return Kernel(float(rng.uniform(0.4, 0.8)), 0.0, float(rng.uniform(0.35, 0.6)))


def draw_scanner(rng: np.random.Generator) -> Scanner:
    """Draw a scanner and its settings; equal states of the generator give equal scanners."""
    spacing = float(rng.choice([0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 5.0, 7.0, 8.0, 10.0]))
    thickness = spacing * float(rng.choice([1.0, 1.0, 1.25, 0.6]))
    sharp = rng.random() < 0.4
    fov = float(rng.uniform(310, 480))
    contrast = rng.random() < 0.3
    early = rng.uniform(0, 1)
    noise = float(np.clip(rng.lognormal(np.log(42 if sharp else 17), 0.4) / np.sqrt(thickness / 2.5), 4, 90))
    centre = (float(rng.normal(0, 9)), float(rng.normal(-42, 10)))
    kernel = draw_kernel(rng, sharp=sharp)
    return Scanner(
        spacing=spacing,
        thickness=thickness,
        fov=fov,
        centre=centre,
        blur=kernel.blur,
        sharpen=kernel.sharpen,
        noise=noise,
        grain=kernel.grain,
        padding=int(rng.choice([-1024, -2000, -2048, -3024])) if rng.random() < 0.35 else None,
        clutter=draw_clutter(rng),
        enhancement=(rng.uniform(90, 330), rng.uniform(60, 260) * early + 40) if contrast else (0.0, 0.0),
        top=float(rng.uniform(5, 130)),
        bottom=float(rng.uniform(230, 400)),
    )


def outside_field(scanner: Scanner, axes: tuple[np.ndarray, ...]) -> np.ndarray:
    """Pixels (y, x) outside the circle the scanner reconstructs."""
    x, y = axes[2] - scanner.centre[0], axes[1] - scanner.centre[1]
    return np.asarray(x[None] ** 2 + y[:, None] ** 2 > (scanner.fov / 2) ** 2)


def expose(
    scanner: Scanner,
    hu: np.ndarray,
    axes: tuple[np.ndarray, ...],
    rng: np.random.Generator,
    *,
    shoulders: bool,
) -> np.ndarray:
    """Blur, kernel, noise, rounding: a slice as the scanner stores it (int16).

    Args:
        scanner: how.
        hu: the slice, axes (y, x).
        axes: coordinates (z, y, x) of the scan in the room, mm.
        rng: random numbers for the noise.
        shoulders: whether the slice lies between the shoulders.
    """
    pixel = (axes[1][1] - axes[1][0], axes[2][1] - axes[2][0])
    sigma = [scanner.blur / p for p in pixel]
    hu = _smooth(hu.astype(np.float32), sigma)
    if scanner.sharpen:
        hu = hu + scanner.sharpen * (hu - _smooth(hu, [1.0 / p for p in pixel]))
    if scanner.noise:
        hu = hu + _noise(scanner, hu, pixel, rng, shoulders)
    return np.asarray(np.clip(np.round(hu), LOWEST, HIGHEST).astype(np.int16))


def _noise(
    scanner: Scanner, hu: np.ndarray, pixel: tuple[float, float], rng: np.random.Generator, shoulders: bool
) -> np.ndarray:
    """Grainy noise, weaker in air and lung as in soft tissue; streaks between the shoulders."""
    white = rng.standard_normal(hu.shape, np.float32)
    grain = _smooth(white, [scanner.grain / p for p in pixel])
    if scanner.sharpen:
        grain -= _smooth(grain, [1.6 / p for p in pixel])
    dense = np.clip((hu[::8, ::8] + 1000) / 1000, 0, 1.3)
    dense = ndimage.gaussian_filter(dense, [12 / (8 * p) for p in pixel])
    level = _spread(hu.shape[0]) @ dense @ _spread(hu.shape[1]).T
    out = grain * (scanner.noise / max(float(grain.std()), 1e-6))
    out *= 0.7 + 0.3 * level  # soft tissue 1, lung about 0.75, as in open scans
    if shoulders:
        streak = ndimage.gaussian_filter1d(rng.standard_normal(hu.shape, np.float32), 25 / pixel[1], axis=1)
        out += streak * (0.8 * scanner.noise / max(float(streak.std()), 1e-6)) * level
    return np.asarray(out)


def _smooth(image: np.ndarray, sigma: list[float]) -> np.ndarray:
    """Gaussian filter, sigma in pixels along (rows, columns): that of scipy, faster on slice after slice."""
    return _gauss(image.shape[1], sigma[1]).across(_gauss(image.shape[0], sigma[0]).down(image))


@lru_cache(maxsize=16)
def _gauss(count: int, sigma: float) -> Band:
    return Band.of(ndimage.gaussian_filter1d(np.eye(count, dtype=np.float32), sigma, axis=0, truncate=3))


@lru_cache(maxsize=8)
def _spread(count: int) -> np.ndarray:
    """Matrix from values of every eighth of `count` pixels to all, the steps smoothed over nine pixels."""
    steps = np.repeat(np.eye(-(-count // 8), dtype=np.float32), 8, axis=0)[:count]
    return np.asarray(ndimage.uniform_filter1d(steps, 9, axis=0))
