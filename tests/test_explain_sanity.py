"""Tests of maps that maps can fail: randomised weights, deletion and insertion."""

import numpy as np
import pytest
import torch

from covid19net.errors import InputError
from covid19net.explain.deletion import cell_order, cleared_lungs, curves
from covid19net.explain.sanity import Randomised, randomised_maps, shuffle
from covid19net.nets import covid19net as nets
from tests.networks import lively

SHAPE = (16, 64, 96)


def test_shuffling_keeps_the_numbers_of_every_kernel_and_leaves_the_rest():
    network = nets.COVID19Net()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    shuffle(network, np.random.default_rng(0))
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            assert not torch.equal(value, before[name])
            assert torch.equal(value.flatten().sort()[0], before[name].flatten().sort()[0])
        else:
            assert torch.equal(value, before[name])


def test_randomising_goes_from_the_score_to_the_image_and_leaves_the_network_alone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = lively(nets.COVID19Net())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    told = []
    found, maps = randomised_maps(network.backbone, network.head, image, networks=2, progress=told.append)
    assert list(found.cascade) == ["score", "block 4", "block 3", "block 2", "block 1", "stem"]
    assert list(maps) == ["none", *found.cascade]
    assert len(found.whole) == 2
    assert told[-1] == 1
    for name, correlation in found.cascade.items():
        a, b = maps["none"].ravel(), maps[name].ravel()
        expected = np.corrcoef(a, b)[0, 1] if a.any() and b.any() else 0
        assert correlation == pytest.approx(expected, abs=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_map_that_survives_randomising_fails():
    assert Randomised({}, (0.1, -0.2, 0.3)).passes
    assert not Randomised({}, (0.9, 0.8, 0.9)).passes


def a_score(image, where):
    """A network that knows one thing: whether the patch is dense."""
    return float(np.clip(image[where].mean(), 0, 1))


@pytest.fixture
def ill():
    """Lungs everywhere, one dense cell of the map: cell (1, 2, 3) covers (8-15, 32-47, 48-63)."""
    image = np.zeros(SHAPE, np.float32)
    patch = (slice(8, 16), slice(32, 48), slice(48, 64))
    image[patch] = 1
    lungs = np.ones(SHAPE, np.uint8)
    cam = np.random.default_rng(0).random((2, 4, 6)).astype(np.float32) / 2
    return image, lungs, cam, patch


def test_cells_lie_where_the_map_says(ill):
    _, lungs, cam, _ = ill
    cam[1, 2, 3] = 1
    order, cells = cell_order(cam, lungs)
    assert order[0] == np.ravel_multi_index((1, 2, 3), cam.shape)
    inside = np.argwhere(cells == order[0])
    # Centred on (11.5, 40, 56) by strides of 8, 16 and 16; a voxel half-way goes to either cell.
    assert np.abs(inside.min(axis=0) - [8, 32, 48]).max() <= 1
    assert np.abs(inside.mean(axis=0) - [11.5, 40, 56]).max() <= 0.5
    assert sorted(order) == list(range(cam.size))


def test_a_map_that_knows_the_place_beats_chance_and_one_that_hides_it_does_not(ill):
    image, lungs, cam, patch = ill
    cleared = cleared_lungs(image, lungs)
    assert not cleared.any()
    for value, passes in ((1.0, True), (0.0, False)):
        cam[1, 2, 3] = value
        found = curves(lambda x: a_score(x, patch), image, cleared, cell_order(cam, lungs), steps=12)
        assert found.passes is passes
        assert found.share[[0, -1]].tolist() == [0, 1]
        assert found.deletion[0] == found.insertion[-1] == 1
        assert found.deletion[-1] == found.insertion[0] == 0
    # With the place first, one step of 12 clears it: by trapezoids half a step's height is left.
    cam[1, 2, 3] = 1.0
    found = curves(lambda x: a_score(x, patch), image, cleared, cell_order(cam, lungs), steps=12)
    area = found.areas()
    assert area["deletion"] == pytest.approx(1 / 24, abs=0.02)
    assert area["insertion"] == pytest.approx(1 - 1 / 24, abs=0.02)


def test_cells_without_lung_are_left_alone(ill):
    image, lungs, cam, _ = ill
    lungs[:, :, 48:] = 0
    order, cells = cell_order(cam, lungs)
    assert set(order) == set(np.unique(cells[:, :, :48]))
    assert (cleared_lungs(image, lungs)[:, :, 48:] == image[:, :, 48:]).all()


def test_no_lungs_nothing_to_clear(ill):
    image, lungs, *_ = ill
    with pytest.raises(InputError, match="no lungs"):
        cleared_lungs(image, 0 * lungs)


def test_the_number_told_is_the_number_judged():
    """Correlations of 0.9 either way are 0.9 on average, and fail."""
    found = Randomised({}, (0.9, -0.9, 0.9, -0.9))
    assert (found.mean, found.passes) == (pytest.approx(0.9), False)
