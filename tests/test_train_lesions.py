"""Painted disease: it stays within the lung, is as dense as asked, leaves vessels and mask alone."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.train.augment import Stack
from covid19net.train.lesions import KINDS, draw_lesion, draw_lesions, paint_gas, paint_lesion

SIDE = 256


@pytest.fixture
def chest():
    """Two lungs of -850 HU with a vessel of 40 HU in each, in a body of 30 HU, in air."""
    y, x = np.mgrid[:SIDE, :SIDE]
    body = ((y - 128) / 90) ** 2 + ((x - 128) / 115) ** 2 <= 1
    lungs = (((y - 128) / 60) ** 2 + ((abs(x - 128) - 58) / 42) ** 2) <= 1
    hu = np.where(lungs, -850.0, np.where(body, 30.0, -1000.0)).astype(np.float32)
    vessels = (y - 128) ** 2 + (abs(x - 128) - 58) ** 2 <= 4**2
    hu[vessels] = 40
    return Stack(np.stack([hu] * 3), lungs.astype(np.uint8))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_disease_stays_within_the_lung(chest, kind, seed):
    lesion = draw_lesion(np.random.default_rng(seed), dense=seed % 2 == 0, kind=kind)
    painted = paint_lesion(chest, lesion)
    outside = chest.mask == 0
    assert np.array_equal(painted.hu[:, outside], chest.hu[:, outside])
    assert painted.mask is chest.mask
    assert (painted.hu >= chest.hu).all()  # aerated lung becomes denser, nothing becomes lighter
    assert np.array_equal(painted.hu, paint_lesion(chest, lesion).hu)


def test_consolidation_of_a_whole_lung_has_the_density_asked_for(chest):
    lesion = replace(
        draw_lesion(np.random.default_rng(0), dense=True, kind="lobe"),
        reach=1.0,
        hu=25.0,
        opacity=1.0,
        ragged=0.0,
    )
    painted = paint_lesion(chest, replace(lesion, bronchi=0))
    changed = (painted.hu != chest.hu).any(0)
    assert np.median(painted.hu[1][changed]) == pytest.approx(25, abs=3)
    assert changed.sum() == pytest.approx((chest.mask == 1).sum() / 2, rel=0.03)  # one lung of two
    aired = paint_lesion(chest, replace(lesion, bronchi=7))
    assert 10 < (aired.hu[1] < painted.hu[1] - 150).sum() < 0.1 * changed.sum()


@pytest.mark.parametrize("kind", ["crescent", "wedge"])
def test_pleural_disease_touches_the_pleura_at_the_back(chest, kind):
    touching = 0
    for seed in range(10):
        lesion = draw_lesion(np.random.default_rng(seed), dense=True, kind=kind)
        lesion = replace(lesion, where=np.pi / 2, reach=0.08, width=0.2, bronchi=0)
        changed = paint_lesion(chest, lesion).hu[1] > chest.hu[1] + 400
        assert changed.any()
        assert np.argwhere(changed)[:, 0].mean() > 128  # y grows to the back
        rim = (chest.mask == 1) & ~np.roll(
            chest.mask == 1, -1, axis=0
        )  # the lung's last pixel of each column
        touching += bool((changed & rim).any())
    assert touching >= 9


def test_a_slice_without_lung_stays_healthy(chest):
    empty = Stack(chest.hu, np.zeros_like(chest.mask))
    for lesion in draw_lesions(np.random.default_rng(1)):
        assert paint_lesion(empty, lesion) is empty


def test_unknown_pixels_are_not_painted(chest):
    unknown = Stack(chest.hu, np.where(chest.mask == 1, 255, 0).astype(np.uint8))
    lesion = draw_lesion(np.random.default_rng(1), dense=True)
    assert paint_lesion(unknown, lesion) is unknown


def test_gas_lies_in_soft_tissue_clear_of_the_lungs(chest):
    belly = Stack(np.where(chest.mask == 1, np.float32(30), chest.hu), np.zeros_like(chest.mask))
    painted = paint_gas(belly, np.random.default_rng(3))
    gas = painted.hu[1] < -500
    air = belly.hu[1] < -500
    assert (gas & ~air).sum() > 50
    assert not painted.mask.any()
    near = paint_gas(chest, np.random.default_rng(3))
    assert np.array_equal(near.hu[:, chest.mask == 1], chest.hu[:, chest.mask == 1])


def test_a_picture_without_soft_tissue_gets_no_gas():
    air = Stack(np.full((3, 64, 64), -1000, np.float32), np.zeros((64, 64), np.uint8))
    assert paint_gas(air, np.random.default_rng(0)) is air
