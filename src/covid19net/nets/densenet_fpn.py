"""DenseNet121-FPN: lungs in an axial slice from it and its two neighbours.

The network the authors released is `FPN('densenet121')` of the Keras library segmentation_models 1.0.1;
9,911,745 parameters with batch-norm statistics. Encoder: Huang et al. 2017 (DenseNet121, growth 32); pyramid:
Lin et al. 2017 (FPN). Encoder modules carry torchvision's names, so ImageNet weights load where a user has
them.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

ENCODER_EPSILON = 1.001e-5  # batch norm of Keras' DenseNet121
DECODER_EPSILON = 1e-3  # batch norm of Keras by default
UNITS = (6, 12, 24, 16)  # dense layers of blocks 1 to 4
GROWTH = 32
BOTTLENECK = 128
SKIP_CHANNELS = (64, 128, 256, 512, 1024)  # at strides 2, 4, 8, 16, 32
SIZE_STEP = 32  # height and width must be whole multiples: five halvings


def _encoder_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=ENCODER_EPSILON, momentum=0.01)


class DenseLayer(nn.Module):
    """BN, ReLU, conv 1x1 -> 128, BN, ReLU, conv 3x3 -> 32; concatenated to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = _encoder_norm(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK, 1, bias=False)
        self.norm2 = _encoder_norm(BOTTLENECK)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, y, x) -> (B, C + 32, y, x)."""
        y = self.conv1(functional.relu(self.norm1(x)))
        y = self.conv2(functional.relu(self.norm2(y)))
        return torch.cat([x, y], 1)


class Transition(nn.Module):
    """BN, ReLU, conv 1x1 to half the channels; the average pool that follows is left to the encoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _encoder_norm(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, y, x) -> (B, C / 2, y, x)."""
        out: Tensor = self.conv(functional.relu(self.norm(x)))
        return out


def _dense_block(channels: int, units: int) -> nn.Sequential:
    block = nn.Sequential()
    for i in range(units):
        block.add_module(f"denselayer{i + 1}", DenseLayer(channels + i * GROWTH))
    return block


class DenseNet121(nn.Module):
    """The encoder: from a picture to five maps, at strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.norm0 = _encoder_norm(64)
        self.denseblock1, self.transition1 = _dense_block(64, UNITS[0]), Transition(256)
        self.denseblock2, self.transition2 = _dense_block(128, UNITS[1]), Transition(512)
        self.denseblock3, self.transition3 = _dense_block(256, UNITS[2]), Transition(1024)
        self.denseblock4, self.norm5 = _dense_block(512, UNITS[3]), _encoder_norm(1024)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # (B, 3, 256, 256)
        """Return the skips, finest first. A transition is tapped before its average pool, as published."""
        c1 = functional.relu(self.norm0(self.conv0(x)))  # (B, 64, 128, 128)
        # The published pool works on a border of zeros; after a ReLU that is what torch's padding gives.
        x = functional.max_pool2d(c1, 3, stride=2, padding=1)
        c2 = self.transition1(self.denseblock1(x))  # (B, 128, 64, 64)
        c3 = self.transition2(self.denseblock2(functional.avg_pool2d(c2, 2)))  # (B, 256, 32, 32)
        c4 = self.transition3(self.denseblock3(functional.avg_pool2d(c3, 2)))  # (B, 512, 16, 16)
        x = self.denseblock4(functional.avg_pool2d(c4, 2))
        c5 = functional.relu(self.norm5(x))  # (B, 1024, 8, 8)
        return c1, c2, c3, c4, c5


class ConvBlock(nn.Module):
    """Conv 3x3 without bias, BN, ReLU."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(filters, eps=DECODER_EPSILON, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, y, x) -> (B, filters, y, x)."""
        return functional.relu(self.bn(self.conv(x)))


def _upsample(x: Tensor, scale: int) -> Tensor:
    return x if scale == 1 else functional.interpolate(x, scale_factor=float(scale), mode="nearest")


