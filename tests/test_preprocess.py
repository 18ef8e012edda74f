"""Preprocessing against scipy and against the paper's steps written a second time, plainly."""

import numpy as np
import pytest
from scipy import ndimage

from covid19net.errors import NotChestCTError
from covid19net.preprocess import IMAGE_SHAPE, lung_box, lung_image, slice_inputs, slice_range
from covid19net.resize import bands, resized, zoom, zoom_matrix
from covid19net.volume import CTVolume, Overlay

AFFINE = np.array([[0, 0, 0.7, 0], [0, 0.7, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]])


def thorax(shape=(30, 200, 220)) -> tuple[CTVolume, Overlay]:
    """A rough chest: two lungs of -850 HU in a body of 40 HU in air, noise, and their mask on 256 pixels."""
    rng = np.random.default_rng(0)
    hu = np.full(shape, -1000.0)
    hu[:, 20:180, 10:210] = 40
    mask = np.zeros((shape[0], 256, 256), np.uint8)
    for left, right in ((30, 100), (120, 190)):
        hu[4:26, 50:150, left:right] = -850
        y, x = (np.array([50, 150]) * 256 / shape[1]).astype(int), np.array([left, right]) * 256 / shape[2]
        mask[4:26, y[0] : y[1], int(x[0]) : int(x[1])] = 1
    hu += rng.normal(0, 25, shape)
    return CTVolume(hu.round().astype(np.int16), AFFINE), Overlay(mask, AFFINE)


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("shape", [(33, 150, 97), (13, 301, 420), (60, 240, 360)])
def test_zoom_is_scipys_within_a_hundredth_of_a_hu(shape, order):
    array = np.random.default_rng(1).integers(-1024, 1500, shape).astype(np.float32)
    reference = ndimage.zoom(array, [b / a for a, b in zip(shape, IMAGE_SHAPE, strict=True)], order=order)
    assert np.abs(zoom(array, IMAGE_SHAPE, order) - reference).max() < 0.01


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(
    ("size", "new"),
    [(1, 5), (2, 7), (3, 48), (40, 512), (131, 48), (434, 360), (512, 256), (60, 240), (9, 1), (28, 48)],
)
def test_zoom_matrices_are_scipys(size, new, order):
    # scipy asked for the zoom of every unit vector; from 28 to 48 it finds nothing at the last place
    reference = ndimage.zoom(np.eye(size), (new / size, 1), order=order)
    assert np.abs(zoom_matrix(size, new, order) - reference).max() < 1e-7


def test_bands_leave_out_zeros_only():
    matrix = zoom_matrix(300, 200)
    parts = bands(matrix)
    assert sum(part.weights.size for part in parts) < matrix.size / 2
    planes = np.random.default_rng(2).normal(size=(2, 300, 300)).astype(np.float32)
    whole = matrix.astype(np.float64) @ planes @ matrix.T
    assert np.abs(resized(planes, parts, parts) - whole).max() < 1e-5


def test_a_band_of_nothing_but_zeros_gives_zeros():
    matrix = zoom_matrix(30, 225)  # whose last row is one, and alone in its band
    out = resized(np.ones((30, 30), np.float32), bands(matrix), bands(matrix))
    assert not out[-1].any()
    assert np.abs(out[:-1, :-1] - 1).max() < 1e-5


def test_slice_inputs_are_the_papers_steps():
    volume, _ = thorax()
    hu = volume.hu.astype(np.float64)
    hu[3] = -3024  # padding
    volume = CTVolume(hu.astype(np.int16), AFFINE)
    clipped = np.maximum(hu.round(), -1024)
    z = (clipped - clipped.mean((1, 2), keepdims=True)) / (clipped.std((1, 2), keepdims=True) + 1e-6)
    given = list(slice_inputs(volume, [1, 4, 5, 20]))
    for index, channels in zip([1, 4, 5, 20], given, strict=True):
        assert channels.dtype == np.float32
        for channel, i in zip(channels, (index - 1, index, index + 1), strict=True):
            reference = ndimage.zoom(z[i], (256 / 200, 256 / 220), order=3)
            assert np.abs(channel - reference).max() < 1e-4


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([0, 0, 5, 50, 100, 90, 5, 0], (3, 6)),  # 5 of 100 counts, but its outer neighbour does not
        ([100, 90, 80, 0, 0], (0, 2)),  # the first slice needs only its one neighbour
        ([0, 100, 0, 100, 100, 100, 0], (4, 5)),  # a single slice without neighbours is not used
        ([100, 100, 0, 0, 100, 100], (0, 6)),  # a gap stays in
        ([2, 100, 100, 100, 2], (2, 3)),  # 2 percent does not count
    ],
)
def test_slice_range(areas, expected):
    # By hand from the rule: a slice is used when it and both neighbours reach 0.03 of the largest area.
    mask = np.zeros((len(areas), 10, 10), bool)
    for i, area in enumerate(areas):
        mask[i].flat[:area] = True
    assert slice_range(mask) == expected


