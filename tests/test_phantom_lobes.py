"""Lobes of the synthetic lungs: their masks and the fissures between them; slices as thick as asked for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from covid19net.phantom import Scanner, draw_patient, scan_grid, scan_lungs, scan_slices
from covid19net.phantom.anatomy import Patient
from covid19net.phantom.lesions import Disease

QUIET = Scanner(spacing=8, thickness=0, matrix=96, fov=420, noise=0, blur=1e-6)


def patient(seed: int) -> Patient:
    return draw_patient(np.random.default_rng(seed), disease=None)


@pytest.fixture(scope="module")
def bare():
    """Part of both lungs without anything but fissures, 1 mm voxels: scan, and places well inside a lung."""
    who = replace(patient(1), vessels=(), airways=(), disease=Disease(), mottle=0.0, gravity=0.0)
    axes = np.arange(-145.0, -95.0), np.arange(-150.0, 30.0), np.arange(-150.0, 150.0)
    case = scan_grid(replace(who, parenchyma=-860.0), QUIET, axes, np.random.default_rng(0))
    well_inside = ndimage.binary_erosion(case.lungs.values > 0, np.ones((3, 7, 7)))
    return case, well_inside


@pytest.mark.parametrize(
    "scanner", [QUIET, replace(QUIET, thickness=10.4), replace(QUIET, padding=-1024, fov=250)]
)
def test_every_place_in_a_lung_has_one_lobe_of_its_side(scanner) -> None:
    case = scan_slices(patient(2), scanner, np.arange(-220.0, 0, 12), np.random.default_rng(0))
    lobes, lungs = case.lobes.values, case.lungs.values
    assert lobes.dtype == np.uint8
    assert np.array_equal(case.lobes.affine, case.volume.affine)
    assert set(np.unique(lobes)) == {0, 1, 2, 3, 4, 5}
    assert np.array_equal(np.isin(lobes, (1, 2, 3)), lungs == 1)
    assert np.array_equal(np.isin(lobes, (4, 5)), lungs == 2)


def test_the_drawn_fissures_lie_between_the_lobes(bare) -> None:
    case, well_inside = bare
    lobes, line = case.lobes.values, well_inside & (case.volume.hu > -860 + 35)
    assert line.sum() > 3000
    cube = np.ones((3, 3, 3))
    between = ndimage.maximum_filter(lobes, footprint=cube) != ndimage.minimum_filter(lobes, footprint=cube)
    assert between[line].mean() > 0.99


@pytest.mark.parametrize(("one", "other"), [(1, 2), (1, 3), (2, 3), (4, 5)])
def test_where_two_lobes_meet_a_fissure_is_drawn(bare, one, other) -> None:
    case, well_inside = bare
    hu, lobes = np.where(well_inside, case.volume.hu, -2000), case.lobes.values
    meet, drawn = [], []
    for axis in range(3):
        a, b = (np.moveaxis(lobes, axis, 0)[k] for k in (slice(1, None), slice(None, -1)))
        high = np.maximum(*(np.moveaxis(hu, axis, 0)[k] for k in (slice(1, None), slice(None, -1))))
        border = (((a == one) & (b == other)) | ((a == other) & (b == one))) & (high > -2000)
        meet.append(border.sum())
        drawn.append((high[border] > -860 + 15).sum())
    assert sum(meet) > 150
    assert sum(drawn) / sum(meet) > 0.97


def test_lobes_have_the_lower_ones_behind_and_the_middle_one_in_front(bare) -> None:
    lobes = bare[0].lobes.values
    upper, middle, lower = (np.array(ndimage.center_of_mass(lobes == label)) for label in (1, 2, 3))
    assert lower[1] > upper[1] > middle[1]
    assert upper[0] > middle[0]


def test_lobes_have_their_share_of_the_lungs() -> None:
    # Yamada 2020, Respiration 99:598, table 3: 32 volunteers, CT lying, deep breath: right upper 17.9, middle
    # 9.3, right lower 26.5, left upper 23.1, left lower 23.2 % of both lungs.
    shares = []
    for seed in range(6):
        lobes = scan_lungs(patient(seed), QUIET, np.random.default_rng(0), (24, 60, 90)).lobes.values
        shares.append(np.bincount(lobes[lobes > 0], minlength=6)[1:] / (lobes > 0).sum())
    assert np.allclose(np.mean(shares, axis=0), [0.179, 0.093, 0.265, 0.231, 0.232], atol=0.09)
    assert np.min(shares) > 0.04


def test_slices_round_the_lungs_are_as_thick_as_asked() -> None:
    # 10 mm are two planes, 2.5 mm on either side of the middle; the kernel is linear.
    who, shape = patient(3), (5, 60, 90)
    thin, thick = (scan_lungs(who, QUIET, np.random.default_rng(0), shape, thickness=t) for t in (None, 10.0))
    affine = thin.volume.affine
    assert np.array_equal(affine, thick.volume.affine)
    z, y, x = (affine[2 - k, 3] + affine[2 - k, k] * np.arange(shape[k]) for k in range(3))

    def plane(height: float) -> np.ndarray:
        return scan_grid(who, QUIET, (np.array([height]), y, x), np.random.default_rng(0)).volume.hu[0]

    assert np.array_equal(thin.volume.hu[2], plane(z[2]))
    mean = (plane(z[2] - 2.5).astype(float) + plane(z[2] + 2.5)) / 2
    assert np.abs(thick.volume.hu[2] - mean).max() <= 1
    assert np.abs(thick.volume.hu[2].astype(float) - thin.volume.hu[2]).max() > 50
