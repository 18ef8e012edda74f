"""Both networks on an NVIDIA GPU with one kernel of their own: BN, ReLU and convolution in a single step.

Nearly all work of both networks is that step. Done apart, as libraries do it, each part reads and writes its
maps in the GPU's memory, which takes longer than the arithmetic; and libraries are slow at convolutions with
as few channels as these. Here the norm is applied while a tile is loaded, and a dense unit's result goes
straight to its place in the block's maps, so that nothing is concatenated.

Needs Triton, which comes with torch for CUDA on Linux. In float32 products are exact to float32: by
"ieee", or by "tf32x3", three products of split numbers, whose error is that of float32, not of TF32.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
import triton
from triton import language as tl

from covid19net.nets.covid19net import Backbone, Shrunken, max_pool
from covid19net.nets.densenet_fpn import DenseNet121, DenseNetFPN

Exactness = Literal["ieee", "tf32x3"]
TILE = 128  # voxels a program works on


@triton.jit
def _step(  # noqa: ANN202, PLR0913
    x, scale, shift, weight, y, voxels, depth, height, width, channels, filters, in_row, out_row,  # noqa: ANN001
    TAPS: tl.constexpr, MORE: tl.constexpr, TO: tl.constexpr, TILE: tl.constexpr, HOW: tl.constexpr,  # noqa: N803
):  # fmt: skip
    """Convolve relu(scale * x + shift), which is zero outside the picture.

    x and y have axes (voxel, channel) with rows of in_row and out_row numbers; voxels lie in order (z, y, x).
    weight has axes (tap, channel, filter); 1, 9 (y, x) or 27 (z, y, x) taps. MORE channels are added up at a
    time, TO is the number of filters, filled up.
    """
    place = tl.program_id(0) * TILE + tl.arange(0, TILE)
    at_z, at_y, at_x = place // (height * width), place // width % height, place % width
    to = tl.arange(0, TO)
    total = tl.zeros((TILE, TO), tl.float32)
    for tap in range(TAPS):
        dz, dy, dx = 0, 0, 0
        if TAPS > 1:
            dy, dx = tap // 3 % 3 - 1, tap % 3 - 1
        if TAPS == 27:
            dz = tap // 9 - 1
        inside = (at_z + dz >= 0) & (at_z + dz < depth) & (at_y + dy >= 0) & (at_y + dy < height)
        inside = inside & (at_x + dx >= 0) & (at_x + dx < width) & (place < voxels)
        near = place + (dz * height + dy) * width + dx
        for first in range(0, channels, MORE):
            c = first + tl.arange(0, MORE)
            there = inside[:, None] & (c < channels)[None, :]
            a = tl.load(x + near[:, None] * in_row + c[None, :], mask=there, other=0.0).to(tl.float32)
            s = tl.load(scale + c, mask=c < channels, other=0.0)
            b = tl.load(shift + c, mask=c < channels, other=0.0)
            a = tl.where(there, tl.maximum(a * s[None, :] + b[None, :], 0.0), 0.0)
            w = tl.load(
                weight + (tap * channels + c)[:, None] * filters + to[None, :],
                mask=(c < channels)[:, None] & (to < filters)[None, :],
                other=0.0,
            )
            total = tl.dot(a.to(w.dtype), w, total, input_precision=HOW)
    kept = (place < voxels)[:, None] & (to < filters)[None, :]
    tl.store(y + place[:, None] * out_row + to[None, :], total.to(y.dtype.element_ty), mask=kept)


def _scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
    assert norm.running_var is not None
    assert norm.running_mean is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    shift = norm.bias.double() - norm.running_mean.double() * scale
    return scale.float(), shift.float()


class NormReluConv(nn.Module):
    """BN, ReLU and a convolution of stride 1 with "same" padding, on maps with channels last.

    Args:
        norm: in evaluation mode.
        conv: without bias, 1 or 3 wide along every axis; 2-D or 3-D.
        how: products of float32; for bfloat16 it does not matter.
    """

    def __init__(self, norm: nn.Module, conv: nn.Module, how: Exactness = "ieee") -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)
        self.scale, self.shift = _scale_and_shift(norm)
        filters, channels = conv.weight.shape[:2]
        self.weight = conv.weight.detach().flatten(2).permute(2, 1, 0).contiguous()  # (tap, channel, filter)
        self.channels, self.filters, self.how = channels, filters, how
        if conv.weight.dtype == torch.float32:
            self.more, self.warps = 16, 4
        else:
            self.more, self.warps = 64 if channels % 64 == 0 else 32, 8 if filters > 64 else 4

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """From (z, y, x, channel) to (z, y, x, filter); both may be some channels of wider maps."""
        out = x.new_empty((*x.shape[:3], self.filters)) if out is None else out
        z, height, width, _ = x.shape
        voxels = z * height * width
        _step[(triton.cdiv(voxels, TILE),)](
            x, self.scale, self.shift, self.weight, out, voxels, z, height, width,
            self.channels, self.filters, x.stride(2), out.stride(2),
            TAPS=self.weight.shape[0], MORE=self.more, TO=max(triton.next_power_of_2(self.filters), 16),
            TILE=TILE, HOW=self.how, num_warps=self.warps,
        )  # fmt: skip
        return out


class DenseBlock(nn.Module):
    """The units of a dense block, each two of `NormReluConv`, which fill the block's maps in place."""

    def __init__(
        self, units: Sequence[tuple[nn.Module, nn.Module, nn.Module, nn.Module]], how: Exactness
    ) -> None:
        super().__init__()
        self.first = nn.ModuleList(NormReluConv(norm, conv, how) for norm, conv, _, _ in units)
        self.second = nn.ModuleList(NormReluConv(norm, conv, how) for _, _, norm, conv in units)
        self.growth = int(units[0][3].weight.shape[0])  # type: ignore[arg-type, union-attr, index]

    def forward(self, x: Tensor) -> Tensor:
        """(z, y, x, channel) -> the same with the channels of all units added."""
        have = x.shape[3]
        maps = x.new_empty((*x.shape[:3], have + self.growth * len(self.first)))
        maps[..., :have] = x
        for first, second in zip(self.first, self.second, strict=True):
            second(first(maps), maps[..., have : have + self.growth])
            have += self.growth
        return maps


