"""The synthetic chest: same seed, same patient; known geometry; masks that agree; HU like real ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from covid19net.errors import InputError
from covid19net.phantom import (
    DISEASES,
    Scanner,
    draw_patient,
    draw_scanner,
    scan_grid,
    scan_lungs,
    scan_patient,
    scan_slices,
)
from covid19net.phantom.anatomy import Patient
from covid19net.phantom.lesions import CONSOLIDATION, GROUND_GLASS, Disease, Lesion
from covid19net.volume import upright

QUIET = Scanner(spacing=8, thickness=2, matrix=96, fov=420, noise=0, blur=0.5)


def patient(seed: int, disease: str | None = None) -> Patient:
    return draw_patient(np.random.default_rng(seed), disease=disease)


def scan(who: Patient, scanner: Scanner = QUIET, seed: int = 0):
    return scan_patient(who, scanner, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def healthy():
    return scan(patient(1))


@pytest.fixture(scope="module")
def covid():
    return scan(patient(2, "covid"))


def test_equal_seeds_give_equal_scans_and_other_seeds_do_not() -> None:
    def once(seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        who, scanner = draw_patient(rng, disease="covid"), replace(draw_scanner(rng), matrix=64)
        return scan_slices(who, scanner, [-160.0, -155.0], rng).volume.hu

    assert np.array_equal(once(5), once(5))
    assert not np.array_equal(once(5), once(6))


def test_the_noise_is_all_that_the_scan_draws() -> None:
    who, noisy = patient(3), replace(QUIET, noise=20.0)
    first, second = (scan_slices(who, noisy, [-150.0], np.random.default_rng(k)) for k in (0, 1))
    assert not np.array_equal(first.volume.hu, second.volume.hu)
    assert np.array_equal(first.lungs.values, second.lungs.values)


def test_an_unknown_disease_is_refused() -> None:
    with pytest.raises(InputError, match="influenza"):
        patient(0, "influenza")


@pytest.mark.parametrize("heights", [[], [0.0, 1.0, 3.0], [0.0, -1.0]])
def test_heights_that_make_no_volume_are_refused(heights) -> None:
    with pytest.raises(InputError, match="evenly"):
        scan_slices(patient(0), QUIET, heights, np.random.default_rng(0))


def test_the_scan_stands_upright_in_lps(healthy) -> None:
    assert healthy.volume.hu.dtype == np.int16
    assert np.allclose(upright(healthy.volume).affine, healthy.volume.affine)
    assert healthy.volume.spacing == pytest.approx((8, 420 / 96, 420 / 96))
    assert np.array_equal(healthy.lungs.affine, healthy.volume.affine)


def test_the_right_lung_lies_at_low_x_and_the_neck_at_the_top(healthy) -> None:
    lungs = healthy.lungs.values
    right, left = (np.array(ndimage.center_of_mass(lungs == side)) for side in (1, 2))
    assert right[2] + 15 < left[2]
    # The neck is thinner from front to back than the chest, and the spine lies behind the lungs' centre.
    body = healthy.volume.hu > -300
    top, middle = (body[k].sum() for k in (-1, int(right[0])))
    assert top < middle
    bone = ndimage.center_of_mass(healthy.volume.hu[int(right[0])] > 150)
    assert bone[0] > right[1]


def test_the_lungs_stand_above_the_belly_and_below_the_neck(healthy) -> None:
    levels = (healthy.lungs.values > 0).any(axis=(1, 2))
    first, last = np.flatnonzero(levels)[[0, -1]]
    assert first > 0
    assert last < len(levels) - 1
    assert levels[first : last + 1].all()


def test_lung_volume_is_that_of_adults() -> None:
    # Total lung capacity in litres, height in m: women 6.60 h - 5.79, men 7.99 h - 7.08 (Quanjer 1993, Eur
    # Respir J 6 Suppl 16:5); 1.50 to 1.90 m gives 4.1 to 8.1. Scans hold less.
    for seed in range(4):
        case = scan(patient(seed))
        litres = (case.lungs.values > 0).sum() * np.prod(case.volume.spacing) / 1e6
        assert 2.0 < litres < 9.0
        right, left = ((case.lungs.values == side).sum() for side in (1, 2))
        assert 0.8 < right / left < 1.7


def test_each_lung_is_one_piece(healthy) -> None:
    for side in (1, 2):
        label, count = ndimage.label(healthy.lungs.values == side, np.ones((3, 3, 3)))
        largest = np.bincount(label.ravel())[1:].max()
        assert largest > 0.98 * (label > 0).sum(), count


def test_trachea_and_bowel_gas_are_air_but_not_lung(healthy) -> None:
    hu, lungs = healthy.volume.hu, healthy.lungs.values
    label, _ = ndimage.label(hu < -300)
    outside = np.unique(np.concatenate([label[:, 0].ravel(), label[:, -1].ravel(), label[..., 0].ravel()]))
    inner = (hu < -850) & ~np.isin(label, outside) & (lungs == 0)
    assert inner[-4:].sum() > 0  # trachea in the neck
    assert inner[: len(hu) // 3].sum() > 0  # gas in the belly


def test_tissues_have_the_hounsfield_units_of_real_ones() -> None:
    # Measured on two unenhanced scans (COVID-CT-MD P001 and normal001): lung medians -859 and -838 HU.
    medians, fats, softs = [], [], []
    for seed in range(6):
        case = scan(patient(seed), replace(QUIET, matrix=160))
        hu, lungs = case.volume.hu, case.lungs.values > 0
        medians.append(np.median(hu[ndimage.binary_erosion(lungs)]))
        fats.append(np.median(hu[(hu > -150) & (hu < -50)]))
        softs.append(np.median(hu[(hu > 0) & (hu < 100)]))
    assert min(medians) > -930
    assert max(medians) < -770
    assert -890 < np.mean(medians) < -810
    assert all(-120 < f < -80 for f in fats)
    assert all(30 < s < 65 for s in softs)


def test_noise_in_soft_tissue_is_what_the_scanner_states() -> None:
    # Real soft tissue: sd 21 to 28 HU within 15x15 pixels (5th to 25th percentile; COVID-CT-MD, 2 mm, D40s).
    who = patient(4)
    sharp, quiet = (
        scan_slices(who, replace(QUIET, matrix=256, noise=n), [-200.0], np.random.default_rng(0)).volume.hu[0]
        for n in (24.0, 0.0)
    )
    soft = ndimage.binary_erosion((quiet > 20) & (quiet < 90), iterations=6)
    assert soft.sum() > 300
    assert 18 < (sharp.astype(float) - quiet)[soft].std() < 28


def test_padding_fills_what_lies_outside_the_circle() -> None:
    hu = scan_slices(patient(0), replace(QUIET, padding=-3024), [-100.0], np.random.default_rng(0)).volume.hu[
        0
    ]
    assert (hu[[0, 0, -1, -1], [0, -1, 0, -1]] == -3024).all()
    assert hu[48, 48] > -1025
    assert 0.19 < (hu == -3024).mean() < 0.24  # 1 - pi / 4 = 0.215


def test_the_circle_is_the_scanners_own_not_that_of_the_box_scanned() -> None:
    def shot(fov: float):
        scanner = replace(QUIET, padding=-3024, fov=fov)
        return scan_lungs(patient(0), scanner, np.random.default_rng(0), (4, 60, 90))

    assert (shot(900).volume.hu > -1025).all()
    narrow = shot(200)
    padded = narrow.volume.hu == -3024
    assert 0.1 < padded.mean() < 0.9
    assert (narrow.lungs.values[padded] == 0).all()


@pytest.mark.parametrize("disease", DISEASES)
def test_lesions_lie_within_the_lungs_and_make_them_denser(disease) -> None:
    sick = patient(11, disease)
    well = replace(sick, disease=Disease())
    ill = scan_lungs(sick, QUIET, np.random.default_rng(0), (24, 60, 90))
    clear = scan_lungs(well, QUIET, np.random.default_rng(0), (24, 60, 90))
    spots = ill.lesions.values > 0
    assert spots.any()
    assert (ill.lungs.values[spots] > 0).all()
    change = ill.volume.hu.astype(float) - clear.volume.hu
    assert change[spots].mean() > 60
    assert np.abs(change[(ill.lungs.values == 0) & (clear.lungs.values == 0)]).mean() < 3


def test_healthy_lungs_have_no_lesions(healthy) -> None:
    assert not healthy.lesions.values.any()


def test_consolidation_at_the_pleura_belongs_to_the_lung() -> None:
    well = replace(patient(1), disease=Disease())
    plain = scan_slices(well, QUIET, [-150.0], np.random.default_rng(0))
    rows, columns = np.nonzero(plain.lungs.values[0] == 1)
    k = int(np.argmin(columns))  # the outermost point of the right lung
    axes = plain.volume.affine
    x, y = axes[0, 2] * columns[k] + axes[0, 3], axes[1, 1] * rows[k] + axes[1, 3]
    shape = well.shape
    # The lesion's place is anatomical: undo the patient's size; spine and roll stay within its 30 mm.
    centre = x / shape.scale[0], y / shape.scale[1], 150.0 / shape.scale[2]
    dense = Lesion(CONSOLIDATION, centre, (30, 40, 30), 30.0, edge=0.0, soft=1.0)
    sick = scan_slices(
        replace(well, disease=Disease("bacterial", lesions=(dense,))),
        QUIET,
        [-150.0],
        np.random.default_rng(0),
    )
    assert np.array_equal(sick.lungs.values, plain.lungs.values)
    assert sick.lesions.values[0, rows[k], columns[k]] == CONSOLIDATION
    inside = ndimage.binary_erosion(sick.lesions.values[0] == CONSOLIDATION)
    assert np.median(sick.volume.hu[0][inside]) == pytest.approx(30, abs=15)


def test_covid_is_mostly_bilateral_and_nearer_the_pleura_than_the_hilum() -> None:
    # Bernheim 2020: bilateral in 76 % (days 3-5) to 88 % (days 6-12), peripheral in about half.
    two_sided, depth = 0, []
    for seed in range(12):
        lesions = patient(seed, "covid").disease.lesions
        sides = {np.sign(spot.centre[0]) for spot in lesions}
        two_sided += len(sides) == 2
        depth += [abs(spot.centre[0]) for spot in lesions]
    assert two_sided >= 7
    assert np.median(depth) > 70  # mm from the midline; the lungs reach from about 20 to 155


def test_ground_glass_leaves_vessels_visible() -> None:
    well = replace(patient(1), disease=Disease())
    haze = Lesion(GROUND_GLASS, (-90.0, -30.0, 130.0), (60, 60, 60), -600.0, edge=0.0)
    fine = replace(QUIET, matrix=256)
    ill = scan_slices(
        replace(well, disease=Disease("viral", lesions=(haze,))), fine, [-125.0], np.random.default_rng(0)
    )
    hu = ill.volume.hu[0][ill.lesions.values[0] == GROUND_GLASS]
    assert np.median(hu) == pytest.approx(-600, abs=60)
    assert np.percentile(hu, 98) > -400  # vessels


def test_a_few_slices_are_those_of_the_whole_scan(covid) -> None:
    heights = covid.volume.affine[2, 3] + 8.0 * np.arange(covid.volume.shape[0])
    part = scan_slices(covid.patient, QUIET, heights[14:17], np.random.default_rng(9))
    assert np.array_equal(part.volume.hu, covid.volume.hu[14:17])
    assert np.array_equal(part.lungs.values, covid.lungs.values[14:17])
    assert np.array_equal(part.lesions.values, covid.lesions.values[14:17])
    assert part.volume.affine[2, 3] == pytest.approx(heights[14])


def test_the_anatomy_does_not_depend_on_the_grid() -> None:
    who = patient(6)
    fine = np.arange(-179.5, 180)
    coarse = fine[1::3]  # the same points, three times fewer
    hu, sparse = (
        scan_grid(
            who, replace(QUIET, blur=1e-6), (np.array([-120.0]), a, a), np.random.default_rng(0)
        ).lungs.values
        for a in (fine, coarse)
    )
    assert (hu[:, 1::3, 1::3] == sparse).mean() > 0.999


def test_the_lung_box_holds_the_lungs_and_little_else() -> None:
    case = scan_lungs(patient(2), QUIET, np.random.default_rng(0), (24, 60, 90))
    lungs = case.lungs.values > 0
    assert case.volume.shape == (24, 60, 90)
    for axis, count in enumerate(lungs.shape):
        seen = np.flatnonzero(lungs.any(axis=tuple(k for k in range(3) if k != axis)))
        assert seen[0] <= 0.12 * count
        assert seen[-1] >= 0.88 * count - 1


def test_thick_slices_are_means_of_thin_ones() -> None:
    who = patient(7)
    thick = scan_slices(
        who, replace(QUIET, thickness=5.2, blur=1e-6), [-200.0], np.random.default_rng(0)
    ).volume.hu[0]
    thin = scan_slices(
        who, replace(QUIET, thickness=0.0, blur=1e-6), [-201.3, -198.7], np.random.default_rng(0)
    )
    assert np.abs(thick - thin.volume.hu.mean(axis=0)).max() <= 1


def test_effusion_is_not_lung() -> None:
    well = replace(patient(1), disease=Disease())
    wet = replace(well, disease=Disease("bacterial", effusion=(30.0, 0.0)))
    before, after = (scan_slices(w, QUIET, [-190.0], np.random.default_rng(0)) for w in (well, wet))
    lost = (before.lungs.values > 0) & (after.lungs.values == 0)
    assert lost.sum() > 20
    assert np.array_equal(before.lungs.values == 2, after.lungs.values == 2)
    assert np.median(after.volume.hu[ndimage.binary_erosion(lost, np.ones((1, 3, 3)))]) == pytest.approx(
        8, abs=10
    )
