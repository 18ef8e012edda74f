"""DICOM segmentations and structure sets onto the grid of their scan.

Oracles: SEG are written by highdicom; areas of circles are those of geometry; squares are counted by hand;
a free outline is filled by PIL as well.
"""

from itertools import combinations

import numpy as np
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)
import pytest

from covid19net.errors import InputError, VolumeError
from covid19net.io import read_contours, read_ct, read_segments
from tests.dicom_files import ct_slices, with_preamble, write
from tests.drawn_objects import chest_drawn, outlines, segmentation, structure_set, structures, turned

PLANTED = chest_drawn()
TURNS = [axes for n in range(4) for axes in combinations(range(3), n)]  # all ways to store, HFP and FFS among
LUNGS = {"Lung-Left": PLANTED.left, "Lung-Right": PLANTED.right}


def stored(tmp_path, case=PLANTED, **tags):
    """A case as DICOM slices and as the scan that is read."""
    slices = [with_preamble(each) for each in ct_slices(case.hu, place=case.place, **tags)]
    return slices, read_ct(write(slices, tmp_path / "ct"))


def saved(dataset, tmp_path):
    dataset.save_as(tmp_path / "drawn.dcm")
    return tmp_path / "drawn.dcm"


def masks_of(case):
    return {"Lung-Left": case.left, "Lung-Right": case.right}


def same(found, name="Lung-Left", truth=PLANTED.left):
    """The scan is upright whatever way it was stored, as the planted case is."""
    np.testing.assert_array_equal(found[name].values, truth)
    np.testing.assert_allclose(found[name].affine, PLANTED.place, atol=1e-4)


def test_the_planted_lungs_differ():
    """The larger lung is the patient's right one, at low x (LPS); else a flip would not show."""
    assert PLANTED.right.sum() > 1.2 * PLANTED.left.sum()
    assert np.argwhere(PLANTED.left)[:, 2].mean() > np.argwhere(PLANTED.right)[:, 2].mean()
    for axis in range(3):
        assert (PLANTED.left != np.flip(PLANTED.left, axis)).any()


@pytest.mark.parametrize("axes", TURNS, ids=str)
@pytest.mark.parametrize("kind", [segmentation, structure_set])
def test_left_is_left_however_the_scan_is_stored(tmp_path, kind, axes):
    case = turned(PLANTED, axes)
    slices, scan = stored(tmp_path, case)
    path = saved(kind(masks_of(case), slices), tmp_path)
    read = read_segments if kind is segmentation else read_contours
    found = read(path, scan, ["Lung-Left", "Lung-Right", "Lungs-Total"])
    assert set(found) == {"Lung-Left", "Lung-Right"}
    same(found)
    same(found, "Lung-Right", PLANTED.right)


# --- segmentations


@pytest.mark.parametrize("axes", TURNS, ids=str)
def test_frames_may_lie_otherwise_than_the_slices(tmp_path, axes):
    """The SEG has a grid of its own, turned against the CT's: its frames run from the head, say."""
    slices, scan = stored(tmp_path)
    other = turned(PLANTED, axes)
    same(
        read_segments(saved(segmentation(masks_of(other), slices, place=other.place), tmp_path), scan, LUNGS)
    )


def test_frames_in_any_order(tmp_path):
    slices, scan = stored(tmp_path)
    dataset = segmentation(LUNGS, slices)
    size, frames = 48 * 40 // 8, len(dataset.PerFrameFunctionalGroupsSequence)  # bytes: bits are packed
    order = np.random.default_rng(1).permutation(frames)
    pixels = [dataset.PixelData[i * size : (i + 1) * size] for i in range(frames)]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    dataset.PixelData = b"".join(pixels[i] for i in order)
    dataset.PerFrameFunctionalGroupsSequence = [groups[i] for i in order]
    found = read_segments(saved(dataset, tmp_path), scan, LUNGS)
    same(found)
    same(found, "Lung-Right", PLANTED.right)


def test_empty_frames_may_be_left_out_or_there(tmp_path):
    left = PLANTED.left.copy()
    left[[0, 5, 11]] = False
    slices, scan = stored(tmp_path)
    for omit, frames in ((True, 8), (False, 12)):  # the lung is drawn from slice 2
        dataset = segmentation({"Lung-Left": left}, slices, omit_empty_frames=omit)
        assert int(dataset.NumberOfFrames) == frames
        same(read_segments(saved(dataset, tmp_path), scan, LUNGS), truth=left)