def test_box_is_scaled_and_truncated():
    mask = np.zeros((10, 256, 256), np.uint8)
    mask[2:8, 31:180, 41:200] = 1
    mask[1, 20, 20] = 1  # a stray pixel widens the box in plane: it is taken over all slices
    # By hand: y 20*500/256 = 39.06, 180*500/256 = 351.6; x 20*300/256 = 23.4, 200*300/256 = 234.4.
    box = lung_box(Overlay(mask, AFFINE), (10, 500, 300))
    assert box.start == (3, 39, 23)
    assert box.stop == (7, 351, 234)


@pytest.mark.parametrize("extent", [(slice(4, 6), slice(0, 200)), (slice(2, 9), slice(100, 129))])
def test_small_lungs_give_no_result(extent):
    mask = np.zeros((12, 256, 256), np.uint8)
    mask[extent[0], extent[1], 50:200] = 1  # two slices; or 29 rows of 256, which are 58 of 512
    with pytest.raises(NotChestCTError):
        lung_box(Overlay(mask, AFFINE), (12, 512, 512))


def test_no_lung_at_all_is_refused():
    with pytest.raises(NotChestCTError, match="no lungs found"):
        lung_box(Overlay(np.zeros((9, 256, 256), np.uint8), AFFINE), (9, 512, 512))


def test_lung_image_is_the_papers_steps():
    volume, lungs = thorax()
    box = lung_box(lungs, volume.shape)
    roi = volume.hu[box.slices].astype(np.float64)
    mask = lungs.values[box.start[0] : box.stop[0]].astype(np.float64)
    ys, xs = np.flatnonzero(mask.any((0, 2))), np.flatnonzero(mask.any((0, 1)))
    mask = mask[:, ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    mask = ndimage.zoom(mask, [b / a for a, b in zip(mask.shape, roi.shape, strict=True)], order=1)
    roi = np.minimum(roi, np.percentile(roi, 95))
    inside = mask > 0.2
    mean, sd = roi[inside].mean(), roi[inside].std()
    roi = np.where(inside, roi, np.clip(roi, mean - 4 * sd, mean + 4 * sd))
    image = ndimage.zoom(roi, [b / a for a, b in zip(roi.shape, IMAGE_SHAPE, strict=True)], order=3)
    image = np.clip(image, roi.min(), roi.max())
    image = (image - image.mean()) / image.std()

    ours = lung_image(volume, lungs)
    assert ours.box == box
    assert ours.values.dtype == np.float32
    assert np.abs(ours.values - image).max() < 1e-3


def test_float_and_integer_hu_give_the_same_image():
    volume, lungs = thorax()
    as_float = CTVolume(volume.hu.astype(np.float32), AFFINE)
    assert (lung_image(volume, lungs).values == lung_image(as_float, lungs).values).all()


def test_slices_too_far_from_any_voxel_of_the_image_to_count_change_nothing():
    shape = (3000, 64, 64)  # 64 slices to a voxel; a spline's weights are gone after 23
    hu = np.random.default_rng(3).integers(-900, 100, shape).astype(np.int16)
    mask = np.zeros((shape[0], 256, 256), np.uint8)
    mask[1:-1, 64:192, 64:192] = 1
    image = lung_image(CTVolume(hu, AFFINE), Overlay(mask, AFFINE))
    between = round(2998 / 47 / 2) + 1
    hu[between - 4 : between + 5] = -300
    changed = lung_image(CTVolume(hu, AFFINE), Overlay(mask, AFFINE))
    # mean and ceiling are those of all slices: not the same numbers, but the same picture
    assert np.corrcoef(image.values.ravel(), changed.values.ravel())[0, 1] > 0.9999
