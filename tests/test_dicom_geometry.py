"""Mask and map land on the pixels they were made from, however the series was acquired.

Everything is read back with pydicom and NumPy, and with dcmqi, through which 3D Slicer reads both. The
expected values come from the source files alone: mask and map are made from the HU of the scan (or from
places in the patient), so each pixel of an object can be told from the same pixel of the slice it refers to.
"""

from itertools import permutations, product

import numpy as np
import pytest
import SimpleITK

from covid19net.io import choose, read_ct
from tests.dicom_cases import HEAT, SEG, case_of, dcmqi, geometry, heat_frames, maps, mask_frames
from tests.dicom_files import ct_slices, with_preamble, write
from tests.dicom_turned import HU, OFF_CENTRE, heat_of, mask_of, turned, written


def same_voxels(found, sources) -> None:
    segments = mask_frames(found[SEG])
    assert len(segments) == 2 * len(sources)  # empty frames too
    assert {(n, uid) for n, uid, _, _ in segments} == {(n, uid) for n in (1, 2) for uid in sources}
    for number, uid, position, frame in segments:
        hu, source = sources[uid]
        assert position == pytest.approx(tuple(map(float, source.ImagePositionPatient)), abs=1e-6)
        assert (frame == (mask_of(hu) == number)).all()
    maps = heat_frames(found[HEAT])
    assert {uid for uid, _, _ in maps} == set(sources)
    for uid, position, frame in maps:
        hu, source = sources[uid]
        assert position == pytest.approx(tuple(map(float, source.ImagePositionPatient)), abs=1e-6)
        assert (frame == heat_of(hu)).all()
    for name in (SEG, HEAT):
        orientation, spacing = geometry(found[name])
        for _, source in sources.values():
            assert orientation == pytest.approx(list(map(float, source.ImageOrientationPatient)), abs=1e-9)
            assert spacing == pytest.approx(list(map(float, source.PixelSpacing)), abs=1e-9)
            assert found[name].FrameOfReferenceUID == source.FrameOfReferenceUID


def read_by_dcmqi(folder, source):
    """What its images of right lung, left lung and map have at the pixels of a slice, by place in space."""
    row, column = np.array(source.ImageOrientationPatient, float).reshape(2, 3)
    down, right = source.PixelSpacing
    rows, columns = np.indices((source.Rows, source.Columns))
    places = np.array(source.ImagePositionPatient, float)
    places = places + rows[..., None] * down * column + columns[..., None] * right * row
    for name in ("1.nrrd", "2.nrrd", "map-pmap.nrrd"):
        image = SimpleITK.ReadImage(str(folder / name))
        turn = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
        index = (places - image.GetOrigin()) @ np.linalg.inv(turn).T
        whole = np.rint(index).astype(int)
        assert np.abs(index - whole).max() < 1e-3
        yield SimpleITK.GetArrayFromImage(image)[tuple(np.moveaxis(whole, -1, 0)[::-1])]


def same_voxels_by_dcmqi(folder, sources) -> None:
    out = folder / "read"
    out.mkdir()
    dcmqi("segimage2itkimage", "--inputDICOM", folder / SEG, "--outputDirectory", out, "-t", "nrrd")
    dcmqi(
        "paramap2itkimage", "--inputDICOM", folder / HEAT, "--outputDirectory", out, "-t", "nrrd", "-n", "map"
    )
    for hu, source in sources.values():
        right, left, share = read_by_dcmqi(out, source)
        assert ((right > 0) == (mask_of(hu) == 1)).all()
        assert ((left > 0) == (mask_of(hu) == 2)).all()
        assert (np.rint(100 * share) == heat_of(hu)).all()


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("flips", list(product([False, True], repeat=3)), ids=str)
def test_all_48_axis_orders_and_signs(tmp_path, monkeypatch, order, flips):
    """Row 7 of the issues of other tools: a negated column cosine mirrored the mask front to back."""
    monkeypatch.setattr(choose, "AXIAL", 0.0)  # else sagittal and coronal series are refused
    found, sources = written(tmp_path, *turned(order, flips))
    same_voxels(found, sources)
    same_voxels_by_dcmqi(tmp_path, sources)


