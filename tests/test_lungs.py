"""The lung mask in three dimensions, on shapes whose volumes and sides are known by construction."""

import time

import numpy as np
import pytest

from covid19net.lungs import clean_up, split_sides

SPACING = (2.0, 1.5, 1.5)
SHAPE = (60, 128, 128)


def ellipsoid(centre, radii, shape=SHAPE):
    z, y, x = np.ogrid[tuple(map(slice, shape))]
    return sum(((a - c) / r) ** 2 for a, c, r in zip((z, y, x), centre, radii, strict=True)) <= 1


@pytest.fixture
def right():
    return ellipsoid((30, 64, 36), (24, 36, 20))


@pytest.fixture
def left():
    return ellipsoid((30, 64, 92), (24, 36, 20))


def sure(mask):
    return np.where(mask, np.float32(0.99), np.float32(0.01))


def test_two_clean_lungs_stay_as_they_are(right, left):
    assert np.array_equal(clean_up(sure(right | left), SPACING), right | left)


def test_a_probability_of_exactly_one_half_is_lung(right):
    assert np.array_equal(clean_up(right * np.float32(0.5), SPACING), right)


def test_no_lung_gives_an_empty_mask():
    assert not clean_up(np.full(SHAPE, 0.4, np.float32), SPACING).any()


@pytest.mark.parametrize("centre", [(30, 8, 8), (30, 124, 64), (57, 64, 64)], ids=["corner", "table", "neck"])
def test_a_distant_stray_part_is_removed(right, left, centre):
    stray = ellipsoid(centre, (2, 3, 3))
    assert stray.sum() * np.prod(SPACING) / 1000 < 1  # ml: too small to be looked at again
    assert np.array_equal(clean_up(sure(right | left | stray), SPACING), right | left)


def test_a_large_pocket_of_gas_far_from_the_lungs_is_removed(right, left):
    gas = ellipsoid((30, 118, 64), (5, 6, 6))  # 3.4 ml, 12 rows = 18 mm below the nearest lung voxel
    assert np.array_equal(clean_up(sure(right | left | gas), SPACING), right | left)


def test_a_sure_fragment_near_a_lung_is_kept_and_an_unsure_one_is_not(right, left):
    fragment = np.zeros(SHAPE, bool)
    fragment[28:34, 60:68, 60:66] = True  # 6 * 8 * 6 voxels of 4.5 mm3 = 1.3 ml; 4 columns = 6 mm from a lung
    assert clean_up(sure(right | left | fragment), SPACING)[fragment].all()
    unsure = np.where(fragment, np.float32(0.7), sure(right | left))
    assert not clean_up(unsure, SPACING)[fragment].any()


def test_a_small_second_lung_is_kept_wherever_it_lies(right):
    collapsed = ellipsoid((30, 64, 112), (11, 17, 10))
    assert 0.1 < collapsed.sum() / right.sum() < 0.12
    assert clean_up(sure(right | collapsed), SPACING)[collapsed].all()


def test_enclosed_disease_of_any_size_is_filled(right, left):
    mass = ellipsoid((30, 64, 92), (12, 18, 10))  # 30 mm across, wholly within the left lung
    assert np.array_equal(clean_up(sure((right | left) & ~mass), SPACING), right | left)


def test_a_vessel_through_all_slices_is_filled_and_the_diaphragm_is_not(right, left):
    y, x = np.ogrid[:128, :128]
    vessel = np.broadcast_to((y - 60) ** 2 + (x - 36) ** 2 <= 3**2, SHAPE)  # 29 pixels: 65 mm2
    dome = np.broadcast_to((y - 64) ** 2 + (x - 92) ** 2 <= 8**2, SHAPE).copy()  # 197 pixels: 443 mm2
    dome[30:] = False  # open below, closed above, as a diaphragm is
    cleaned = clean_up(sure((right | left) & ~vessel & ~dome), SPACING)
    assert np.array_equal(cleaned, (right | left) & ~dome)


def test_low_x_is_the_right_lung(right, left):
    sides = split_sides(right | left, SPACING)
    assert np.array_equal(sides == 1, right)
    assert np.array_equal(sides == 2, left)


def test_lungs_that_touch_are_cut_where_they_touch(right, left):
    bridge = np.zeros(SHAPE, bool)
    bridge[20:40, 50:58, 50:80] = True  # an anterior junction 8 rows high
    sides = split_sides(right | left | bridge, SPACING)
    assert (sides[right] == 1).all()
    assert (sides[left] == 2).all()
    assert ((sides > 0) == (right | left | bridge)).all()


def test_a_trachea_that_joins_both_lungs_does_not_mix_them(right, left):
    y, x = np.ogrid[:128, :128]
    airway = np.zeros(SHAPE, bool)
    airway[30:] = (y - 60) ** 2 + (x - 64) ** 2 <= 6**2
    airway[28:32, 57:63, 40:90] = True
    sides = split_sides(right | left | airway, SPACING)
    assert (sides[right] == 1).mean() > 0.999
    assert (sides[left] == 2).mean() > 0.999


def test_a_lung_that_bulges_over_the_midline_stays_whole(right):
    bulge = ellipsoid((30, 40, 60), (10, 8, 18))  # herniates in front, toward the left
    shifted = ellipsoid((30, 72, 98), (24, 30, 18))
    assert not (bulge & shifted).any()
    sides = split_sides(right | bulge | shifted, SPACING)
    assert (sides[right | bulge] == 1).all()
    assert (sides[shifted] == 2).all()


@pytest.mark.parametrize(("centre", "side"), [(36, 1), (92, 2)])
def test_a_single_lung_is_named_by_its_place_in_the_picture(centre, side):
    lung = ellipsoid((30, 64, centre), (24, 36, 20))
    sides = split_sides(lung, SPACING)
    assert (sides[lung] == side).all()
    assert not sides[~lung].any()


def test_an_empty_mask_has_no_sides():
    assert not split_sides(np.zeros(SHAPE, bool), SPACING).any()


def test_a_whole_scan_takes_well_under_a_second():
    lungs = ellipsoid((75, 128, 76), (70, 80, 46), (150, 256, 256)) | ellipsoid(
        (75, 128, 180), (70, 80, 46), (150, 256, 256)
    )
    chance = sure(lungs)
    start = time.process_time()
    split_sides(clean_up(chance, (2.0, 1.5, 1.5)), (2.0, 1.5, 1.5))
    assert (
        time.process_time() - start < 2.0
    )  # 0.5 s on a free core; process time, with room for a slow machine
