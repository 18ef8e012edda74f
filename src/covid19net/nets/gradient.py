"""The head of COVID-19Net with its own gradient written out as ordinary forward operations.

Grad-CAM needs the gradient of the logit with respect to the backbone's maps. Automatic differentiation cannot
be converted to an inference engine; these few lines can, so that a heat map needs no training library at run
time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from covid19net.nets.covid19net import DenseUnit, Head, max_pool


def _gate(bn: nn.BatchNorm3d, normalized: Tensor, gradient: Tensor) -> Tensor:
    """Gradient before "BN, ReLU", from the gradient after it; `normalized` is the output of the BN."""
    assert bn.running_var is not None
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return torch.where(normalized > 0, gradient, 0.0) * scale.view(1, -1, 1, 1, 1)


def _through_unit(unit: DenseUnit, x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient at the input of a dense unit, from the gradient at its concatenated output."""
    channels = x.shape[1]
    first = unit.bn1(x)
    second = unit.bn2(unit.conv1(functional.relu(first)))
    new = functional.conv_transpose3d(gradient[:, channels:], unit.conv2.weight, padding=1)
    new = functional.conv_transpose3d(_gate(unit.bn2, second, new), unit.conv1.weight, padding=1)
    return gradient[:, :channels] + _gate(unit.bn1, first, new)


def _through_pool(x: Tensor, pooled: Tensor, gradient: Tensor) -> Tensor:
    """Gradient at the input of the (1, 2, 2) max pool: it all goes to the first largest voxel of a window."""
    height, width = x.shape[3:]
    wide = functional.pad(x, [0, width % 2, 0, height % 2], value=float("-inf"))
    taken = torch.zeros_like(pooled)
    rows = []
    for dy in (0, 1):
        cells = []
        for dx in (0, 1):
            here = torch.where(wide[:, :, :, dy::2, dx::2] == pooled, 1.0 - taken, 0.0)
            taken = taken + here
            cells.append(here * gradient)
        rows.append(torch.stack(cells, -1).flatten(-2))  # columns interleaved: (B, C, z, h, 2w)
    return torch.stack(rows, 4).flatten(3, 4)[:, :, :, :height, :width]  # rows interleaved


class HeadWithGradient(nn.Module):
    """A `Head` in evaluation mode that also returns the gradient of its logit with respect to its input."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head.eval()

    @property
    def units(self) -> list[DenseUnit]:
        """The two dense units of block 4."""
        return [unit for unit in self.head.block if isinstance(unit, DenseUnit)]

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (B, 152, 6, 15, 23)
        """Return the logit (B,), the DL feature (B, 64) and d logit / d maps, shaped as the maps."""
        first, second = self.units
        x1 = first(maps)  # (B, 184, 6, 15, 23)
        x2 = second(x1)  # (B, 216, 6, 15, 23)
        pooled = max_pool(x2, (1, 2, 2))  # (B, 216, 6, 8, 12)
        transition = self.head.transition
        normalized = transition.bn(pooled)
        features = transition.conv(functional.relu(normalized)).mean(dim=(2, 3, 4))
        logit = self.head.predict(features).squeeze(1)

        # The mean spreads one constant over all places: backwards, the 1x1x1 convolution is a single vector.
        places = pooled.shape[2] * pooled.shape[3] * pooled.shape[4]
        constant = (self.head.predict.weight @ transition.conv.weight.flatten(1)) / places  # (1, 216)
        gradient = _gate(transition.bn, normalized, constant.view(1, -1, 1, 1, 1).expand_as(pooled))
        gradient = _through_pool(x2, pooled, gradient)
        gradient = _through_unit(second, x1, gradient)
        gradient = _through_unit(first, maps, gradient)
        return logit, features, gradient
