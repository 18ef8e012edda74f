"""The embedded lung network on patients it has not seen: synthetic ones, and real ones where available."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from covid19net.engine import open_lungs
from covid19net.lungs import clean_up, split_sides
from covid19net.phantom import Scanner, draw_patient, scan_slices
from covid19net.preprocess import segmentation_affine, slice_inputs
from covid19net.train.augment import standardized
from covid19net.train.lung_data import copied, small_mask
from covid19net.volume import CTVolume, spacing_of
from covid19net.weights.registry import BUNDLED_FOLDER, weight_files

DATA = Path(__file__).parents[2] / "shared" / "data"
# Slices (from the feet) of the two scans with masks that were kept from training.
HELD_OUT = {
    "covid-P001": [(18, 27), (46, 55), (70, 79), (96, 105), (119, 128)],
    "normal-001": [(23, 32), (50, 59), (77, 86), (104, 113), (129, 138)],
}


@pytest.fixture(scope="module")
def network():
    """As in analysis, in f32."""
    return open_lungs(weight_files(BUNDLED_FOLDER)["lungs"], "cpu", precision="f32")


def dice(found, truth):
    return 2 * (found & truth).sum() / (found.sum() + truth.sum())


def probability(network, inputs):
    return np.stack(list(network.stream(inputs)))


def whole_scan(network, volume):
    """Cleaned mask on the 256x256 grid, and its voxel size."""
    found = np.zeros((volume.shape[0], 256, 256), np.float32)
    found[1:-1] = probability(network, slice_inputs(volume, range(1, volume.shape[0] - 1)))
    spacing = spacing_of(segmentation_affine(volume))
    return clean_up(found, spacing), spacing


def test_its_card_says_what_it_is_and_what_is_doubtful():
    card = weight_files(BUNDLED_FOLDER)["lungs"].card
    assert card.options == {"pyramid": 64, "segmentation": 64, "clean_up": True}
    assert card.size < 16e6
    assert "unverified" in card.training_data
    assert not card.demonstration
    assert card.limits
    assert "/" not in card.training_command  # no folder of a machine


@pytest.mark.parametrize(("seed", "disease"), [(301, None), (302, "covid"), (305, "bacterial")])
def test_it_finds_the_lungs_of_synthetic_patients_and_nothing_else(network, seed, disease):
    rng = np.random.default_rng(seed)
    patient = draw_patient(rng, disease=disease)
    scanner = Scanner(matrix=256)
    case = scan_slices(patient, scanner, np.arange(-330.0, 70.0, 12.0) * patient.shape.scale[2], rng)
    found, spacing = whole_scan(network, case.volume)
    truth = case.lungs.values > 0
    truth[[0, -1]] = False
    assert dice(found, truth) > 0.965
    far = ndimage.distance_transform_edt(~truth, spacing) > 15
    # Nothing of table, neck and outside air; gas of a full stomach may add some millilitres (a limit).
    assert (found & far).sum() * np.prod(spacing) / 1000 < 10
    assert not found[-4:].any()  # the neck
    sides = split_sides(found, spacing)
    assert (sides[found & truth] == case.lungs.values[found & truth]).mean() > 0.99


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "lungs2d").is_dir(), reason="needs the 2-D slices")
def test_it_reaches_its_dice_on_real_slices(network):
    with np.load(DATA / "lungs2d" / "val.npz") as file:
        sound = file["id"] != "ID_0254_Z_0075"  # that mask covers the air outside the body
        hu, masks = file["hu"][sound], file["mask"][sound] == 1
    found = probability(network, (standardized(s.astype(np.float32)) for s in copied(hu))) >= 0.5
    scores = [dice(a, b) for a, b in zip(found, masks, strict=True)]
    assert len(scores) == 26
    assert np.mean(scores) > 0.986
    assert min(scores) > 0.96


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "ct").is_dir(), reason="needs the scans")
@pytest.mark.parametrize("name", HELD_OUT)
def test_it_reaches_its_dice_on_slices_kept_from_training(network, name):
    from covid19net.io import read_ct

    volume = read_ct(DATA / "ct" / name).volume
    mask = read_ct(DATA / "ct" / "masks" / f"{name}-lungs.nii.gz").volume
    np.testing.assert_allclose(mask.affine, volume.affine, atol=0.5)
    chosen = [i for a, b in HELD_OUT[name] for i in range(a, b)]
    found = probability(network, slice_inputs(volume, chosen)) >= 0.5
    assert dice(found, small_mask(mask.hu[chosen]) == 1) > 0.985


@pytest.mark.real
@pytest.mark.skipif(not (DATA / "ct").is_dir(), reason="needs the scans")
def test_it_finds_no_lung_in_neck_and_belly(network):
    from covid19net.io import read_ct

    volume = read_ct(DATA / "ct" / "normal-001").volume
    part = CTVolume(volume.hu[:10], volume.affine)  # kidneys and bowel
    assert not whole_scan(network, part)[0].any()
