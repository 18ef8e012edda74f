"""What single filters of the network answer to: pictures that excite them most (Figure 6a to d). Needs torch.

Activation maximisation (Erhan 2009, "Visualizing higher-layer features of a deep network") of the middle
voxel of a filter's map, from seeded noise, in a patch about as large as what that voxel sees. Each step
climbs by a fixed length, so that filters of any scale are treated alike, and pays for roughness (squared
total variation, Mahendran 2015, arXiv 1412.0035) and for size; before it the picture is shifted by a voxel or
not, so that no single grid of voxels is favoured (Mordvintsev 2015, "Inceptionism").
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from covid19net.engine.device import memory_told
from covid19net.errors import InputError
from covid19net.explain.stages import modules_of

if TYPE_CHECKING:
    from torch import Tensor, nn

DEPTHS = ("stem", "block1", "block2", "block3-unpooled")  # four, as in the figure; none is cut at zero
# Voxels (z, y, x) of a pattern. What a filter sees, from kernels and strides: 5 x 7 x 7 at the stem, then
# 13 x 23 x 23, 38 x 73 x 73 and 104 x 205 x 205, of which block 2 and 3 get a part.
PATCHES = {
    "stem": (8, 12, 12),
    "block1": (14, 24, 24),
    "block2": (24, 64, 64),
    "block3-unpooled": (24, 80, 80),
}


@dataclass(frozen=True)
class Recipe:
    """How patterns are searched for.

    Attributes:
        steps: of gradient ascent.
        rate: root mean square of a step, in standard deviations of a lung image.
        jitter: largest shift before each step, voxels.
        smooth: share of its squared total variation's gradient a step takes off; below 1/6, or it swings.
        modest: share of the pattern a step takes off.
        start: standard deviation of the noise it begins with.
    """

    steps: int = 64
    rate: float = 0.1
    jitter: int = 1
    smooth: float = 0.08
    modest: float = 0.02
    start: float = 0.1


@dataclass(frozen=True, eq=False)
class Pattern:
    """What a filter answers to.

    Attributes:
        stage: where the filter is.
        channel: which of the stage's it is.
        values: the pattern, float32, (z, y, x), in standard deviations of a lung image.
        before: activation of the middle voxel for the noise it began with.
        after: the same for the pattern.
    """

    stage: str
    channel: int
    values: np.ndarray
    before: float
    after: float


def channels_of(backbone: "nn.Module", stage: str, count: int, seed: int = 0) -> tuple[int, ...]:
    """Draw filters of a stage, those that the stage itself adds before those it passes on.

    Args:
        backbone: of a network.
        stage: one of `DEPTHS`.
        count: how many, or fewer where there are fewer.
        seed: of the draw.
    """
    import torch
    from torch import nn

    module = _module(backbone, stage)
    total = _maps(backbone, module, torch.zeros(1, 1, 8, 16, 16)).shape[1]
    own = [m for m in module.modules() if isinstance(m, nn.Conv3d)][-1].out_channels
    chosen = np.random.default_rng(seed).permutation(own)[:count]
    return tuple(sorted(int(c) for c in chosen + total - own))  # a dense unit adds its own at the end


def maximise(
    backbone: "nn.Module",
    stage: str,
    channels: Sequence[int],
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> list[Pattern]:
    """Find the pattern each filter answers to.

    Args:
        backbone: of a network, in evaluation mode.
        stage: one of `DEPTHS`.
        channels: of the stage's maps.
        recipe: how; None for the usual one.
        seed: of noise and shifts; the same seed gives the same patterns on one machine.
        progress: called with the share done.

    Raises:
        InputError: a stage or a channel that is none.
        ResourceError: not enough memory.
    """
    import torch

    recipe = recipe or Recipe()
    module = _module(backbone, stage)
    dice = torch.Generator().manual_seed(seed)
    x = recipe.start * torch.randn((len(channels), 1, *PATCHES[stage]), generator=dice)
    with memory_told("searching for patterns"):
        before = _activation(backbone, module, x, channels).tolist()
        for step in range(recipe.steps):
            shifts = torch.randint(-recipe.jitter, recipe.jitter + 1, (3,), generator=dice).tolist()
            shifted = x.roll(shifts, (2, 3, 4)).requires_grad_()
            with torch.enable_grad():
                wanted = _activation(backbone, module, shifted, channels).sum()
            (slope,) = torch.autograd.grad(wanted, shifted)
            x = _stepped(shifted.detach(), slope, recipe).roll([-s for s in shifts], (2, 3, 4))
            if progress:
                progress((step + 1) / recipe.steps)
        after = _activation(backbone, module, x, channels).tolist()
    found = x[:, 0].numpy()
    return [Pattern(stage, *row) for row in zip(channels, found, before, after, strict=True)]


def _module(backbone: "nn.Module", stage: str) -> "nn.Module":
    if stage not in DEPTHS:
        raise InputError(f"no filters of {stage!r} are shown: choose from {', '.join(DEPTHS)}")
    return modules_of(backbone)[stage]


class _ReachedError(Exception):
    """The stage has answered; what follows it need not run."""


def _maps(backbone: "nn.Module", module: "nn.Module", x: "Tensor") -> "Tensor":
    """What a stage makes of pictures, (picture, channel, z, y, x)."""
    made: list[Tensor] = []

    def stop(_module: "nn.Module", _given: object, out: "Tensor") -> None:
        made.append(out)
        raise _ReachedError

    hook = module.register_forward_hook(stop)
    try:
        with suppress(_ReachedError):
            getattr(backbone, "backbone", backbone)(x)
    finally:
        hook.remove()
    return made[0]


def _activation(
    backbone: "nn.Module", module: "nn.Module", pictures: "Tensor", channels: Sequence[int]
) -> "Tensor":
    """The middle voxel of each pattern's own channel, (pattern,)."""
    import torch

    maps = _maps(backbone, module, pictures)
    if not all(0 <= channel < maps.shape[1] for channel in channels):
        raise InputError(f"the stage has channels 0 to {maps.shape[1] - 1}, not {list(channels)}")
    z, y, x = (n // 2 for n in maps.shape[2:])
    return torch.stack([maps[i, channel, z, y, x] for i, channel in enumerate(channels)])


def _stepped(x: "Tensor", slope: "Tensor", recipe: Recipe) -> "Tensor":
    """The pictures one step on; at their edges they go on at the other side, as shifts make them."""
    rough = sum((2 * x - x.roll(1, axis) - x.roll(-1, axis) for axis in (2, 3, 4)), start=0 * x)
    unit = slope.square().mean(dim=(1, 2, 3, 4), keepdim=True).sqrt().clamp_min(1e-12)
    return x + recipe.rate * slope / unit - recipe.smooth * rough - recipe.modest * x
