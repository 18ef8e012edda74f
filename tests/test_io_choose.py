"""Which slices make the scan: nothing dropped, mixed or taken for something else without a word."""

from dataclasses import replace
import struct
import zipfile

import numpy as np
import pytest

from covid19net.errors import InputError, NotChestCTError, ResourceError
from covid19net.io import header as header_module
from covid19net.io import read_ct, write_volume
from covid19net.volume import CTVolume
from tests import dicom_files as make

HU = make.chest()


def shifted(distance: float) -> np.ndarray:
    """The place of a series whose slices lie higher by so many mm."""
    place = make.affine()
    place[2, 3] += distance
    return place


def same_series(slices, like):
    """Give slices the study and series of others."""
    for each in slices:
        each.StudyInstanceUID, each.SeriesInstanceUID = like[0].StudyInstanceUID, like[0].SeriesInstanceUID
    return slices


@pytest.mark.parametrize("keyword", ["ConvolutionKernel", "AcquisitionNumber"])
def test_a_second_reconstruction_between_the_slices_of_the_first(tmp_path, keyword):
    """Row 32: interleaved, the two would pass for one series of half the slice distance."""
    first = make.ct_slices(HU)
    value = 2 if keyword == "AcquisitionNumber" else "B80f"
    second = same_series(make.ct_slices(HU, place=shifted(1.25), **{keyword: value}), first)
    scan = read_ct(make.write(first + second, tmp_path))
    assert np.array_equal(scan.volume.hu, HU)
    assert scan.volume.spacing[0] == pytest.approx(2.5)
    assert [f.code for f in scan.findings] == ["reconstruction-chosen"]


def test_a_chest_in_two_acquisitions_that_overlap_is_whole(tmp_path):
    """Row 32: the two halves are no two reconstructions."""
    slices = make.ct_slices(HU)
    for each in slices[7:]:
        each.AcquisitionNumber = 2
    again = same_series(make.ct_slices(HU), slices)[7]
    again.AcquisitionNumber = 1
    scan = read_ct(make.write([*slices, again], tmp_path))
    assert np.array_equal(scan.volume.hu, HU)
    assert [f.code for f in scan.findings] == ["duplicates-dropped"]


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope"])
def test_one_slice_without_rescale_values(tmp_path, keyword):
    """Row 36: 1024 HU too high, unseen among the others."""
    slices = make.ct_slices(HU)
    delattr(slices[4], keyword)
    with pytest.raises(InputError, match="0004: RescaleSlope or RescaleIntercept is absent"):
        read_ct(make.write(slices, tmp_path))


@pytest.mark.parametrize("value", ["NaN", "-1024,0", "-1024HU", "1\\1"])
def test_a_rescale_value_that_is_there_but_no_number(tmp_path, value):
    """Row 36: unreadable is not absent."""
    make.series(HU, tmp_path)
    for path in tmp_path.iterdir():
        old = b"\x28\x00\x52\x10DS\x06\x00-1024 "
        assert old in path.read_bytes()
        text = value.encode() + b" " * (len(value) % 2)
        new = b"\x28\x00\x52\x10DS" + struct.pack("<H", len(text)) + text
        path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(InputError, match="RescaleIntercept does not hold"):
        read_ct(tmp_path)


@pytest.mark.parametrize("value", [0.0025, 0.0075, 0.0125])
def test_direction_cosines_rounded_up_and_down(tmp_path, value):
    """Row 6: no limit between two bins may split a series."""
    slices = make.ct_slices(HU)
    for index, each in enumerate(slices):
        tilt = value + (1e-6 if index % 2 else -1e-6)
        each.ImageOrientationPatient = ["1", f"{tilt:.7f}", "0", f"{-tilt:.7f}", "1", "0"]
    scan = read_ct(make.write(slices, tmp_path))
    assert np.array_equal(scan.volume.hu, HU)
    assert scan.findings == ()


def test_pixel_spacing_rounded_differently(tmp_path):
    """Row 6."""
    slices = make.ct_slices(HU)
    for each in slices[::2]:
        each.PixelSpacing = ["0.70006", "0.80003"]
    scan = read_ct(make.write(slices, tmp_path))
    assert np.array_equal(scan.volume.hu, HU)
    assert scan.findings == ()


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient"])
@pytest.mark.parametrize("where", [slice(11, 12), slice(7, 12), slice(5, 6)])
def test_slices_without_geometry_are_not_left_out(tmp_path, keyword, where):
    """Row 37: the end slice, the upper part, one in the middle."""
    slices = make.ct_slices(HU)
    for each in slices[where]:
        delattr(each, keyword)
    with pytest.raises(InputError, match=f"{where.start:04d}: {keyword} is absent"):
        read_ct(make.write(slices, tmp_path))


@pytest.mark.parametrize("keep", [0.5, 0.9])
def test_an_end_slice_cut_short_is_not_left_out(tmp_path, keep):
    """Rows 5 and 26: from the folder, and from another file of it."""
    make.write([make.with_preamble(d) for d in make.ct_slices(HU)], tmp_path, enforce_file_format=True)
    last = tmp_path / "0011"
    last.write_bytes(last.read_bytes()[: int(700 * keep)])
    for path in (tmp_path, tmp_path / "0003"):
        with pytest.raises(InputError, match="0011"):
            read_ct(path)


