"""The two networks: counts, shapes, padding, and the gradient that is written out."""

import numpy as np
import pytest
import torch
from torch import nn

from covid19net.nets.covid19net import COVID19Net, SameConv3d
from covid19net.nets.densenet_fpn import DenseNetFPN, enlarging_kernel
from covid19net.nets.gradient import HeadWithGradient
from tests.networks import lively


def count(network: nn.Module) -> int:
    return sum(v.numel() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked"))


def test_parameter_counts_are_the_published_ones():
    # Keras' counts of the released networks, batch-norm statistics included.
    network = COVID19Net()
    assert count(network) == 894_545
    assert sum(p.numel() for p in network.parameters()) == 891_329
    assert count(DenseNetFPN()) == 9_911_745


def test_covid19net_gives_the_published_shapes_at_full_size():
    network = COVID19Net().eval()
    with torch.inference_mode():
        maps = network.backbone(torch.zeros(1, 1, 48, 240, 360))
        logit, features = network.head(maps)
        assert network.head.block(maps).shape == (1, 216, 6, 15, 23)
    assert maps.shape == (1, 152, 6, 15, 23)
    assert (logit.shape, features.shape) == ((1,), (1, 64))


def test_fpn_gives_one_logit_a_pixel_and_refuses_odd_sizes():
    network = DenseNetFPN(32, 16).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)
    with pytest.raises(ValueError, match="multiples of 32"):
        network(torch.zeros(1, 3, 48, 64))


def test_same_padding_adds_to_the_far_side_only_on_even_sizes():
    # TensorFlow: total padding (ceil(n/2)-1)*2+3-n; n=4: 1, all of it after; n=5: 2, one on each side.
    conv = SameConv3d(1, 1, 3, stride=2, bias=False)
    conv.weight.data.zero_()
    conv.weight.data[0, 0, 0, 0, 0] = 1  # picks the first voxel of each window
    x = torch.arange(4.0).view(1, 1, 1, 1, 4).expand(1, 1, 3, 3, 4)
    assert conv(x)[0, 0, 1, 1].tolist() == [0.0, 2.0]  # windows begin at 0 and 2: nothing added before
    x = torch.arange(5.0).view(1, 1, 1, 1, 5).expand(1, 1, 3, 3, 5)
    assert conv(x)[0, 0, 1, 1].tolist() == [0.0, 1.0, 3.0]  # windows begin at -1, 1 and 3


@pytest.mark.parametrize("shape", [(8, 32, 48), (17, 50, 61), (9, 35, 47)])
def test_the_written_gradient_is_autograds(shape):
    network = lively(COVID19Net())
    image = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(1))
    maps = network.backbone(image).detach().requires_grad_()
    logit, features = network.head(maps)
    logit.sum().backward()
    with torch.inference_mode():
        again, features_again, gradient = HeadWithGradient(network.head)(maps.detach())
    assert torch.equal(again, logit)
    assert torch.equal(features_again, features)
    assert (gradient - maps.grad).abs().max() < 1e-5 * maps.grad.abs().max()


def test_ties_in_the_max_pool_send_the_gradient_where_torch_sends_it():
    # After a ReLU whole windows are zero: a tie of four voxels, of which torch takes the first.
    network = lively(COVID19Net(), seed=3)
    maps = torch.zeros(1, 152, 2, 5, 6).requires_grad_()
    network.head(maps)[0].sum().backward()
    with torch.inference_mode():
        gradient = HeadWithGradient(network.head)(maps.detach())[2]
    assert maps.grad.abs().max() > 0
    assert (gradient - maps.grad).abs().max() < 1e-5 * maps.grad.abs().max()


def test_batch_and_single_scans_agree():
    network = lively(COVID19Net())
    images = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 1, 8, 32, 48)).astype(np.float32))
    with torch.inference_mode():
        together = network(images)[0]
        alone = torch.cat([network(image[None])[0] for image in images])
    assert (together - alone).abs().max() < 1e-5


def test_the_economical_way_gives_the_same_logits():
    torch.manual_seed(0)
    net = DenseNetFPN(pyramid=16, segmentation=8).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    slices = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        plain = net(slices)
        net.economical = True
        assert net(slices).sub(plain).abs().max() < 1e-5 * plain.abs().max()


def test_enlarging_and_convolving_is_one_transposed_convolution():
    # By hand, along y: pixels 1, 2 enlarged are 1 1 2 2; under the kernel (1, 10, 100), zeros outside, they
    # give 110, 211, 221, 22. The other axis has the kernel (0, 1, 0): it repeats.
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, :, 1] = torch.tensor([1.0, 10, 100])
    out = torch.nn.functional.conv_transpose2d(
        torch.tensor([[[[1.0], [2.0]]]]), enlarging_kernel(kernel), stride=2, padding=1
    )
    assert out[0, 0].tolist() == [[110, 110], [211, 211], [221, 221], [22, 22]]
