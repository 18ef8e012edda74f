"""Volumes and densities of the lungs, against counts made by hand and against planted lesions."""

import numpy as np
import pytest

from covid19net.errors import NotChestCTError
from covid19net.quantify import CONSOLIDATION, GROUND_GLASS, quantify, thirds
from covid19net.volume import CTVolume, Overlay

AFFINE = np.array([[0, 0, 1.0, 0], [0, 2.0, 0, 0], [5.0, 0, 0, 0], [0, 0, 0, 1]])


def two_lungs():
    """A right lung of six slices and a left lung of three, both two voxels wide, right at low x."""
    hu = np.full((8, 3, 6), 40, np.int16)
    mask = np.zeros(hu.shape, np.uint8)
    mask[1:7, 1, 0:2], mask[2:5, 1, 4:6] = 1, 2
    hu[1:7, 1, 0:2] = [[-700, -701], [-300, -301], [99, 100], [-800, -900], [-800, -900], [-850, -850]]
    hu[2:5, 1, 4:6] = [[0, 0], [-500, -500], [-900, -900]]
    return CTVolume(hu, AFFINE), Overlay(mask, AFFINE)


def test_every_region_by_hand():
    regions = quantify(*two_lungs()).regions
    assert set(regions) == {
        side + third
        for side in ("", "right-", "left-")
        for third in ("lower", "middle", "upper")
    } | {"both", "right", "left"}  # fmt: skip
    assert regions["both"].millilitres == pytest.approx(0.18)
    assert regions["right"].millilitres == pytest.approx(0.12)
    assert regions["left-upper"].millilitres == pytest.approx(0.02)
    # The right lung's lowest two slices: -700 and -301 are ground glass, -300 consolidation, -701 neither.
    lowest = regions["right-lower"]
    assert (lowest.mean_hu, lowest.ground_glass, lowest.consolidation) == (-500.5, 0.5, 0.25)
    # Its middle two: 99 is consolidation, 100 is not.
    middle = regions["right-middle"]
    assert (middle.mean_hu, middle.ground_glass, middle.consolidation) == (-375.25, 0.0, 0.25)
    # Lower thirds of both: the left lung's lowest slice, two voxels of 0 HU, comes to the four above.
    lower = regions["lower"]
    assert lower.mean_hu == pytest.approx(-2002 / 6)
    assert (lower.ground_glass, lower.consolidation) == pytest.approx((2 / 6, 3 / 6))
    assert regions["left"].mean_hu == pytest.approx(-2800 / 6)
    assert regions["both"].consolidation == pytest.approx(4 / 18)


def test_thirds_of_a_height_that_three_does_not_divide():
    mask = np.zeros((9, 1, 1), bool)
    mask[1:8] = True  # seven slices, centres at 0.5 / 7 to 6.5 / 7: the middle third from 2.33 to 4.67
    assert thirds(mask)[1:8].tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_no_side_without_sides():
    regions = quantify(*two_lungs(), sides_known=False).regions
    assert set(regions) == {"both", "lower", "middle", "upper"}
    # The thirds are those of both lungs' common height now: the left lung's lowest slice is in the lower one.
    assert regions["lower"].millilitres == pytest.approx(0.06)
    assert regions["both"] == quantify(*two_lungs()).regions["both"]


def test_a_side_without_lung_is_absent():
    volume, lungs = two_lungs()
    only = Overlay(np.where(lungs.values == 1, lungs.values, 0), AFFINE)
    regions = quantify(volume, only).regions
    assert "left" not in regions
    assert "left-upper" not in regions
    assert regions["both"] == regions["right"]


def test_no_lung_is_refused():
    volume, lungs = two_lungs()
    with pytest.raises(NotChestCTError, match="no voxel"):
        quantify(volume, Overlay(0 * lungs.values, AFFINE))


def test_planted_disease_is_found_where_it_was_planted(phantom):
    hu, lungs, lesions = phantom.volume.hu, phantom.lungs.values, phantom.lesions.values > 0
    dense = (hu >= GROUND_GLASS[0]) & (hu < CONSOLIDATION[1])
    found = quantify(phantom.volume, phantom.lungs).regions
    ill = {name: (lesions & (lungs == side)).sum() for name, side in (("right", 1), ("left", 2))}
    share = {name: found[name].ground_glass + found[name].consolidation for name in ill}
    assert max(share, key=share.get) == max(ill, key=ill.get)  # the side with more disease is the denser
    for name, side in (("right", 1), ("left", 2)):
        assert share[name] == pytest.approx(dense[lungs == side].mean())
    # Disease is dense nearly throughout; elsewhere vessels and the lungs' edges are, and little else.
    assert dense[lesions].mean() > 0.8
    assert dense[(lungs > 0) & ~lesions].mean() < 0.25


@pytest.mark.parametrize("density", [-500, 0])
def test_lesions_of_one_density_are_counted_voxel_for_voxel(phantom, density):
    lungs, lesions = phantom.lungs.values, (phantom.lesions.values > 0) & (phantom.lungs.values > 0)
    hu = np.where(lesions, density, -850).astype(np.int16)
    found = quantify(CTVolume(hu, phantom.volume.affine), phantom.lungs).regions["both"]
    counted = (found.ground_glass, found.consolidation)
    share = lesions.sum() / (lungs > 0).sum()
    assert counted == pytest.approx((share, 0) if density == -500 else (0, share))
