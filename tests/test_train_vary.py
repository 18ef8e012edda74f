"""Variations of a lung image: chance in one place, effects that can be worked out by hand."""

import numpy as np
import pytest
import torch

from covid19net.train.vary import Variation, draw_variation, vary

STILL = Variation(mirror=False, place=None, gain=1.0, offset=0.0, noise=0.0, blur=0.0, thick=0.0, seed=0)


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((6, 8, 10), np.float32))


def changed(**numbers):
    return Variation(**{**STILL.__dict__, **numbers})


def test_nothing_asked_nothing_done(image):
    assert torch.equal(vary(image, STILL), image)


def test_left_and_right_change_places(image):
    assert torch.equal(vary(image, changed(mirror=True)), image.flip(2))


def test_gain_and_offset(image):
    assert torch.allclose(vary(image, changed(gain=2.0, offset=0.5)), 2 * image + 0.5)


def test_the_identity_keeps_its_place_and_a_shift_moves_by_voxels(image):
    still = np.eye(3, 4, dtype=np.float32)
    assert torch.allclose(vary(image, changed(place=still)), image, atol=1e-5)
    moved = still.copy()
    moved[0, 3] = 2 / 10  # normalised x of one voxel of ten
    assert torch.allclose(vary(image, changed(place=moved))[:, :, :-1], image[:, :, 1:], atol=1e-5)


def test_thick_slices_average_their_neighbours(image):
    thick = vary(image, changed(thick=1.0))
    assert torch.allclose(thick[2], image[1:4].mean(0), atol=1e-6)
    assert torch.allclose(thick[0], image[:2].mean(0), atol=1e-6)  # the end slice has one neighbour


def test_blur_stays_in_its_slice(image):
    blurred = vary(image, changed(blur=1.0))
    assert torch.allclose(blurred[2, 3, 4], image[2, 2:5, 3:6].mean(), atol=1e-6)


def test_noise_has_the_size_asked_for_and_comes_from_its_seed():
    flat = torch.zeros(20, 40, 50)
    noisy = vary(flat, changed(noise=0.3, seed=5))
    assert noisy.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(noisy, vary(flat, changed(noise=0.3, seed=5)))
    assert not torch.equal(noisy, vary(flat, changed(noise=0.3, seed=6)))


def test_half_precision_images_are_widened(image):
    assert vary(image.half(), STILL).dtype == torch.float32


def test_equal_generators_draw_equal_variations():
    first, second = (draw_variation(np.random.default_rng(7)) for _ in range(2))
    assert {k: v for k, v in first.__dict__.items() if k != "place"} == {
        k: v for k, v in second.__dict__.items() if k != "place"
    }
    assert np.array_equal(first.place, second.place)


def test_about_half_are_moved_and_half_mirrored():
    drawn = [draw_variation(np.random.default_rng(k)) for k in range(400)]
    for share in (np.mean([d.place is not None for d in drawn]), np.mean([d.mirror for d in drawn])):
        assert share == pytest.approx(0.5, abs=0.075)  # three standard errors
