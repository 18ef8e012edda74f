"""Grad-CAM: its values against captum's, its place against the network's own geometry."""

from captum.attr import LayerGradCam
import numpy as np
import pytest
import torch

from covid19net.engine import Evidence, to_device
from covid19net.errors import InputError
from covid19net.explain import FIRST_CENTRE, STRIDE, grad_cam, heat_in_box, heat_map, pointing
from covid19net.nets import covid19net as nets
from covid19net.nets.gradient import HeadWithGradient
from covid19net.volume import Box, CTVolume
from tests.networks import centre_of, lively, made_linear

SEED = 0  # of a random network whose map is not empty
AFFINE = np.array([[0, 0, 0.7, -120], [0, 0.7, 0, -150], [2.0, 0, 0, 30], [0, 0, 0, 1]])


def test_grad_cam_is_captums():
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        network = lively(nets.COVID19Net())
    image = torch.randn(1, 1, 16, 64, 80, generator=torch.Generator().manual_seed(0))
    reference = LayerGradCam(lambda x: network(x)[0], network.backbone).attribute(image)
    with torch.inference_mode():
        maps = network.backbone(image)
        logit, features, gradient = HeadWithGradient(network.head)(maps)
    evidence = Evidence(float(logit), features[0].numpy(), maps[0].numpy(), gradient[0].numpy())
    expected = torch.relu(reference)[0, 0].detach().numpy()
    assert expected.max() > 0
    assert np.abs(grad_cam(evidence) - expected).max() < 1e-5 * expected.max()


@pytest.mark.parametrize("cell", [(1, 1, 1), (2, 2, 3), (4, 3, 2)])
def test_a_voxel_of_the_feature_map_looks_where_we_say(cell, monkeypatch):
    network = made_linear(nets.Backbone(), monkeypatch)
    image = torch.ones(1, 1, 48, 80, 80, requires_grad=True)
    network(image)[0, :, *cell].sum().backward()
    expected = [c * s + f for c, s, f in zip(cell, STRIDE, FIRST_CENTRE, strict=True)]
    assert centre_of(image.grad[0, 0]) == pytest.approx(expected, abs=1e-3)


def test_heat_lies_at_its_place_in_the_patient():
    cam = np.zeros((6, 15, 23), np.float32)
    cam[2, 5, 7] = 1
    volume = CTVolume(np.zeros((60, 300, 420), np.int16), AFFINE)
    box = Box((5, 20, 30), (53, 260, 390))  # 48 x 240 x 360 voxels: box and lung image coincide
    heat = heat_map(cam, box, volume)
    assert heat.values.max() == 100
    assert (heat.affine == volume.affine).all()
    # By hand: cell (2, 5, 7) is centred on image voxel (19.5, 88, 120), so on CT voxel (24.5, 108, 150).
    peak = np.argwhere(heat.values == 100).mean(axis=0)
    assert peak.tolist() == pytest.approx([24.5, 108, 150])
    assert not heat.values[:5].any()
    assert not heat.values[:, :, 390:].any()


def test_heat_is_linear_between_cells_and_flat_beyond_the_last():
    cam = np.zeros((6, 15, 23), np.float32)
    cam[:, :, 22] = 4
    heat = heat_in_box(cam, (48, 240, 360))
    # Cell 22 is centred on voxel 360, cell 21 on 344: voxel 352 lies half-way.
    assert heat[0, 0, 352] == pytest.approx(2)
    assert heat[0, 0, 344] == pytest.approx(0)


def test_an_empty_map_stays_empty():
    evidence = Evidence(
        0.0, np.zeros(64), np.ones((4, 2, 2, 2), np.float32), -np.ones((4, 2, 2, 2), np.float32)
    )
    cam = grad_cam(evidence)
    assert not cam.any()
    volume = CTVolume(np.zeros((9, 30, 40), np.int16), AFFINE)
    assert not heat_map(cam, Box((1, 1, 1), (8, 20, 30)), volume).values.any()


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_a_map_whose_warm_place_lies_between_slices_is_empty(device):
    cam = np.zeros((6, 15, 23), np.float32)
    cam[1, 5, 7] = 1
    volume = CTVolume(np.zeros((3, 60, 80), np.int16), AFFINE)
    # By hand: three slices lie at 0, 23.5 and 47 of the image's 48, cells 0 to 5 at 3.5, 11.5, ..., 43.5; the
    # middle slice is between cells 2 and 3, the others see cells 0 and 5.
    heat = heat_map(cam, Box((0, 0, 0), (3, 60, 80)), volume, there=to_device(volume, device))
    assert not heat.values.any()


def test_pointing_worked_out_by_hand():
    heat = np.zeros((48, 240, 360), np.float32)
    lesions = np.zeros(heat.shape, np.uint8)
    lesions[:24] = 1  # half the box
    heat[10, 100, 100], heat[40, 100, 100] = 3.0, 1.0
    assert pointing(heat, lesions) == (1.5, True)  # three quarters of the energy over one half
    heat[40, 100, 100] = 9.0
    assert pointing(heat, lesions) == (pytest.approx(0.5), False)
    lesions[36:, 100:108, 100:108] = 2  # reaches to where half a stride of 8 slices leads
    assert pointing(heat, lesions)[1]
    assert pointing(0 * heat, lesions) == (0.0, False)
    with pytest.raises(InputError, match="no lesion"):
        pointing(heat, 0 * lesions)
