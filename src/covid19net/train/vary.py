"""Chance variations of a lung image: what another patient, position, scanner or dose could have made of it.

`draw_variation` chooses the numbers from a passed generator; `vary` carries them out on any device and holds
no chance of its own.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Variation:
    """The numbers of one variation.

    Attributes:
        mirror: left and right are exchanged.
        place: 3x4 matrix from normalised output to normalised input coordinates (x, y, z, 1), each in
            [-1, 1]; None keeps every voxel where it is, so that the grain of the noise stays too.
        gain: factor on the image, whose sd is 1.
        offset: added to it.
        noise: standard deviation of added white noise.
        blur: share of each voxel's in-plane neighbours mixed in, 0 to 1: a softer kernel.
        thick: share of the slices above and below mixed in, 0 to 1: thicker slices.
        seed: of the noise.
    """

    mirror: bool
    place: np.ndarray | None
    gain: float
    offset: float
    noise: float
    blur: float
    thick: float
    seed: int


def draw_variation(rng: np.random.Generator) -> Variation:
    """Choose a variation.

    The authors' augmentation is not known. Ours is mild, because box, size and HU are standardized already:
    rotations by a few degrees and 6 % of zoom (position, breathing), a tenth of intensity (kV, contrast),
    noise and blur (dose, kernel), mixing of slices (thickness).
    """
    place = None
    if rng.random() < 0.5:
        turn = np.deg2rad(rng.normal(0, 4))
        turned = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        shift = rng.normal(0, 0.04, 3)
        place = np.column_stack([turned * np.exp(rng.normal(0, 0.06, 3)), shift]).astype(np.float32)
    return Variation(
        mirror=bool(rng.random() < 0.5),
        place=place,
        gain=float(np.exp(rng.normal(0, 0.1))),
        offset=float(rng.normal(0, 0.1)),
        noise=float(rng.uniform(0, 0.3) * (rng.random() < 0.5)),
        blur=float(rng.uniform(0, 1) * (rng.random() < 0.25)),
        thick=float(rng.uniform(0, 1) * (rng.random() < 0.25)),
        seed=int(rng.integers(2**31)),
    )


def vary(image: Tensor, variation: Variation) -> Tensor:
    """Carry out a variation on the device the image is on.

    Args:
        image: (z, y, x), mean 0 and sd 1, float32 or float16.
        variation: from `draw_variation`.

    Returns:
        float32, same shape.
    """
    image = image.float()
    if variation.mirror:
        image = image.flip(2)
    if variation.place is not None:
        grid = functional.affine_grid(
            torch.from_numpy(variation.place)[None].to(image.device),
            [1, 1, *image.shape],
            align_corners=False,
        )
        moved = functional.grid_sample(image[None, None], grid, padding_mode="border", align_corners=False)
        image = moved[0, 0]
    if variation.thick:
        image = _mixed(image, (3, 1, 1), variation.thick)
    if variation.blur:
        image = _mixed(image, (1, 3, 3), variation.blur)
    image = image * variation.gain + variation.offset
    if variation.noise:
        chance = torch.Generator(image.device).manual_seed(variation.seed)
        image = image + variation.noise * torch.randn(image.shape, generator=chance, device=image.device)
    return image


def _mixed(image: Tensor, size: tuple[int, int, int], share: float) -> Tensor:
    """The image with a share of its moving average; at the ends over the voxels that are there."""
    pads = tuple(n // 2 for n in size)
    mean = functional.avg_pool3d(image[None, None], size, 1, pads, count_include_pad=False)[0, 0]
    return torch.lerp(image, mean, share)
