"""Networks with weights of their own, for tests."""

import torch
from torch import nn


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
