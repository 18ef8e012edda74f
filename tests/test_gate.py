"""What is let through as a chest CT, and what is not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

from covid19net.errors import InputError, NotChestCTError
from covid19net.gate import check_hounsfield, check_lungs
from covid19net.volume import CTVolume, Overlay
from tests import dicom_files as make

HU = make.chest((20, 64, 64))
PLACE = make.affine((15.0, 5.0, 5.0))


def volume(hu, place=PLACE):
    return CTVolume(hu, place)


def test_a_chest_passes():
    check_hounsfield(volume(HU))


@pytest.mark.parametrize(
    ("hu", "words"),
    [
        (HU.astype(np.int32) + 1024, "shifted"),
        (np.clip(HU.astype(np.int32) + 1024, 0, None) - 1, "shifted"),
        ((HU.astype(np.float32) + 1024) / 3000, "scaled"),
        ((HU - HU.mean()) / HU.std(), "scaled"),
        ((np.clip(HU, -1350, 150) + 1350.0) / 1500 * 255, "8-bit"),
        (((np.clip(HU, -1350, 150) + 1350.0) / 1500 * 255).astype(np.uint8), "8-bit"),
        (np.clip(HU, -160, 240), "no air or lung"),
        (np.maximum(HU.astype(np.int32) - 1024, -1024), "no soft tissue"),
    ],
)
def test_other_units_are_refused(hu, words):
    """Row 16: HU + 1024, background -1, 0 to 1, z-score, windows, a doubled intercept: exit code 2."""
    with pytest.raises(InputError, match=words) as caught:
        check_hounsfield(volume(hu))
    assert caught.value.exit_code == 2


def test_a_shift_below_a_padded_surrounding():
    """Row 16: HU + 1024 with the corners still at -976."""
    hu = HU.astype(np.int32) + 1024
    hu[:, :4] = -976
    with pytest.raises(InputError, match="shifted"):
        check_hounsfield(volume(hu))


@pytest.mark.parametrize("values", [2, 6])
def test_masks_are_no_ct(values):
    """Row 17: exit code 3."""
    mask = (np.arange(HU.size).reshape(HU.shape) // 50 % values).astype(np.int16)
    with pytest.raises(NotChestCTError, match="a mask, not a CT; no lungs found") as caught:
        check_hounsfield(volume(mask))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("value", [0, -1024, 40])
def test_constant_images(value):
    """Row 45."""
    with pytest.raises(NotChestCTError, match="same value"):
        check_hounsfield(volume(np.full(HU.shape, value, np.int16)))


def test_a_chest_as_narrow_as_centimetres_in_a_header_make_it():
    """Row 46: 64 voxels of 0.5 mm."""
    with pytest.raises(InputError, match="32 x 32 mm wide"):
        check_hounsfield(volume(HU, make.affine((15.0, 0.5, 0.5))))


def test_saturated_metal_is_doubted():
    """Row 39."""
    hu = HU.copy()
    hu[10, 30:36, 30:36] = 3071
    assert [f.code for f in check_hounsfield(volume(hu))] == ["metal"]
    hu[10, 31:36, 30:36] = 2000  # six voxels are left: noise in dense bone
    assert check_hounsfield(volume(hu)) == ()


def test_air():
    """Row 45: scanner air with noise."""
    rng = np.random.default_rng(0)
    with pytest.raises(NotChestCTError, match="nothing but air"):
        check_hounsfield(volume(rng.normal(-990, 15, HU.shape).astype(np.int16)))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["uniform", "normal", "fractions"])
def test_noise(kind, seed):
    """Row 45: exit code 3."""
    rng = np.random.default_rng(seed)
    noise = {
        "uniform": rng.integers(-1024, 1500, HU.shape).astype(np.int16),
        "normal": rng.normal(-300, 500, HU.shape).astype(np.int16),
        "fractions": rng.random(HU.shape).astype(np.float32),
    }[kind]
    with pytest.raises(NotChestCTError, match="noise"):
        check_hounsfield(volume(noise))


@pytest.mark.parametrize("shape", [(2, 64, 64), (1, 64, 64), (20, 16, 64)])
def test_too_few_voxels(shape):
    """Row 28."""
    with pytest.raises(NotChestCTError, match="too few"):
        check_hounsfield(volume(make.chest(shape)))


def ellipsoids(shape=(60, 64, 64), *, right=True, left=True, z=(10, 50), size=1.0):
    """Two ellipsoids of 2.5 mm voxels: 1 right, 2 left, from slice z[0] to z[1]."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    middle, half = (z[0] + z[1]) / 2, (z[1] - z[0]) / 2 + 0.5
    mask = np.zeros(shape, np.uint8)
    for label, wanted, centre in ((1, right, 18), (2, left, 46)):
        if wanted:
            inside = ((k - middle) / half) ** 2 + ((j - 32) / 24 / size) ** 2 + (
                (i - centre) / 12 / size
            ) ** 2 < 1
            mask[inside] = label
    return mask


