"""Chance views of a slice: what a scanner, a table position and a reconstruction could have made of it.

`draw_view` chooses the numbers, `apply_view` carries them out; the second holds no randomness of its own.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
import torch
from torch.nn import functional

AIR = -1024.0  # HU; the lowest value the lung network sees, and what surrounds a picture
OUTSIDE = 0  # value of the mask around a picture
ELASTIC_GRID = 6  # control points along each side of the elastic displacement
CHANNELS = 3  # the slice below, the slice itself, the slice above


class Stack(NamedTuple):
    """A slice with its neighbours.

    Attributes:
        hu: HU, axes (slice below / itself / above, y, x), float32.
        mask: 1 lung, 0 not, 255 unknown; axes (y, x), uint8.
    """

    hu: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class View:
    """The numbers of one augmentation.

    Attributes:
        place: 2x3 matrix from normalised output to normalised input coordinates (x, y, 1), both in [-1, 1].
        elastic: displacement of the control points, normalised, axes (2, y, x).
        drift: further displacement of each channel, normalised, axes (channel, 2): breathing between slices.
        mixture: 3x3 weights of the channels, rows sum to 1: slice thickness and distance.
        gain: factor on HU + 1000.
        offset: HU.
        blur: standard deviation of a Gaussian in plane, pixels.
        noise: standard deviation, HU, before the noise is smoothed.
        grain: standard deviation of the Gaussian that smooths the noise, pixels.
        circle: radius of the reconstructed field over half the picture's side; beyond it is air.
        seed: of the noise.
    """

    place: np.ndarray
    elastic: np.ndarray
    drift: np.ndarray
    mixture: np.ndarray
    gain: float
    offset: float
    blur: float
    noise: float
    grain: float
    circle: float
    seed: int


def draw_view(rng: np.random.Generator, *, single: bool = False) -> View:
    """Choose a view.

    Args:
        rng: the only source of chance.
        single: the slice has no neighbours of its own and is its own copy above and below; the copies are
            then moved against each other.
    """
    wild = rng.random() < 0.6
    return View(
        place=_draw_place(rng),
        elastic=rng.normal(0, rng.uniform(0, 0.03) * wild, (2, ELASTIC_GRID, ELASTIC_GRID)).astype(
            np.float32
        ),
        drift=_draw_drift(rng, single),
        mixture=_draw_mixture(rng),
        gain=float(rng.uniform(0.92, 1.08)),
        offset=float(rng.normal(0, 20)),
        blur=float(rng.choice([0, 0, rng.uniform(0.3, 1.2)])),
        noise=float(rng.choice([0, np.exp(rng.uniform(np.log(5), np.log(90)))], p=[0.3, 0.7])),
        grain=float(rng.choice([0, rng.uniform(0.4, 1.2)])),
        circle=float(rng.choice([2.0, rng.uniform(0.92, 1.08)], p=[0.8, 0.2])),
        seed=int(rng.integers(2**32)),
    )


def _draw_place(rng: np.random.Generator) -> np.ndarray:
    """Mirroring left-right, rotation (now and then prone or on a side), zoom, shift."""
    degrees = rng.normal(0, 8)
    turned = rng.random()
    if turned < 0.14:
        degrees += 180
    elif turned < 0.17:
        degrees += rng.choice([-90, 90])
    # Zoom above 1 looks at a larger field: the patient becomes smaller.
    zoom = (
        np.exp(rng.normal(0, 0.12)) if rng.random() < 0.7 else np.exp(rng.uniform(np.log(0.65), np.log(1.9)))
    )
    aspect = np.exp(rng.normal(0, 0.05))
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([zoom * aspect, zoom / aspect])
    if rng.random() < 0.5:
        matrix[0] *= -1  # the input's x: the patient is mirrored
    shift = rng.normal(0, 0.05, 2) + (rng.uniform(-0.35, 0.35, 2) * (zoom - 1) if zoom > 1 else 0)
    return np.column_stack([matrix, shift]).astype(np.float32)


def _draw_drift(rng: np.random.Generator, single: bool) -> np.ndarray:
    drift = np.zeros((CHANNELS, 2), np.float32)
    if single and rng.random() < 0.7:
        drift[[0, 2]] = rng.normal(0, 0.01, (2, 2))
    return drift


def _draw_mixture(rng: np.random.Generator) -> np.ndarray:
    """Thicker slices average their neighbours; closer slices resemble the middle one."""
    thick, near = (rng.uniform(0, 0.3), rng.uniform(0, 1)) if rng.random() < 0.4 else (0.0, 0.0)
    if rng.random() < 0.05:
        near = 1.0  # the first and last slice of a scan, or one slice alone
    return np.array([[1 - near, near, 0], [thick, 1 - 2 * thick, thick], [0, near, 1 - near]], np.float32)


def apply_view(stack: Stack, view: View) -> Stack:
    """Make the view of a stack; sizes stay as they are."""
    hu, mask = _warp(stack, view)
    hu = np.tensordot(view.mixture, hu, 1)
    if view.blur:
        hu = ndimage.gaussian_filter(hu, (0, view.blur, view.blur))
    hu = (hu + 1000) * view.gain - 1000 + view.offset
    if view.noise:
        noise = np.random.default_rng(view.seed).standard_normal(hu.shape, np.float32)
        noise = ndimage.gaussian_filter(noise, (0, view.grain, view.grain)) if view.grain else noise
        hu += view.noise * noise
    if view.circle < np.sqrt(2):
        y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in mask.shape)
        outside = y[:, None] ** 2 + x**2 > view.circle**2
        hu[:, outside], mask[outside] = AIR, OUTSIDE
    return Stack(np.maximum(hu, AIR).astype(np.float32), mask)


def _warp(stack: Stack, view: View) -> tuple[np.ndarray, np.ndarray]:
    """Bicubic for HU, nearest for the mask; air and no lung beyond the picture."""
    height, width = stack.mask.shape
    place = torch.from_numpy(view.place)[None]
    grid = functional.affine_grid(place, [1, 1, height, width], align_corners=False)
    bend = functional.interpolate(
        torch.from_numpy(view.elastic)[None], (height, width), mode="bicubic", align_corners=True
    )
    grid = grid + bend.permute(0, 2, 3, 1)
    drift = torch.from_numpy(view.drift)[:, None, None, :]
    raised = torch.from_numpy(stack.hu - np.float32(AIR))[:, None]
    grids = (grid + drift).expand(len(stack.hu), -1, -1, -1)
    hu = functional.grid_sample(raised, grids, mode="bicubic", padding_mode="zeros", align_corners=False)
    label = torch.from_numpy(stack.mask.astype(np.float32))[None, None]
    mask = functional.grid_sample(label, grid, mode="nearest", padding_mode="zeros", align_corners=False)
    return hu[:, 0].numpy() + np.float32(AIR), mask[0, 0].numpy().astype(np.uint8)


def standardized(hu: np.ndarray) -> np.ndarray:
    """Clip at -1024 HU and scale every channel to mean 0 and sd 1, as the lung network wants it.

    Args:
        hu: axes (channel, y, x).
    """
    hu = np.maximum(hu, np.float32(AIR))
    mean, sd = hu.mean((1, 2), keepdims=True), hu.std((1, 2), keepdims=True)
    return np.asarray((hu - mean) / (sd + np.float32(1e-6)), np.float32)
