"""Chance views of a slice: each number of a view does what it says, and nothing else is random."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.train.augment import ELASTIC_GRID, Stack, View, apply_view, draw_view, standardized

SIDE = 64
PLAIN = View(
    place=np.array([[1, 0, 0], [0, 1, 0]], np.float32),
    elastic=np.zeros((2, ELASTIC_GRID, ELASTIC_GRID), np.float32),
    drift=np.zeros((3, 2), np.float32),
    mixture=np.eye(3, dtype=np.float32),
    gain=1.0,
    offset=0.0,
    blur=0.0,
    noise=0.0,
    grain=0.0,
    circle=2.0,
    seed=1,
)


@pytest.fixture
def stack():
    rng = np.random.default_rng(0)
    hu = rng.uniform(-1000, 1000, (3, SIDE, SIDE)).astype(np.float32)
    mask = (rng.random((SIDE, SIDE)) < 0.3).astype(np.uint8)
    mask[:4, :4] = 255
    return Stack(hu, mask)


def test_a_plain_view_changes_nothing(stack):
    seen = apply_view(stack, PLAIN)
    np.testing.assert_allclose(seen.hu, stack.hu, atol=0.02)
    assert np.array_equal(seen.mask, stack.mask)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[-1, 0], [0, 1]], lambda a: a[..., ::-1]),  # mirrored left-right
        ([[-1, 0], [0, -1]], lambda a: a[..., ::-1, ::-1]),  # prone: turned by 180 degrees
        ([[0, -1], [1, 0]], lambda a: np.rot90(a, 1, (-2, -1))),  # out[r, c] = in[c, -r]
    ],
    ids=["mirrored", "prone", "on its side"],
)
def test_image_and_mask_turn_together(stack, matrix, expected):
    place = np.column_stack([matrix, [0, 0]]).astype(np.float32)
    seen = apply_view(stack, replace(PLAIN, place=place))
    np.testing.assert_allclose(seen.hu, expected(stack.hu), atol=0.05)
    assert np.array_equal(seen.mask, expected(stack.mask))


def test_a_larger_field_of_view_shows_air_and_no_lung_around_the_picture(stack):
    seen = apply_view(stack, replace(PLAIN, place=2 * PLAIN.place))
    border = np.ones((SIDE, SIDE), bool)
    border[15:-15, 15:-15] = False
    assert (seen.hu[:, border] == -1024).all()
    assert not seen.mask[border].any()
    assert 0.2 < (seen.mask[17:-17, 17:-17] == 1).mean() < 0.4


def test_gain_and_offset_act_on_the_scale_of_air(stack):
    seen = apply_view(stack, replace(PLAIN, gain=1.1, offset=-20.0))
    np.testing.assert_allclose(seen.hu, np.maximum((stack.hu + 1000) * 1.1 - 1020, -1024), atol=0.03)


def test_thick_slices_average_their_neighbours(stack):
    mixture = np.array([[1, 0, 0], [0.25, 0.5, 0.25], [0, 0, 1]], np.float32)
    seen = apply_view(stack, replace(PLAIN, mixture=mixture))
    below, middle, above = stack.hu
    np.testing.assert_allclose(seen.hu[1], 0.25 * below + 0.5 * middle + 0.25 * above, atol=0.02)


def test_noise_has_the_size_asked_for_and_repeats_with_its_seed():
    flat = Stack(np.zeros((3, 256, 256), np.float32), np.zeros((256, 256), np.uint8))
    noisy = replace(PLAIN, noise=30.0)
    once, twice = apply_view(flat, noisy), apply_view(flat, noisy)
    assert np.array_equal(once.hu, twice.hu)
    assert once.hu.std() == pytest.approx(30, rel=0.01)
    assert not np.array_equal(once.hu, apply_view(flat, replace(noisy, seed=2)).hu)


def test_beyond_the_circle_there_is_air(stack):
    seen = apply_view(stack, replace(PLAIN, circle=0.9))
    assert seen.hu[1, 0, 0] == -1024
    assert seen.mask[0, 0] == 0
    assert seen.hu[1, SIDE // 2, SIDE // 2] == pytest.approx(stack.hu[1, SIDE // 2, SIDE // 2], abs=0.02)


def test_drift_moves_the_neighbours_only(stack):
    drift = np.array([[2 / SIDE, 0], [0, 0], [0, -2 / SIDE]], np.float32)  # one pixel is 2 / side
    seen = apply_view(stack, replace(PLAIN, drift=drift))
    np.testing.assert_allclose(seen.hu[0][:, :-1], stack.hu[0][:, 1:], atol=0.05)
    np.testing.assert_allclose(seen.hu[1], stack.hu[1], atol=0.02)
    np.testing.assert_allclose(seen.hu[2][1:], stack.hu[2][:-1], atol=0.05)


def test_views_differ_keep_their_sizes_and_follow_the_generator(stack):
    views = [draw_view(np.random.default_rng(seed), single=seed % 2 == 0) for seed in range(60)]
    for view in views:
        seen = apply_view(stack, view)
        assert seen.hu.shape == stack.hu.shape
        assert seen.hu.dtype == np.float32
        assert seen.hu.min() >= -1024
        assert set(np.unique(seen.mask)) <= {0, 1, 255}
        np.testing.assert_allclose(view.mixture.sum(1), 1, atol=1e-6)
    again = draw_view(np.random.default_rng(7))
    assert np.array_equal(again.place, views[7].place)
    prone = sum(view.place[1, 1] < 0 for view in views)
    mirrored = sum(np.linalg.det(view.place[:, :2]) < 0 for view in views)
    assert 2 <= prone <= 20
    assert 18 <= mirrored <= 42


def test_only_single_slices_are_moved_against_their_copies():
    assert not any(draw_view(np.random.default_rng(s)).drift.any() for s in range(30))
    assert any(draw_view(np.random.default_rng(s), single=True).drift.any() for s in range(30))


def test_a_standardized_slice_is_clipped_at_air_with_mean_0_and_sd_1(stack):
    padded = stack.hu.copy()
    padded[:, :20] = -3024
    values = standardized(padded)
    np.testing.assert_allclose(values.mean((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std((1, 2)), 1, atol=1e-4)
    assert np.array_equal(values, standardized(np.maximum(padded, -1024)))
    assert not standardized(np.full((3, 8, 8), -1024.0, np.float32)).any()  # air alone: no division by zero