def _units(block: nn.Module, names: tuple[str, str, str, str]) -> list[tuple[nn.Module, ...]]:
    return [tuple(getattr(unit, name) for name in names) for unit in block.children()]


def _first(x: Tensor) -> Tensor:
    """Maps (z, y, x, channel) as torch names their axes, (1, channel, z, y, x); in memory as before."""
    return x.permute(3, 0, 1, 2)[None]


def _last(x: Tensor) -> Tensor:
    return x[0].permute(1, 2, 3, 0).contiguous()


class FusedBackbone(nn.Module):
    """`Backbone` in evaluation mode, for one image in float32; the same numbers to rounding."""

    def __init__(self, plain: Backbone, how: Exactness = "ieee") -> None:
        super().__init__()
        self.plain = plain
        names = ("bn1", "conv1", "bn2", "conv2")
        self.stem = NormReluConv(plain.stem_bn, plain.stem_conv2, how)
        blocks = (plain.block1, plain.block2, plain.block3)
        self.blocks = nn.ModuleList(DenseBlock(_units(block, names), how) for block in blocks)  # type: ignore[arg-type]
        transitions = (plain.transition1, plain.transition2)
        self.transitions = nn.ModuleList(NormReluConv(t.bn, t.conv, how) for t in transitions)

    def forward(self, x: Tensor) -> Tensor:  # (1, 1, 48, 240, 360)
        """Return the feature maps at the end of dense block 3, (1, 152, 6, 15, 23)."""
        x = self.stem(_last(self.plain.stem_conv1(x)))
        for block, transition in zip(self.blocks, (*self.transitions, None), strict=True):
            x = block(x) if transition is None else transition(block(x))
            pooled = max_pool(_first(x), (2, 2, 2))
            x = _last(pooled)
        return functional.relu(self.plain.bn(pooled))


class FusedEncoder(nn.Module):
    """`DenseNet121` in evaluation mode; the same numbers to rounding."""

    def __init__(self, plain: DenseNet121, how: Exactness = "ieee") -> None:
        super().__init__()
        self.plain = plain
        names = ("norm1", "conv1", "norm2", "conv2")
        blocks = (plain.denseblock1, plain.denseblock2, plain.denseblock3, plain.denseblock4)
        self.blocks = nn.ModuleList(DenseBlock(_units(block, names), how) for block in blocks)  # type: ignore[arg-type]
        transitions = (plain.transition1, plain.transition2, plain.transition3)
        self.transitions = nn.ModuleList(NormReluConv(t.norm, t.conv, how) for t in transitions)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:  # (B, 3, 256, 256)
        """Return the skips, finest first, as the plain encoder does; channels last in memory."""
        plain = self.plain
        c1 = functional.relu(plain.norm0(plain.conv0(x)), inplace=True)
        x = functional.max_pool2d(c1, 3, stride=2, padding=1)
        skips = [c1]
        for block, transition in zip(self.blocks, self.transitions, strict=False):
            skips.append(transition(block(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2))
            x = functional.avg_pool2d(skips[-1], 2)
        last = self.blocks[3](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return (*skips, functional.relu(plain.norm5(last), inplace=True))


class FusedFPN(nn.Module):
    """`DenseNetFPN` in evaluation mode, in its place and precision already; the same numbers to rounding."""

    def __init__(self, plain: DenseNetFPN, how: Exactness = "ieee") -> None:
        super().__init__()
        self.plain = plain
        self.encoder = FusedEncoder(plain.encoder, how)
        weight = plain.predict.weight.detach()  # (1, channel, 3, 3)
        self.taps = weight[0].flatten(1).T[:, :, None, None].contiguous()  # (9, channel, 1, 1)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, 256, 256)
        """Return one logit a pixel, (B, 1, 256, 256), float32.

        The last convolution sums over channels first and enlarges its nine taps, not all channels.
        """
        x = functional.conv2d(self.plain.decode(*self.encoder(x)), self.taps).float()
        x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        height, width = x.shape[2:]
        x = functional.pad(x, (1, 1, 1, 1))
        assert self.plain.predict.bias is not None
        logit = self.plain.predict.bias.float() + x[:, :1, :height, :width]
        for tap in range(1, 9):
            dy, dx = divmod(tap, 3)
            logit += x[:, tap : tap + 1, dy : dy + height, dx : dx + width]
        return logit


def fused(module: nn.Module, how: Exactness = "ieee") -> nn.Module:
    """Make a part of a network, on the GPU and in its precision, use these kernels where it can."""
    if isinstance(module, DenseNetFPN):
        return FusedFPN(module, how)
    if isinstance(module, Backbone):
        return FusedBackbone(module, how)
    if isinstance(module, Shrunken):
        module.backbone = FusedBackbone(module.backbone, how)  # type: ignore[assignment]
    return module
