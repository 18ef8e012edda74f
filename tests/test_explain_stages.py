"""Maps at every stage: values against captum's, places against the network's own geometry."""

from dataclasses import replace

from captum.attr import LayerGradCam
import numpy as np
import pytest
import torch

from covid19net.errors import InputError, WeightsError
from covid19net.explain.grad_cam import heat_in_box
from covid19net.explain.stages import GRIDS, Stage, finer, look_inside, modules_of, stages_of
from covid19net.nets import covid19net as nets
from covid19net.preprocess import IMAGE_SHAPE
from covid19net.weights import find_set
from tests.networks import centre_of, lively, made_linear

ALL = tuple(GRIDS)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return lively(nets.COVID19Net())


@pytest.fixture(scope="module")
def image():
    return torch.randn(16, 64, 80, generator=torch.Generator().manual_seed(0)).numpy()


@pytest.mark.parametrize("name", ALL)
def test_grad_cam_at_every_stage_is_captums(name, network, image):
    module = modules_of(network.backbone, network.head)[name]
    reference = LayerGradCam(lambda x: network(x)[0], module).attribute(torch.from_numpy(image)[None, None])
    expected = reference[0, 0].detach().numpy()
    stage = look_inside(network.backbone, network.head, image, (name,))[name]
    # What argues for the score less what argues against it: nothing is cut at zero then.
    found = stage.grad_cam() - replace(stage, gradient=-stage.gradient).grad_cam()
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    cut = LayerGradCam(lambda x: network(x)[0], module).attribute(
        torch.from_numpy(image)[None, None], relu_attributions=True
    )
    assert np.abs(stage.grad_cam() - cut[0, 0].detach().numpy()).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ALL)
def test_a_voxel_of_every_stage_looks_where_we_say(name, monkeypatch):
    network = made_linear(nets.COVID19Net(), monkeypatch)
    kept = []
    modules_of(network.backbone, network.head)[name].register_forward_hook(lambda *a: kept.append(a[2]))
    image = torch.ones(1, 1, 48, 80, 80, requires_grad=True)
    network(image)
    cell = (2, 2, 3)
    kept[0][0, :, *cell].sum().backward()
    grid = GRIDS[name]
    expected = [c * s + f for c, s, f in zip(cell, grid.stride, grid.first_centre, strict=True)]
    assert centre_of(image.grad[0, 0]) == pytest.approx(expected, abs=1e-3)


def test_layer_cam_by_hand():
    maps, gradient = np.zeros((2, 2, 1, 1, 2), np.float32)
    maps[:, 0, 0] = [[3, 1], [2, 5]]
    gradient[:, 0, 0] = [[2, -4], [1, 1]]
    stage = Stage(maps, gradient, GRIDS["stem"])
    assert stage.layer_cam().ravel().tolist() == [8, 5]  # 3 x 2 + 2 x 1; 1 x 0 + 5 x 1
    assert stage.grad_cam().ravel().tolist() == [0, 4]  # weights -1 and 1: -3 + 2 cut at zero, -1 + 5


def test_the_finer_map_is_warm_only_where_both_are_and_finer_than_one():
    coarse, fine = np.zeros((1, 6, 15, 23), np.float32), np.zeros((1, 24, 60, 90), np.float32)
    coarse[0, 2, 5, 7] = 1  # centred on image voxel (19.5, 88, 120)
    fine[0, 9, 21, 29] = 2  # centred on (18.5, 86, 118), inside the first
    fine[0, 3, 50, 80] = 9  # far away
    ones = {name: np.ones_like(maps) for name, maps in (("block3", coarse), ("block2", fine))}
    stages = {
        "block3": Stage(coarse, ones["block3"], GRIDS["block3"]),
        "block2": Stage(fine, ones["block2"], GRIDS["block2"]),
    }
    found = finer(stages, IMAGE_SHAPE)
    peak = np.unravel_index(found.argmax(), found.shape)
    assert np.abs(np.subtract(peak, (18.5, 86, 118))).max() <= 2
    assert found[7, 202, 322] == 0
    both = heat_in_box(coarse[0], IMAGE_SHAPE)
    assert (found > 0).sum() < (both > 0).sum() / 20
    stages["block3"] = Stage(0 * coarse, ones["block3"], GRIDS["block3"])
    assert not finer(stages, IMAGE_SHAPE).any()


def test_the_default_stage_of_the_bundled_weights_is_the_one_every_result_has(models):
    image = np.random.default_rng(0).normal(size=IMAGE_SHAPE).astype(np.float32)
    evidence = models.diagnosis(image)
    stage = stages_of(models.weights.diagnosis, image, ("block3",))["block3"]
    assert np.abs(stage.maps - evidence.maps).max() < 1e-3 * evidence.maps.max()
    assert np.abs(stage.gradient - evidence.gradient).max() < 1e-3 * np.abs(evidence.gradient).max()


def test_what_has_no_map_is_refused(network, image):
    with pytest.raises(InputError, match=r"no stage block9.*block4"):
        look_inside(network.backbone, network.head, image, ("block9",))
    with pytest.raises(WeightsError, match="no heat map"):
        stages_of(find_set("bundled", None).lungs, image, ("block3",))
