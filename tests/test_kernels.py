"""The networks with kernels of their own give the numbers of the plain ones.

Without a GPU Triton's interpreter runs the kernels, where Triton is there and TRITON_INTERPRET=1.
"""

import os

import pytest

from tests.networks import lively

torch = pytest.importorskip("torch")
pytest.importorskip("triton")


@pytest.fixture(scope="module")
def device():
    if torch.cuda.is_available():
        return torch.device("cuda")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("no CUDA device")
    return torch.device("cpu")


def difference(found, expected):
    return float((found.float() - expected.float()).abs().max() / expected.float().abs().max())


@pytest.mark.gpu
@pytest.mark.parametrize("how", ["ieee", "tf32x3"])
@torch.inference_mode()
def test_backbone(device, how):
    from covid19net.engine.kernels import FusedBackbone
    from covid19net.nets.covid19net import Backbone

    network = lively(Backbone()).to(device)
    x = torch.randn((1, 1, 9, 20, 28), generator=torch.Generator().manual_seed(1)).to(device)
    assert difference(FusedBackbone(network, how)(x), network(x)) < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
@torch.inference_mode()
def test_lungs(device, kind):
    from covid19net.engine.kernels import FusedFPN
    from covid19net.nets.densenet_fpn import DenseNetFPN

    if kind == "bfloat16" and device.type == "cpu":
        pytest.skip("Triton's interpreter does not multiply bfloat16")
    torch.manual_seed(0)
    network = lively(DenseNetFPN(32, 32)).to(device)
    x = torch.randn((2, 3, 32, 64), generator=torch.Generator().manual_seed(1)).to(device)
    expected = network(x)
    kind = getattr(torch, kind)
    plain = network.to(kind)(x.to(kind))
    found = FusedFPN(network)(x.to(kind).contiguous(memory_format=torch.channels_last))
    assert difference(found, expected) < (
        1e-5 if kind is torch.float32 else 1.5 * difference(plain, expected)
    )
