"""COVID-19Net: a 3-D dense network from one standardized lung image to one logit.

Wang et al. 2020 (Eur Respir J 56:2000775) and the authors' released network: all convolutions without bias,
"same" padding as TensorFlow pads it, batch-norm epsilon 1.001e-5, 894,545 parameters with batch-norm
statistics.

The network is split where heat maps are drawn. `Backbone` ends with dense block 3; `Head` is the rest, small
enough that its gradient is cheap, and the part that pretraining and transfer exchange.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1.001e-5  # of every batch normalization in the released network
IMAGE_SHAPE = (48, 240, 360)  # (z, y, x) of the lung image, paper section "Lung-ROI"
BACKBONE_CHANNELS = 152
FEATURES = 64  # the "DL feature" of the paper


def batch_norm(channels: int) -> nn.BatchNorm3d:
    """Batch normalization with the epsilon of the released network and Keras' momentum of 0.99."""
    return nn.BatchNorm3d(channels, eps=EPSILON, momentum=0.01)


class SameConv3d(nn.Conv3d):
    """A convolution padded as TensorFlow's "same": with stride 2 and an even size, on the far side only.

    torch's own `padding=1` pads both sides and would shift the picture by half a voxel at every stride.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, C, z, y, x); the output has ceil(size / stride) voxels along each axis."""
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads = [total // 2, total - total // 2, *pads]  # functional.pad counts from the last axis
        return super().forward(functional.pad(x, pads))


class DenseUnit(nn.Module):
    """BN, ReLU, conv 3x3x3, BN, ReLU, conv 3x3x3; the result is concatenated to the input."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.bn1 = batch_norm(channels)
        self.conv1 = nn.Conv3d(channels, filters, 3, padding=1, bias=False)
        self.bn2 = batch_norm(filters)
        self.conv2 = nn.Conv3d(filters, filters, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, C + filters, z, y, x)."""
        y = self.conv1(functional.relu(self.bn1(x)))
        y = self.conv2(functional.relu(self.bn2(y)))
        return torch.cat([x, y], 1)


class Transition(nn.Module):
    """BN, ReLU, conv 1x1x1."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.bn = batch_norm(channels)
        self.conv = nn.Conv3d(channels, filters, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, filters, z, y, x)."""
        out: Tensor = self.conv(functional.relu(self.bn(x)))
        return out


def dense_block(channels: int, filters: int, units: int) -> nn.Sequential:
    """`units` dense units of `filters` filters each; channels grow by units * filters."""
    return nn.Sequential(*(DenseUnit(channels + i * filters, filters) for i in range(units)))


def max_pool(x: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Max pooling as TensorFlow's "same": an odd size keeps its last, half-filled window."""
    return functional.max_pool3d(x, size, ceil_mode=True)


class Backbone(nn.Module):
    """Stem and dense blocks 1 to 3: from the lung image to the maps on which heat maps are drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem_conv1 = SameConv3d(1, 16, 3, stride=(1, 2, 2), bias=False)
        self.stem_bn = batch_norm(16)
        self.stem_conv2 = nn.Conv3d(16, 16, 3, padding=1, bias=False)
        self.block1 = dense_block(16, 16, units=2)
        self.transition1 = Transition(48, 16)
        self.block2 = dense_block(16, 24, units=3)
        self.transition2 = Transition(88, 24)
        self.block3 = dense_block(24, 32, units=4)
        self.bn = batch_norm(BACKBONE_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 48, 240, 360)
        """Return the feature maps at the end of dense block 3, (B, 152, 6, 15, 23), all >= 0."""
        x = functional.relu(self.stem_bn(self.stem_conv1(x)))  # (B, 16, 48, 120, 180)
        x = self.stem_conv2(x)
        x = max_pool(self.transition1(self.block1(x)), (2, 2, 2))  # (B, 16, 24, 60, 90)
        x = max_pool(self.transition2(self.block2(x)), (2, 2, 2))  # (B, 24, 12, 30, 45)
        x = max_pool(self.block3(x), (2, 2, 2))  # (B, 152, 6, 15, 23)
        return functional.relu(self.bn(x))


class Head(nn.Module):
    """Dense block 4, global average pool and one logit: the part trained anew for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.block = dense_block(BACKBONE_CHANNELS, 32, units=2)
        self.transition = Transition(216, FEATURES)
        self.predict = nn.Linear(FEATURES, 1)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:  # (B, 152, 6, 15, 23)
        """Return the logit (B,) and the 64-dimensional DL feature (B, 64), which may be negative."""
        x = max_pool(self.block(maps), (1, 2, 2))  # (B, 216, 6, 8, 12)
        features = self.transition(x).mean(dim=(2, 3, 4))  # (B, 64)
        return self.predict(features).squeeze(1), features


class Shrunken(nn.Module):
    """A backbone that sees the lung image shrunken: means of blocks of voxels, standardized again.

    For networks trained at reduced size; they take the same lung image as the others.
    """

    def __init__(self, backbone: Backbone, shrink: tuple[int, int, int]) -> None:
        super().__init__()
        self.backbone = backbone
        self.shrink = shrink

    def forward(self, x: Tensor) -> Tensor:  # (B, 1, 48, 240, 360)
        """Return the feature maps of the shrunken image."""
        x = functional.avg_pool3d(x, self.shrink)
        places = (1, 2, 3, 4)
        mean = x.mean(places, keepdim=True)
        sd = (x - mean).square().mean(places, keepdim=True).sqrt()
        maps: Tensor = self.backbone((x - mean) / sd)
        return maps


class COVID19Net(nn.Module):
    """The whole network; `load_state_dict` keys begin with `backbone.` or `head.`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = Head()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # (B, 1, 48, 240, 360)
        """Return the logit (B,) and the DL feature (B, 64); smaller images work too."""
        logit, features = self.head(self.backbone(x))
        return logit, features
