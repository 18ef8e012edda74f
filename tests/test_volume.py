"""Geometry: an array never loses its place in the patient."""

from itertools import permutations, product

import numpy as np
import pytest

from covid19net.errors import VolumeError
from covid19net.volume import Box, CTVolume, crop, upright

AFFINE = np.array([[0, 0, 0.7, -100], [0, 0.8, 0, -90], [5.0, 0, 0, 30], [0, 0, 0, 1]])  # (z, y, x) -> LPS


def test_spacing_is_the_length_of_the_affine_columns():
    assert CTVolume(np.zeros((2, 3, 4), np.int16), AFFINE).spacing == pytest.approx((5.0, 0.8, 0.7))


def test_a_crop_keeps_its_place_in_the_patient():
    scan = CTVolume(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), AFFINE)
    part = crop(scan, Box((1, 2, 3), (4, 5, 6)))
    # By hand: x = -100 + 3 * 0.7, y = -90 + 2 * 0.8, z = 30 + 1 * 5.
    assert part.affine[:3, 3].tolist() == pytest.approx([-97.9, -88.4, 35.0])
    assert part.hu[0, 0, 0] == scan.hu[1, 2, 3]
    assert part.shape == (3, 3, 3)


def world_of_marked_voxel(volume: CTVolume) -> list[float]:
    index = np.argwhere(volume.hu == 77)[0]
    return (volume.affine @ [*index, 1])[:3].tolist()


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", list(product([False, True], repeat=3)))
def test_every_flip_and_permutation_stands_upright_again_bit_for_bit(order, flips):
    hu = np.random.default_rng(0).integers(-1000, 60, (3, 4, 5)).astype(np.int16)
    hu[2, 1, 3] = 77
    scan = CTVolume(hu, AFFINE)
    turned, affine = hu.transpose(order), AFFINE[:, [*order, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    again = upright(CTVolume(turned, affine))
    assert (again.hu == hu).all()
    assert np.abs(again.affine - AFFINE).max() < 1e-12
    assert world_of_marked_voxel(again) == pytest.approx(world_of_marked_voxel(scan))


def test_an_oblique_scan_keeps_its_angles():
    angle = np.deg2rad(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = AFFINE.copy()
    affine[:3, :3] = tilt @ AFFINE[:3, :3]
    scan = CTVolume(np.zeros((2, 3, 4), np.int16), affine)
    assert np.allclose(upright(scan).affine, affine)


@pytest.mark.parametrize(
    ("array", "affine", "reason"),
    [
        (np.zeros((2, 2)), AFFINE, "3 axes"),
        (np.zeros((2, 2, 2)), np.eye(3), "4x4"),
        (np.zeros((2, 2, 2)), np.diag([0, 1, 1, 1]), "not plausible"),
        (np.zeros((2, 2, 2)), np.diag([np.nan, 1, 1, 1]), "not numbers"),
        (
            np.zeros((2, 2, 2)),
            np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]]),
            "singular",
        ),
        (np.zeros((2, 2, 2)), np.array([[1, 1, 0, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]]), "singular"),
    ],
)
def test_what_cannot_be_a_volume_is_refused(array, affine, reason):
    with pytest.raises(VolumeError, match=reason):
        CTVolume(array, affine)


def test_the_affine_cannot_be_edited_behind_the_volume():
    scan = CTVolume(np.zeros((2, 2, 2), np.int16), AFFINE)
    with pytest.raises(ValueError, match="read-only"):
        scan.affine[0, 0] = 2