GRID = make.affine((6.0, 4.0, 4.0))  # mm
SCAN = CTVolume(np.zeros((60, 64, 64), np.int16), GRID)


def codes(mask, scan=SCAN, place=GRID):
    return {finding.code for finding in check_lungs(Overlay(mask, place), scan)}


def test_whole_lungs_pass():
    """Volume of two ellipsoids: 2 x 4/3 pi x 123 x 96 x 48 mm = 4.75 L."""
    assert codes(ellipsoids()) == set()


def test_no_lungs():
    """Row 17: an empty mask, and a trachea of 0.1 L."""
    with pytest.raises(NotChestCTError, match=r"no lungs found \(0\.00 L") as caught:
        check_lungs(Overlay(np.zeros((60, 64, 64), np.uint8), GRID), SCAN)
    assert caught.value.exit_code == 3
    small = np.zeros((60, 64, 64), np.uint8)
    small[10:30, 30:40, 30:34] = 1  # 800 voxels of 96 mm3: 0.077 L
    with pytest.raises(NotChestCTError, match=r"0\.08 L"):
        check_lungs(Overlay(small, GRID), SCAN)


def test_lungs_of_a_child_and_of_a_giant():
    assert codes(ellipsoids(size=0.35)) == {"lung-volume"}  # 4.75 L x 0.35^2 = 0.58 L
    assert codes(
        ellipsoids(), place=make.affine((8, 5.5, 5.5)), scan=CTVolume(SCAN.hu, make.affine((8, 5.5, 5.5)))
    ) == {
        "lung-volume"  # 4.75 L x 8 x 5.5 x 5.5 / 96 = 12 L
    }


def test_one_lung():
    assert codes(ellipsoids(left=False)) == {"one-lung"}


@pytest.mark.parametrize(
    ("z", "words"), [((-15, 40), "bottom;"), ((20, 75), "top;"), ((-15, 75), "bottom and top;")]
)
def test_cut_lungs(z, words):
    """Row 38."""
    (finding,) = check_lungs(Overlay(ellipsoids(z=z), GRID), SCAN)
    assert finding.code == "coverage"
    assert words in finding.message


def test_a_slab_of_lungs_is_called_an_incomplete_chest():
    """Row 38. By hand: 3 slices of two ellipses, half axes 12 and 6 voxels: 43 ml each, less the steps."""
    mask = ellipsoids(z=(-15, 75), size=0.5)[28:31]
    slab = CTVolume(SCAN.hu[28:31], GRID)
    with pytest.raises(NotChestCTError, match=r"incomplete chest: .* 18 mm high .* top \(0\.1[23] L"):
        check_lungs(Overlay(mask, GRID), slab)


def test_cut_lungs_when_the_outermost_slices_have_no_mask():
    """Row 38: segmentation leaves the first and the last slice empty."""
    mask = ellipsoids(z=(-15, 75))
    mask[[0, -1]] = 0
    assert codes(mask) == {"coverage"}


def test_the_mask_may_have_a_grid_of_its_own():
    """Row 38: cropped and coarser than the scan, placed by its affine."""
    mask = ellipsoids()
    coarse = mask[10:52:2, ::2, ::2]
    place = GRID.copy()
    place[:3, 3] = (GRID @ [10, 0, 0, 1])[:3]
    place[:3, :3] *= 2
    assert codes(coarse, place=place) == set()
    fine = CTVolume(zoom(SCAN.hu, (4, 1, 1), order=0), make.affine((1.5, 4.0, 4.0)))
    assert codes(mask, scan=fine) == set()


@pytest.mark.real
@pytest.mark.parametrize(
    "name", ["covid-P001", "normal-001", "thick-A0001", "slab-ricord", "cip-small/ct-64.nrrd"]
)
def test_real_scans_pass(name):
    from covid19net.io import read_ct

    path = Path(__file__).parents[2] / "shared" / "data" / "ct" / name
    if not path.exists():
        pytest.skip("no real scans here")
    check_hounsfield(read_ct(path).volume)
