"""Networks with weights of their own, for tests."""

import pytest
import torch
from torch import nn

from covid19net.nets import covid19net as nets


def lively(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm statistics and weights of its own, as training would."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.normal_(1, 0.2, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    return network.eval()


def made_linear(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Only centre taps in stride-1 convolutions, means for maxima.

    What feeds a voxel of a feature map is then the window of its strides alone; the gradient of that voxel is
    the window.
    """
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.zero_()
                if isinstance(module, nets.SameConv3d):
                    module.weight.fill_(1)
                else:
                    middle = tuple(k // 2 for k in module.kernel_size)
                    module.weight[(slice(None), slice(None), *middle)] = 1
    monkeypatch.setattr(nets, "max_pool", lambda x, size: nn.functional.avg_pool3d(x, size, ceil_mode=True))
    return network.eval()


def centre_of(window: torch.Tensor) -> list[float]:
    """The centre of mass of a window, indices (z, y, x)."""
    profiles = [window.double().sum(dim=[a for a in range(3) if a != axis]) for axis in range(3)]
    return [float((p * torch.arange(len(p))).sum() / p.sum()) for p in profiles]