def test_names_stand_in_labels_too_and_like_names_unite(tmp_path):
    slices, scan = stored(tmp_path)
    dataset = segmentation({"lung_left ": PLANTED.left, "none": PLANTED.right}, slices)
    dataset.SegmentSequence[1].SegmentLabel = "Lung-Left"
    found = read_segments(saved(dataset, tmp_path), scan, LUNGS)
    same(found, truth=PLANTED.left | PLANTED.right)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_deflated_and_implicit(tmp_path, syntax):
    slices, scan = stored(tmp_path)
    dataset = segmentation(LUNGS, slices, transfer_syntax_uid=ImplicitVRLittleEndian)
    dataset.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "drawn.dcm"
    dataset.save_as(path, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    same(read_segments(path, scan, LUNGS))


def refused(read, dataset, tmp_path, scan, words, kind=InputError):
    with pytest.raises(kind, match=words) as error:
        read(saved(dataset, tmp_path), scan, LUNGS)
    assert "\n" not in str(error.value)


def test_segmentations_that_are_refused(tmp_path):
    slices, scan = stored(tmp_path)

    def seg(**kwargs):
        return segmentation(LUNGS, slices, **kwargs)

    refused(read_segments, seg(segmentation_type="FRACTIONAL"), tmp_path, scan, "fractional, not binary")
    for shift in ([2.4, 0, 0], [0, 3, 0], [0, 0, 2.0]):  # 0.3 to 0.4 of a voxel
        place = PLANTED.place.copy()
        place[:3, 3] += shift
        refused(
            read_segments, seg(place=place), tmp_path, scan, "does not lie on the scan's voxels", VolumeError
        )
    place = PLANTED.place.copy()
    place[2, 3] += 20  # four slices up
    refused(read_segments, seg(place=place), tmp_path, scan, "reaches out of the scan", VolumeError)
    other = seg()
    other.FrameOfReferenceUID = generate_uid(prefix=None)
    refused(read_segments, other, tmp_path, scan, "another frame of reference")
    broken = seg()
    del broken.PerFrameFunctionalGroupsSequence[3].SegmentIdentificationSequence
    refused(read_segments, broken, tmp_path, scan, "damaged or lacks")
    short = seg()
    short.PixelData = short.PixelData[:1000]
    refused(read_segments, short, tmp_path, scan, "damaged or lacks")
    refused(read_contours, seg(), tmp_path, scan, "another kind of DICOM object")
    (tmp_path / "text.dcm").write_text("no DICOM file")
    with pytest.raises(InputError, match="no DICOM file"):
        read_segments(tmp_path / "text.dcm", scan, LUNGS)


def test_another_pixel_size_or_tilt_is_refused(tmp_path):
    slices, scan = stored(tmp_path)
    place = PLANTED.place.copy()
    place[:, :3] *= [1, 0.99, 0.99]
    dataset = segmentation(LUNGS, slices, place=place)
    refused(read_segments, dataset, tmp_path, scan, "does not lie on", VolumeError)
    angle = np.deg2rad(2)
    lean = np.eye(4)
    lean[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    dataset = segmentation(LUNGS, slices, place=lean @ PLANTED.place)
    refused(read_segments, dataset, tmp_path, scan, "does not lie on", VolumeError)


# --- contours


def circle(radius, centre=(0.0, 0.0), points=360):
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def on_slice(outline, index, scan):
    """An outline in mm, (x, y) about the middle of the scan, on a slice of it."""
    middle = scan.volume.affine @ [index, *((n - 1) / 2 for n in scan.volume.shape[1:]), 1]
    return np.column_stack([outline + middle[:2], np.full(len(outline), middle[2])])


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """A scan of 3 slices of 300 x 300 pixels of 1 mm, and its first slice."""
    place = np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]]
    place[:3, 3] = -150, -150, 10
    slices = [with_preamble(each) for each in ct_slices(np.zeros((3, 300, 300), np.int16), place=place)]
    return slices[0], read_ct(write(slices, tmp_path_factory.mktemp("fine")))


def area(drawn, fine, tmp_path, index=1):
    """Pixels of 1 mm2 inside contours on one slice; the others have to be empty."""
    like, scan = fine
    dataset = structures({"Lung-Left": [on_slice(each, index, scan) for each in drawn]}, like)
    mask = read_contours(saved(dataset, tmp_path), scan, LUNGS)["Lung-Left"].values
    assert not np.delete(mask, index, axis=0).any()
    return int(mask[index].sum())


def test_areas_of_circles_and_rings_are_those_of_geometry(tmp_path, fine):
    """Pixel centres inside a circle of radius r are pi r^2, give or take about r^(2/3) (Gauss's problem)."""
    for radius in (30.0, 77.7, 120.0):
        assert abs(area([circle(radius)], fine, tmp_path) - np.pi * radius**2) < 3 * radius ** (2 / 3)
    inner = circle(60.0, (20, -10))
    ring = np.pi * (100**2 - 60**2)
    for hole in (inner, inner[::-1]):  # drawn either way round
        assert abs(area([circle(100.0), hole], fine, tmp_path) - ring) < 100
    outer = circle(100.0)
    keyhole = np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])
    assert abs(area([keyhole], fine, tmp_path) - ring) < 100
    apart = [circle(30.0, (-70, 0)), circle(30.0, (70, 0))]
    assert abs(area(apart, fine, tmp_path) - 2 * np.pi * 30**2) < 60
    assert area([*apart, apart[0]], fine, tmp_path) == area(apart, fine, tmp_path)  # there twice


