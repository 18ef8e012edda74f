"""Which slices are segmented, and how the mask comes back to the patient's grid."""

import numpy as np
import pytest

from covid19net.errors import NotChestCTError
from covid19net.preprocess import segmentation_affine
from covid19net.segment import Lungs, chosen_slices, find_lungs, lung_probability, lungs_on_ct
from covid19net.volume import CTVolume, Overlay


def affine(z: float, y: float, x: float) -> np.ndarray:
    return np.array([[0, 0, x, -100], [0, y, 0, -80], [z, 0, 0, 40], [0, 0, 0, 1.0]])


class Threshold:
    """Stands in for a network: lung where the middle channel is dark."""

    def stream(self, slices):
        for channels in slices:
            yield (channels[1] < -0.5).astype(np.float32)


def chest(slices: int = 21, spacing: float = 2.0) -> CTVolume:
    hu = np.full((slices, 200, 240), 40, np.int16)
    hu[4:17, 50:150, 30:100] = -850  # right lung: low x
    hu[4:17, 50:150, 140:200] = -850
    return CTVolume(hu, affine(spacing, 0.8, 0.7))


def test_every_inner_slice_is_the_published_procedure():
    assert chosen_slices(6, 1.0, every_slice=True) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("count", "spacing", "largest"),
    [(148, 2.0, 2), (600, 0.5, 10), (64, 5.0, 1), (30, 10.0, 1), (301, 1.25, 4)],
)
def test_slices_lie_at_most_five_millimetres_apart(count, spacing, largest):
    chosen = chosen_slices(count, spacing, every_slice=False)
    gaps = np.diff(chosen)
    assert (chosen[0], chosen[-1]) == (1, count - 2)
    assert gaps.max() == largest  # the largest whole number of slices within 5 mm
    assert gaps.max() * spacing <= max(5.0, spacing)


def test_two_slices_are_refused():
    with pytest.raises(NotChestCTError, match="at least 3 slices"):
        chosen_slices(2, 1.0, every_slice=False)


def test_probability_is_interpolated_between_segmented_slices():
    found = lung_probability(chest(), Threshold())
    middle = found.values[:, 128, 80]
    # Slices 1, 3, 5 ... 19 are segmented; lung begins at slice 4, so 3 is 0, 5 is 1 and 4 lies half-way.
    assert middle[[3, 4, 5]].tolist() == [0, 0.5, 1]
    assert not found.values[[0, -1]].any()


def test_lung_volumes_and_sides():
    volume = chest()
    lungs = find_lungs(lung_probability(volume, Threshold(), every_slice=True), clean=False)
    right, left = lungs.millilitres
    # By hand: 13 slices x 100 x 70 (or 60) voxels of 2 x 0.8 x 0.7 mm; the 256-pixel grid rounds the edges.
    assert right == pytest.approx(13 * 100 * 70 * 2 * 0.8 * 0.7 / 1000, rel=0.02)
    assert left == pytest.approx(13 * 100 * 60 * 2 * 0.8 * 0.7 / 1000, rel=0.02)


def test_the_mask_overlays_the_ct_exactly():
    volume = chest()
    probability = lung_probability(volume, Threshold(), every_slice=True)
    lungs = find_lungs(probability, clean=False)
    on_ct = lungs_on_ct(lungs, probability, volume)
    truth = np.zeros(volume.shape, np.uint8)
    truth[4:17, 50:150, 30:100], truth[4:17, 50:150, 140:200] = 1, 2
    assert (on_ct.affine == volume.affine).all()
    assert (on_ct.values != truth).mean() < 0.002  # at most the edge pixels
    inner = on_ct.values[4:17, 52:148, 32:98]
    assert (inner == 1).all()


def test_the_network_grid_shares_its_corners_with_the_ct():
    volume = chest()
    grid = segmentation_affine(volume)
    for corner in ([0, 0, 0], [20, 0, 0], [20, 255, 255]):
        on_ct = [corner[0], corner[1] / 255 * 199, corner[2] / 255 * 239]
        assert np.allclose(grid @ [*corner, 1], volume.affine @ [*on_ct, 1])


def test_no_lung_is_refused():
    empty = Overlay(np.zeros((9, 256, 256), np.float32), affine(2, 1, 1))
    with pytest.raises(NotChestCTError, match="no lungs found"):
        find_lungs(empty, clean=False)


def test_lungs_holds_right_before_left():
    mask = Overlay(np.zeros((3, 256, 256), np.uint8), affine(2, 1, 1))
    assert Lungs(mask, (2400.0, 2100.0)).millilitres[0] == 2400.0