def _twice_as_fine(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def enlarging_kernel(kernel: Tensor) -> Tensor:
    """The transposed convolution, stride 2 and padding 1, that is "twice as large, then convolve".

    A pixel of a map enlarged by repetition sees under the 3 x 3 kernel only 2 x 2 pixels of the map, some of
    them more than once; the weights that meet the same pixel are added beforehand: 16 products instead of 36.

    Args:
        kernel: of a convolution with padding 1, (out, in, 3, 3).

    Returns:
        (in, out, 4, 4), as `conv_transpose2d` takes it.
    """
    for axis in (2, 3):
        a, b, c = kernel.unbind(axis)
        kernel = torch.stack([c, b + c, a + b, a], axis)
    return kernel.transpose(0, 1)


class DenseNetFPN(nn.Module):
    """Encoder, pyramid, one map at stride 2, one logit a pixel.

    Attributes:
        economical: do at low resolution what can be done there: the merge of the coarser branches, and the
            sum over channels of the last convolution. The same logits but for rounding; pays on a CPU.

    Args:
        pyramid: channels of the pyramid maps p5 to p2; 256 as published.
        segmentation: channels of the four segmentation branches and of the merged map; 128 as published.
    """

    def __init__(self, pyramid: int = 256, segmentation: int = 128) -> None:
        super().__init__()
        self.economical = False
        self.encoder = DenseNet121()
        self.top = nn.Conv2d(SKIP_CHANNELS[4], pyramid, 1)
        self.lateral = nn.ModuleDict(
            {f"p{i}": nn.Conv2d(SKIP_CHANNELS[i - 2], pyramid, 1) for i in (5, 4, 3, 2)}
        )
        self.branch = nn.ModuleDict(
            {
                f"p{i}": nn.Sequential(
                    ConvBlock(pyramid, segmentation), ConvBlock(segmentation, segmentation)
                )
                for i in (5, 4, 3, 2)
            }
        )
        self.merge = ConvBlock(4 * segmentation, segmentation)
        self.predict = nn.Conv2d(segmentation, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, 256, 256)
        """Return one logit a pixel, (B, 1, 256, 256).

        Raises:
            ValueError: height or width is not a multiple of 32.
        """
        if x.shape[2] % SIZE_STEP or x.shape[3] % SIZE_STEP:
            raise ValueError(f"height and width must be multiples of {SIZE_STEP}, got {tuple(x.shape[2:])}")
        c1, c2, c3, c4, c5 = self.encoder(x)
        p5 = _upsample(self.top(c5), 2) + self.lateral["p5"](c4)  # stride 16
        p4 = _upsample(p5, 2) + self.lateral["p4"](c3)  # stride 8
        p3 = _upsample(p4, 2) + self.lateral["p3"](c2)  # stride 4
        p2 = _upsample(p3, 2) + self.lateral["p2"](c1)  # stride 2
        fine = self.branch["p2"](p2)
        levels = {"p3": (p3, 1), "p4": (p4, 2), "p5": (p5, 4)}
        coarse = torch.cat([_upsample(self.branch[p](x), scale) for p, (x, scale) in levels.items()], 1)
        x = self._merged(fine, coarse)  # (B, segmentation, 128, 128)
        return self._predicted(x)

    def _predicted(self, x: Tensor) -> Tensor:  # (B, segmentation, 128, 128)
        if not self.economical:
            logit: Tensor = self.predict(_twice_as_fine(x))
            return logit
        # Enlarging mixes places, the sum over channels does not care: first a map for each of the kernel's
        # nine weights, then those are enlarged, moved to their places and added.
        kernel = self.predict.weight  # (1, segmentation, 3, 3)
        nine = functional.conv2d(x, kernel[0].flatten(1).T[:, :, None, None])
        places = torch.eye(9).reshape(1, 9, 3, 3).to(kernel)
        return functional.conv2d(_twice_as_fine(nine), places, self.predict.bias, padding=1)

    def _merged(self, fine: Tensor, coarse: Tensor) -> Tensor:  # stride 2; stride 4
        if not self.economical:
            merged: Tensor = self.merge(torch.cat([fine, _upsample(coarse, 2)], 1))
            return merged
        kernel = self.merge.conv.weight
        on_fine, on_coarse = kernel[:, : fine.shape[1]], kernel[:, fine.shape[1] :]
        x = functional.conv2d(fine, on_fine, padding=1)
        x = x + functional.conv_transpose2d(coarse, enlarging_kernel(on_coarse), stride=2, padding=1)
        return functional.relu(self.merge.bn(x))
