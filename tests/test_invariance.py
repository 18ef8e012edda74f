"""The same scan through any door and in any orientation: the same HU volume, the same score.

Epsilon: 0 for HU and for the score; 1e-3 mm for the affine (NIfTI keeps it in float32).
"""

from itertools import permutations, product
from pathlib import Path
import shutil

import numpy as np
import pytest
import SimpleITK

from covid19net.io import read_ct
from covid19net.pipeline import analyze

AFFINE_EPSILON = 1e-3  # mm


def as_image(volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.hu)
    image.SetSpacing(volume.spacing[::-1])
    columns = volume.affine[:3, [2, 1, 0]] / np.array(volume.spacing[::-1])
    image.SetDirection(columns.ravel().tolist())
    image.SetOrigin(volume.affine[:3, 3].tolist())
    return image


def same(read, volume) -> None:
    assert read.hu.dtype == np.int16
    assert (read.hu == volume.hu).all()
    assert np.abs(read.affine - volume.affine).max() < AFFINE_EPSILON


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_every_orientation_of_every_format_gives_the_same_volume(phantom, tmp_path, suffix, order):
    image = SimpleITK.PermuteAxes(as_image(phantom.volume), order)
    for flips in product([False, True], repeat=3):
        path = tmp_path / f"scan{suffix}"
        SimpleITK.WriteImage(SimpleITK.Flip(image, flips), str(path))
        same(read_ct(path).volume, phantom.volume)


def test_dicom_in_any_file_order_folder_and_zip_gives_the_same_volume(phantom, phantom_dicom, tmp_path):
    same(read_ct(phantom_dicom).volume, phantom.volume)
    files = sorted(phantom_dicom.iterdir())
    shuffled = tmp_path / "shuffled"
    for i, j in enumerate(np.random.default_rng(0).permutation(len(files))):
        target = shuffled / f"part{j % 3}" / f"{i:05d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[j], target)
    same(read_ct(shuffled).volume, phantom.volume)
    archive = Path(shutil.make_archive(str(tmp_path / "scan"), "zip", shuffled))
    same(read_ct(archive).volume, phantom.volume)


def test_every_door_gives_the_same_score(case, models, phantom, phantom_dicom, tmp_path):
    image = SimpleITK.Flip(SimpleITK.PermuteAxes(as_image(phantom.volume), (1, 2, 0)), (True, False, True))
    SimpleITK.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    SimpleITK.WriteImage(image, str(tmp_path / "scan.nrrd"))
    SimpleITK.WriteImage(image, str(tmp_path / "scan.mha"))
    for door in (phantom_dicom, tmp_path / "scan.nii.gz", tmp_path / "scan.nrrd", tmp_path / "scan.mha"):
        result = analyze(read_ct(door), models, full_evidence=False)
        assert result.probability == case.probability, door.name
        assert (result.lungs.values == case.lungs.values).all(), door.name
        assert (result.heatmap.values == case.heatmap.values).all(), door.name