def test_squares_by_hand(tmp_path, fine):
    """The middle of 300 pixels lies between two: corners at +-10 mm hold 20 x 20 centres, at +-9.5 mm as many
    as half-open intervals have, 19 x 19."""
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    assert area([square * 10.0], fine, tmp_path) == 400
    assert area([square * 9.5], fine, tmp_path) == 361
    assert area([square * 10.0, square * 4.0], fine, tmp_path) == 400 - 64
    assert area([square * 1000.0], fine, tmp_path) == 300 * 300  # reaches out of the picture
    assert area([square * 10.0 + [155, 0]], fine, tmp_path) == 5 * 20


def test_an_outline_is_filled_as_another_library_fills_it(tmp_path, fine):
    """PIL paints polygons with their outline: at 8 times the size it may differ within 1/4 pixel of it."""
    from PIL import Image, ImageDraw

    like, scan = fine
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    star = circle(1.0, points=200) * (80 + 30 * np.sin(5 * angle) + 12 * np.cos(3 * angle))[:, None]
    dataset = structures({"Lung-Left": [on_slice(star, 2, scan)]}, like)
    mask = read_contours(saved(dataset, tmp_path), scan, LUNGS)["Lung-Left"].values[2].astype(bool)
    picture = Image.new("1", (2400, 2400))
    ImageDraw.Draw(picture).polygon([tuple(point) for point in ((star + 150) * 8 - 0.5).tolist()], fill=1)
    painted = np.array(picture)[4::8, 4::8]
    length = np.linalg.norm(star - np.roll(star, 1, axis=0), axis=1).sum()
    assert painted.sum() > 10_000
    assert (painted != mask).sum() < length / 4


def test_outlines_of_a_mask_give_it_back(tmp_path):
    """Contours half way between pixels, with islands, holes, and pixels that touch at corners."""
    rng = np.random.default_rng(3)
    mask = rng.random(PLANTED.hu.shape) < 0.5
    mask[[0, 4]] = False
    slices, scan = stored(tmp_path)
    same(read_contours(saved(structure_set({"Lung-Left": mask}, slices), tmp_path), scan, LUNGS), truth=mask)


def test_structures_that_are_refused_or_hold_nothing(tmp_path):
    slices, scan = stored(tmp_path)
    lines = outlines(PLANTED.left, PLANTED.place)

    def drawn(contours, **kwargs):
        return structures({"Lung-Left": contours}, slices[0], **kwargs)

    between = [line + np.array([0, 0, 2.5]) for line in lines]
    refused(read_contours, drawn(between), tmp_path, scan, "between two, or tilted", VolumeError)
    tilted = [line + np.outer(line[:, 1], [0, 0, 0.05]) for line in lines]
    refused(read_contours, drawn(tilted), tmp_path, scan, "between two, or tilted", VolumeError)
    above = [line + np.array([0, 0, 30]) for line in lines]
    refused(read_contours, drawn(above), tmp_path, scan, "reach out of the scan", VolumeError)
    other = drawn(lines)
    other.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = generate_uid(prefix=None)
    refused(read_contours, other, tmp_path, scan, "another frame of reference")
    broken = drawn(lines)
    broken.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2", "3", "4"]
    refused(read_contours, broken, tmp_path, scan, "damaged or lacks")
    del broken.StructureSetROISequence
    refused(read_contours, broken, tmp_path, scan, "damaged or lacks")
    refused(read_segments, drawn(lines), tmp_path, scan, "another kind of DICOM object")
    for nothing in (drawn(lines, kind="OPEN_PLANAR"), drawn([]), structures({"Heart": lines}, slices[0])):
        assert read_contours(saved(nothing, tmp_path), scan, LUNGS) == {}


def shoelace(points):
    x, y = points.T
    return abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2


def test_a_tilted_gantry_fits_contours_but_no_frames(tmp_path):
    """Slices slid by its shear: contours are in mm and keep their place; pixels no longer lie on voxels."""
    case = PLANTED._replace(place=PLANTED.place.copy())
    case.place[1, 0] = 2.0  # mm to the back from slice to slice
    slices, scan = stored(tmp_path, case)
    assert any(each.code == "gantry-tilt" for each in scan.findings)
    found = read_contours(saved(structure_set(masks_of(case), slices), tmp_path), scan, LUNGS)
    left = found["Lung-Left"]
    assert np.median(scan.volume.hu[left.values == 1]) < -780
    drawn = sum(shoelace(line[:, :2]) for line in outlines(case.left, case.place))
    assert int(left.values.sum()) * 64 == pytest.approx(drawn, rel=0.03)  # pixels of 8 x 8 mm
    refused(
        read_segments, segmentation(masks_of(case), slices), tmp_path, scan, "does not lie on", VolumeError
    )
