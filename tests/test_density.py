"""Density of the lungs, against counts made by hand."""

import numpy as np
import pytest

from covid19net.density import lung_density
from covid19net.errors import NotChestCTError
from covid19net.volume import CTVolume, Overlay


def test_a_lung_of_ten_voxels_by_hand():
    hu = np.full((3, 4, 4), 40, np.int16)
    mask = np.zeros((3, 4, 4), np.uint8)
    inside = [-960, -900, -800, -750, -700, -500, -300, -100, 0, 100]
    mask[1].ravel()[:10] = 1
    hu[1].ravel()[:10] = inside
    affine = np.diag([5.0, 2.0, 1.0, 1.0])  # 10 mm3 a voxel
    found = lung_density(CTVolume(hu, affine), Overlay(mask, affine))
    assert found.lung_ml == pytest.approx(0.1)
    assert found.mean_hu == pytest.approx(-491.0)  # their sum is -4910
    assert found.p50_hu == pytest.approx(-600.0)  # between -700 and -500
    assert found.well_aerated == 0.3  # -900, -800, -750; -700 is the first value above
    assert found.poorly_aerated == 0.2  # -500, -300
    assert found.not_aerated == 0.2  # -100, 0


def test_the_mask_may_have_a_grid_of_its_own():
    hu = np.zeros((2, 4, 4), np.int16)
    hu[:, :, 2:] = -800
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    mask = np.zeros((2, 2, 2), np.uint8)
    mask[:, :, 1] = 1  # the far column: corner pixels lie on corner pixels
    coarse = np.diag([1.0, 3.0, 3.0, 1.0])
    found = lung_density(CTVolume(hu, affine), Overlay(mask, coarse))
    assert (found.mean_hu, found.sd_hu) == (-800.0, 0.0)


def test_no_lung_no_density():
    volume = CTVolume(np.zeros((2, 3, 3), np.int16), np.eye(4))
    with pytest.raises(NotChestCTError, match="no voxel"):
        lung_density(volume, Overlay(np.zeros((2, 3, 3), np.uint8), np.eye(4)))