def test_a_file_named_like_dicom_that_is_none(tmp_path):
    """Row 26; but what macOS puts beside files is no slice (row 4)."""
    make.write(make.ct_slices(HU), tmp_path, names=[f"{i}.dcm" for i in range(12)])
    (tmp_path / "._0.dcm").write_bytes(b"\x00\x05\x16\x07" + b"\0" * 100)
    assert np.array_equal(read_ct(tmp_path).volume.hu, HU)
    (tmp_path / "11.dcm").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match=r"11\.dcm: named like a DICOM file"):
        read_ct(tmp_path)


@pytest.mark.parametrize(
    "start", [b"\x08\x00" + b"\0" * 500, b"\x02\x00rubbish" * 40, b"\x00\x08" + b"\1" * 300]
)
def test_other_files_that_begin_like_a_data_set(tmp_path, start):
    """Row 4: an index or thumbnail cache of a viewer."""
    make.series(HU, tmp_path)
    (tmp_path / "index.dat").write_bytes(start)
    scan = read_ct(tmp_path)
    assert np.array_equal(scan.volume.hu, HU)
    assert [f.code for f in scan.findings] == ["files-skipped"]


@pytest.mark.parametrize("kind", ["MIP", "MINIP", "AVERAGE"])
def test_projections_are_no_slices(tmp_path, kind):
    """Row 3: thick projections at small distances look like the finest series."""
    real = make.ct_slices(HU)
    image_type = ["DERIVED", "SECONDARY", "AXIAL", kind]
    flat = make.ct_slices(make.chest((24, 48, 40)), place=make.affine((1.25, 0.7, 0.8)), ImageType=image_type)
    for each in flat:
        each.StudyInstanceUID = real[0].StudyInstanceUID
    scan = read_ct(make.write(real + flat, tmp_path))
    assert np.array_equal(scan.volume.hu, HU)
    assert [f.code for f in scan.findings] == ["images-skipped"]


@pytest.mark.parametrize("unit", ["Z_EFF", "MGML", "ED"])
def test_other_quantities_than_hounsfield_units(tmp_path, unit):
    """Row 36: maps of iodine or effective atomic number are CT images too."""
    with pytest.raises(NotChestCTError, match="another quantity"):
        read_ct(make.series(HU, tmp_path, RescaleType=unit))


def test_two_persons_without_any_identifier(tmp_path):
    """Row 33: the names are compared, and not shown."""
    tags = {"PatientID": None, "StudyInstanceUID": None}
    one = make.ct_slices(HU, **tags)
    two = make.ct_slices(make.chest(seed=3), place=shifted(100), PatientName="Roe^Richard", **tags)
    with pytest.raises(InputError, match="more than one patient") as caught:
        read_ct(make.write(one + two, tmp_path))
    assert "Roe" not in str(caught.value)


def test_slices_each_in_a_series_of_its_own(tmp_path):
    """Row 44."""
    slices = make.ct_slices(HU)
    for index, each in enumerate(slices):
        each.SeriesInstanceUID = f"1.2.{index}"
    with pytest.raises(NotChestCTError, match="12 CT series of one slice each"):
        read_ct(make.write(slices, tmp_path))


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 0), ("Columns", 0)])
def test_an_image_without_pixels(tmp_path, keyword, value):
    """Row 46."""
    with pytest.raises(InputError, match="is 0"):
        read_ct(make.series(HU, tmp_path, **{keyword: value}))


def test_more_frames_than_any_scan_has(tmp_path, monkeypatch):
    """Row 49: refused before a list of them is made."""
    made = []
    monkeypatch.setattr(header_module, "replace", lambda plane, **k: made.append(1) or replace(plane, **k))
    with pytest.raises(ResourceError, match="1000000000 x 1 x 1 pixels; refused"):
        read_ct(make.series(HU[:1, :1, :1], tmp_path, NumberOfFrames="1000000000"))
    assert len(made) < 10


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path):
    """Row 52."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x\nerror: forged\x1b[2J.dcm", b"\0" * 40)
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path / "a.zip")
    assert str(caught.value).isprintable()


def test_what_macos_adds_to_an_archive_is_no_second_image(tmp_path):
    """Row 4."""
    write_volume(CTVolume(HU, make.affine()), tmp_path / "ct.nii.gz")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "ct.nii.gz", "ct.nii.gz")
        archive.writestr("__MACOSX/._ct.nii.gz", b"\x00\x05\x16\x07" + b"\0" * 100)
    assert np.array_equal(read_ct(tmp_path / "a.zip").volume.hu, HU)


def test_thin_slices_with_positions_rounded_to_a_tenth(tmp_path):
    """Row 6: 0.625 mm apart, written with one decimal."""
    hu = make.chest((40, 48, 40))
    slices = make.ct_slices(hu, place=make.affine((0.625, 0.7, 0.8)))
    for each in slices:
        x, y, z = each.ImagePositionPatient
        each.ImagePositionPatient = [str(x), str(y), f"{float(z):.1f}"]
    scan = read_ct(make.write(slices, tmp_path))
    assert np.array_equal(scan.volume.hu, hu)
    assert scan.volume.spacing[0] == pytest.approx(0.625, abs=0.003)
