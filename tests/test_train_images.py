"""Lung images of a cohort on disk: made once, under a key of all that decides them."""

from dataclasses import replace
import shutil

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import Covid19netError, InputError
from covid19net.io import write_volume
from covid19net.preprocess import lung_image
from covid19net.train import images
from covid19net.train.images import Sample, content_hash, image_key, on_slice_grid, prepare, read_mask
from covid19net.volume import CTVolume, Overlay

AFFINE = np.array([[0, 0, 4.0, -150], [0, 4.0, 0, -150], [5.0, 0, 0, 0], [0, 0, 0, 1]])


@pytest.fixture
def patient(tmp_path):
    """Two dark lungs in a box of tissue, 20 slices of 75 x 75."""
    rng = np.random.default_rng(0)
    hu = rng.normal(40, 20, (20, 75, 75)).astype(np.int16)
    mask = np.zeros(hu.shape, np.uint8)
    mask[3:17, 20:55, 12:35], mask[3:17, 20:55, 42:65] = 1, 2
    hu[mask > 0] -= 880
    write_volume(CTVolume(hu, AFFINE), tmp_path / "ct.nii.gz")
    write_volume(Overlay(mask, AFFINE), tmp_path / "lungs.nii.gz")
    return Patient("p", 2, {"scan": tmp_path / "ct.nii.gz", "lungs": tmp_path / "lungs.nii.gz"})


def test_the_image_is_that_of_the_preprocessing(patient, tmp_path):
    (path,) = prepare([patient], tmp_path / "cache").paths.values()
    found = np.load(path)
    volume = images.read_ct(patient.values["scan"]).volume
    mask = read_mask(patient.values["lungs"], volume)
    expected = lung_image(volume, on_slice_grid(mask, volume)).values
    assert found.dtype == np.float16
    assert np.abs(found - expected).max() < 0.01  # half precision of values up to 4


def test_an_image_is_made_once(patient, tmp_path, monkeypatch):
    first = prepare([patient], tmp_path / "cache")
    monkeypatch.setattr(images, "patient_image", lambda *_: pytest.fail("made again"))
    assert prepare([patient], tmp_path / "cache") == first
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_key_follows_the_content_not_the_name(patient, tmp_path):
    moved = tmp_path / "elsewhere.nii.gz"
    shutil.copy(patient.values["scan"], moved)
    same = replace(patient, values={**patient.values, "scan": moved})
    other = replace(patient, values={**patient.values, "lungs": moved})
    assert image_key(same, "") == image_key(patient, "")
    assert image_key(other, "") != image_key(patient, "")


def test_the_key_follows_recipe_and_lung_network(patient, monkeypatch):
    bare = replace(patient, values={"scan": patient.values["scan"]})
    assert image_key(bare, "a" * 64) != image_key(bare, "b" * 64)
    before = image_key(patient, "")
    monkeypatch.setattr(images, "RECIPE", "another")
    assert image_key(patient, "") != before


def test_a_folder_is_hashed_by_the_bytes_of_all_its_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1").write_bytes(b"one")
        (tmp_path / name / "2").write_bytes(b"two")
    assert content_hash(tmp_path / "a") == content_hash(tmp_path / "b")
    (tmp_path / "b" / "2").write_bytes(b"too")
    assert content_hash(tmp_path / "a") != content_hash(tmp_path / "b")


def test_a_mask_on_another_grid_is_refused_with_its_row(patient, tmp_path):
    mask = images.read_ct(patient.values["lungs"]).volume
    write_volume(Overlay(mask.hu[1:].astype(np.uint8), AFFINE), patient.values["lungs"])
    with pytest.raises(InputError, match=r"row 2: .*grid"):
        prepare([patient], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_mask_with_other_pixels_is_refused_though_its_shape_fits(patient, tmp_path):
    mask = images.read_ct(patient.values["lungs"]).volume
    wider = AFFINE @ np.diag([1, 1.1, 1.1, 1])
    write_volume(Overlay(mask.hu.astype(np.uint8), wider), patient.values["lungs"])
    with pytest.raises(InputError, match="grid"):
        prepare([patient], tmp_path / "cache")


def test_without_mask_and_network_there_is_no_image(patient, tmp_path):
    with pytest.raises(Covid19netError, match=r"row 2: no lung mask"):
        prepare([replace(patient, values={"scan": patient.values["scan"]})], tmp_path / "cache")


def test_end_slices_hold_no_lung_as_from_the_network(patient):
    volume = images.read_ct(patient.values["scan"]).volume
    grid = on_slice_grid(np.ones(volume.shape), volume).values
    assert grid.shape == (20, 256, 256)
    assert not grid[[0, -1]].any()
    assert grid[1:-1].all()


def test_a_shrunken_image_is_the_mean_of_its_blocks_standardized(tmp_path):
    image = np.random.default_rng(1).standard_normal((48, 240, 360)).astype(np.float16)
    np.save(tmp_path / "a.npy", image)
    sample = Sample(tmp_path / "a.npy", True, Patient("p", 2))
    small = sample.read((2, 4, 4))
    blocks = np.array([[image[:2, :4, :4].astype(float).mean(), image[2:4, :4, 4:8].astype(float).mean()]])
    assert small.shape == (24, 60, 90)
    assert small.astype(float).std() == pytest.approx(1, abs=1e-3)
    # Standard normal voxels in blocks of 32: the mean's sd is 1 / sqrt(32), give or take what 129600 allow.
    assert small[0, 0, 0] == pytest.approx(blocks[0, 0] * 32**0.5, abs=0.05)
    assert small[1, 0, 1] == pytest.approx(blocks[0, 1] * 32**0.5, abs=0.05)
    assert np.array_equal(sample.read(), image)