@pytest.mark.parametrize("degrees", [(8, 0, 0), (0, -12, 0), (5, 7, 25), (-20, 15, 170)], ids=str)
def test_oblique_slices(tmp_path, degrees):
    """A head-first patient lying askew: slices perpendicular to their normal, no axis along the body's."""
    x, y, z = np.radians(degrees)
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    place = OFF_CENTRE.copy()
    place[:3, :3] = np.array(about_z) @ about_y @ about_x @ place[:3, :3]
    found, sources = written(tmp_path, HU, place)
    same_voxels(found, sources)
    same_voxels_by_dcmqi(tmp_path, sources)


@pytest.mark.parametrize("per_slice", [(2, 0), (0, -1), (-1, 3)], ids=str)
def test_a_tilted_gantry_by_whole_pixels(tmp_path, per_slice):
    """The reader slides slices by whole pixels: the way back is exact."""
    place = OFF_CENTRE.copy()
    place[:3, 0] += per_slice[0] * place[:3, 1] + per_slice[1] * place[:3, 2]
    same_voxels(*written(tmp_path, HU, place))


def ramp(points: np.ndarray) -> np.ndarray:
    """Percent that rises by 1 for each mm of x, y and z."""
    return np.clip(points @ [1.0, 1.0, 1.0] - ramp.origin, 0, 100)


def centres(shape, place) -> np.ndarray:
    return np.moveaxis(np.indices(shape), 0, -1) @ place[:3, :3].T + place[:3, 3]


@pytest.mark.parametrize("case", ["tilt", "gap"])
def test_where_the_reader_interpolated_each_pixel_has_the_nearest_voxel(tmp_path, case):
    """A map that says where it is: no pixel may be further off than half a voxel along each axis."""
    place, hu = OFF_CENTRE.copy(), HU
    slices = [with_preamble(d) for d in ct_slices(hu, place=place)]
    if case == "tilt":
        place[1, 0] = 0.31 * 0.7  # of a pixel, each slice
        slices = [with_preamble(d) for d in ct_slices(hu, place=place)]
    else:
        del slices[4]
    scan = read_ct(write(slices, tmp_path / "ct"), allow_irregular=True)
    assert {f.code for f in scan.findings} & {"gantry-tilt", "missing-slices"}
    points = centres(scan.volume.shape, scan.volume.affine)
    ramp.origin = float(points.sum(-1).mean()) - 50
    heat = np.rint(ramp(points)).astype(np.uint8)
    found = heat_frames(maps(case_of(scan, mask_of(scan.volume.hu), heat), tmp_path)[HEAT])
    assert len(found) == len(slices)
    voxel = np.abs(scan.volume.affine[:3, :3]).sum()
    for _, position, frame in found:
        corner = place.copy()
        corner[:3, 3] = position
        expected = ramp(centres((1, *frame.shape), corner)[0])
        assert np.abs(frame - expected).max() <= voxel / 2 + 0.5  # 0.5: whole percent
        assert np.ptp(frame) > 20  # a flat map would prove nothing


def test_another_reader_sees_the_map_on_the_ct(tmp_path):
    """highdicom assembles the map into a volume, SimpleITK reads the CT: the map is that of the same HU."""
    import highdicom

    hu, place = turned((0, 1, 2), (False, True, False))
    written(tmp_path, hu, place)
    volume = highdicom.imread(tmp_path / HEAT).get_volume(apply_real_world_transform=True)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "ct")))
    image = reader.Execute()
    array = SimpleITK.GetArrayFromImage(image)
    for at in ((0, 0, 0), (3, 10, 20), (8, 43, 35), (5, 1, 30)):
        world = image.TransformIndexToPhysicalPoint(tuple(int(i) for i in at[::-1]))
        index = np.rint(volume.map_reference_to_indices(np.array([world]))[0]).astype(int)
        assert round(100 * volume.array[tuple(index)]) == heat_of(array[at])
