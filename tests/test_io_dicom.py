"""Rows of the list of failure cases that DICOM folders can show; each test names its row."""

from itertools import pairwise
import os
from pathlib import Path
import zipfile

import numpy as np
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)
import pytest

from covid19net.errors import InputError, NotChestCTError, VolumeError
from covid19net.io import read_ct
from covid19net.io.files import Source
from tests import dicom_files as make

HU = make.chest()


def codes(scan):
    return {finding.code for finding in scan.findings}


def assert_base(scan, hu=HU, place=None):
    """The scan equals the synthetic one bit by bit, its place within 1e-4 mm."""
    assert scan.volume.hu.dtype == np.int16
    assert np.array_equal(scan.volume.hu, hu)
    assert np.allclose(scan.volume.affine, make.affine() if place is None else place, atol=1e-4, rtol=0)


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path):
    """Row 1: shuffled names without extension, head first instance numbers."""
    order = np.random.default_rng(1).permutation(len(HU))
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write([slices[i] for i in order], tmp_path)
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert scan.findings == ()
    assert scan.headers["sop_instance_uids"] == [d.SOPInstanceUID for d in slices]


def test_headers_are_plain_values_without_names(tmp_path):
    """Row 13: nothing that names the patient leaves the reader."""
    scan = read_ct(make.series(HU, tmp_path, PatientName="Roe^Richard", PatientID="SECRET-77"))
    assert scan.headers["patient_sex"] == "F"
    assert scan.headers["patient_age_years"] == 61.0
    assert scan.headers["kvp"] == 120.0
    assert scan.headers["kernel"] == "B30f"
    assert scan.headers["format"] == "DICOM"
    assert "Roe" not in repr((scan.headers, scan.findings))
    assert "SECRET" not in repr((scan.headers, scan.findings))


def test_what_is_no_technical_name_or_uid_is_not_repeated(tmp_path):
    """Row 13: anonymisers and technicians put names and dates into elements of equipment too."""
    series = make.series(HU, tmp_path, Manufacturer="MUELLER^HANS", ManufacturerModelName="born 01.02.1950")
    for path in series.iterdir():
        path.write_bytes(path.read_bytes().replace(b"B30f", b"B3^f"))
    headers = read_ct(series).headers
    assert not {"manufacturer", "model", "kernel"} & headers.keys()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", "nan\\0\\0"),
        ("ImageOrientationPatient", "nan\\0\\0\\0\\1\\0"),
        ("ImageOrientationPatient", "1e308\\0\\0\\0\\1e308\\0"),
        ("PixelSpacing", "inf\\1"),
        ("RescaleSlope", "1e30"),
        ("RescaleIntercept", "-1e30"),
    ],
)
def test_numbers_that_are_none_or_senseless(tmp_path, keyword, value):
    """Rows 37 and 46: one line, not a traceback."""
    slices = make.ct_slices(HU)
    for each in slices:
        each.add(RawDataElement(Tag(keyword), "DS", len(value), value.encode(), 0, False, True))
    with pytest.raises(InputError, match=keyword.removeprefix("Image")):
        read_ct(make.write(slices, tmp_path))


def test_one_file_does_not_walk_through_folders_beside_it(tmp_path):
    """Row 10: a file in a home folder is no reason to list everything below that."""
    make.series(HU, tmp_path)
    here = tmp_path
    for _ in range(70):  # deeper than a folder of slices may be nested
        here = here / "d"
        here.mkdir()
    assert_base(read_ct(tmp_path / "0003"))


def test_a_localizer_is_left_out(tmp_path):
    """Row 2."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write([make.localizer(slices[0]), *slices], tmp_path)
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert "images-skipped" in codes(scan)


def test_the_finest_of_several_series_is_read_and_named(tmp_path):
    """Row 3: the thick series of the same study is never stacked with the thin one."""
    thin = [make.with_preamble(d) for d in make.ct_slices(HU)]
    thick = [make.with_preamble(d) for d in make.ct_slices(HU[::2], place=make.affine((5.0, 0.7, 0.8)))]
    for dataset in thick:
        dataset.StudyInstanceUID = thin[0].StudyInstanceUID
    make.write(thick + thin, tmp_path)
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert "series-chosen" in codes(scan)
    wanted = read_ct(tmp_path, series=thick[0].SeriesInstanceUID)
    assert np.array_equal(wanted.volume.hu, HU[::2])
    with pytest.raises(InputError, match=r"no CT series 1\.2\.3"):
        read_ct(tmp_path, series="1.2.3")


def test_a_fine_but_short_series_does_not_stand_for_the_chest(tmp_path):
    """Row 3: 5 thin slices beside a whole chest are a detail."""
    whole = [make.with_preamble(d) for d in make.ct_slices(HU)]
    detail = [make.with_preamble(d) for d in make.ct_slices(HU[:5], place=make.affine((1.0, 0.7, 0.8)))]
    for dataset in detail:
        dataset.StudyInstanceUID = whole[0].StudyInstanceUID
    assert_base(read_ct(make.write(detail + whole, tmp_path)))


def test_other_files_of_a_cd_are_skipped_and_counted(tmp_path):
    """Row 4: directory, report, screen capture, AppleDouble, viewer programs, text."""
    make.series(HU, tmp_path / "DICOM")
    capture = make.with_preamble(make.ct_slices(HU[:1])[0])
    capture.SOPClassUID, capture.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    report = make.with_preamble(make.ct_slices(HU[:1])[0])
    report.SOPClassUID, report.Modality = "1.2.840.10008.5.1.4.1.1.88.11", "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    make.write([capture, report], tmp_path / "OTHER")
    (tmp_path / "AUTORUN.INF").write_text("[autorun]")
    (tmp_path / "._0001").write_bytes(b"\x00\x05\x16\x07" + bytes(100))
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert {"files-skipped", "images-skipped"} <= codes(scan)
    skipped = next(f.message for f in scan.findings if f.code == "files-skipped")
    assert skipped.startswith("3 files")


def test_missing_slices_are_refused_with_number_and_place(tmp_path):
    """Row 5: two of twelve slices left out; z counted by hand from -130.5 in steps of 2.5."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write([d for i, d in enumerate(slices) if i not in (4, 9)], tmp_path)
    with pytest.raises(
        VolumeError, match=r"2 slices are missing at z -123\.0 to -118\.0 mm, -110\.5 to -105\.5 mm"
    ):
        read_ct(tmp_path)
    scan = read_ct(tmp_path, allow_irregular=True)
    assert "missing-slices" in codes(scan)
    assert scan.volume.shape == HU.shape
    kept = [i for i in range(12) if i not in (4, 9)]
    assert np.array_equal(scan.volume.hu[kept], HU[kept])
    middle = (HU[3].astype(int) + HU[5]) / 2
    assert np.abs(scan.volume.hu[4] - middle).max() <= 0.5


@pytest.mark.parametrize("jitter", [0.004, 0.05])
def test_rounded_positions_give_no_warning(tmp_path, jitter):
    """Row 6: positions off by rounding."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    for index, dataset in enumerate(slices):
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, z + jitter * (-1) ** index]
    scan = read_ct(make.write(slices, tmp_path))
    assert scan.findings == ()
    assert abs(scan.volume.spacing[0] - 2.5) < 0.01
    assert np.array_equal(scan.volume.hu, HU)


@pytest.mark.parametrize("padding", [-2000, -3024])
def test_padding_becomes_air(tmp_path, padding):
    """Row 7: a circle outside the field of view at -2000 or -3024 HU."""
    hu = HU.copy()
    corner = np.hypot(*np.ogrid[-1:1:48j, -1:1:40j]) > 1
    hu[:, corner] = padding
    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, hu, strict=True):
        make.set_pixels(dataset, image, signed=True)
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert (scan.volume.hu[:, corner] == -1024).all()
    assert np.array_equal(scan.volume.hu[:, ~corner], HU[:, ~corner])
    assert "padding" in codes(scan)


def test_pixel_padding_value_inside_the_range_of_tissue(tmp_path):
    """Row 7: padding stored as 0 with intercept 0 would look like water."""
    hu = HU.copy()
    corner = np.hypot(*np.ogrid[-1:1:48j, -1:1:40j]) > 1
    hu[:, ~corner][hu[:, ~corner] == 0] = 1
    hu[:, corner] = 0
    slices = make.ct_slices(HU, PixelPaddingValue=0)
    for dataset, image in zip(slices, hu, strict=True):
        make.set_pixels(dataset, image, signed=True, intercept=0)
        dataset["PixelPaddingValue"].VR = "SS"
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert (scan.volume.hu[:, corner] == -1024).all()


def test_a_padding_value_that_marks_no_surroundings_is_tissue(tmp_path):
    """Row 7: some anonymisers leave a padding value that the image uses for tissue."""
    scan = read_ct(make.series(HU, tmp_path, PixelPaddingValue=1024 + 40))
    assert (HU == 40).any()
    assert_base(scan)


SYNTAXES = ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEG2000Lossless", "JPEGLSLossless"]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_compression_of_another_library_gives_the_same_values(tmp_path, syntax, signed):
    """Row 8: encoded by GDCM, decoded by libjpeg-turbo, OpenJPEG and CharLS."""
    import gdcm

    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, HU, strict=True):
        make.set_pixels(
            dataset, image, signed=signed, bits=16 if signed else 12, intercept=0 if signed else -1024
        )
    make.write([make.with_preamble(d) for d in slices], tmp_path)
    for path in tmp_path.iterdir():
        make.compressed(path, getattr(gdcm.TransferSyntax, syntax))
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert scan.headers["transfer_syntax"].startswith("1.2.840.10008.1.2.4.")


def test_run_length_encoding(tmp_path):
    """Row 8: encoded by pydicom."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    for dataset in slices:
        dataset.compress(RLELossless)
    assert_base(read_ct(make.write(slices, tmp_path)))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_uncompressed_encodings(tmp_path, syntax):
    """Row 8: implicit VR, big endian, deflated; written by pydicom."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
    make.write(slices, tmp_path, enforce_file_format=True)
    scan = read_ct(tmp_path)
    assert_base(scan)
    assert scan.headers["transfer_syntax"] == syntax


@pytest.mark.parametrize("intercept", [-1024, -1000, -8192])
def test_unsigned_pixels_with_an_intercept(tmp_path, intercept):
    """Row 8."""
    hu = np.maximum(HU, intercept)
    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, hu, strict=True):
        make.set_pixels(dataset, image, intercept=intercept)
    assert_base(read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path)), hu)


def test_missing_paths_and_empty_folders_are_named(tmp_path):
    """Row 9."""
    with pytest.raises(InputError, match="no such file"):
        read_ct(tmp_path / "nothing-here")
    with pytest.raises(InputError, match=f"{tmp_path.name}: holds no files"):
        read_ct(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="none of its 1 files is a DICOM image"):
        read_ct(tmp_path)
    with pytest.raises(InputError, match=r"notes\.txt: not a file that can be read"):
        read_ct(tmp_path / "notes.txt")


def test_one_file_stands_for_its_series_and_says_so(tmp_path):
    """Row 10: two series of different patients in one folder; the file decides."""
    other = [make.with_preamble(d) for d in make.ct_slices(make.chest(seed=3), PatientID="P-2")]
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    names = [f"a{i}" for i in range(12)] + [f"b{i}" for i in range(12)]
    make.write(slices + other, tmp_path, names)
    scan = read_ct(tmp_path / "a7")
    assert_base(scan)
    assert "folder-read" in codes(scan)


def test_one_lonely_slice_is_refused(tmp_path):
    """Rows 10 and 28."""
    make.series(HU[:1], tmp_path)
    with pytest.raises(NotChestCTError, match="needs 3 slices or more: 1 slice") as caught:
        read_ct(tmp_path / "0000")
    assert caught.value.exit_code == 3


def test_two_slices_are_refused(tmp_path):
    """Row 28."""
    with pytest.raises(NotChestCTError, match="2 slices"):
        read_ct(make.series(HU[:2], tmp_path))


def test_a_wrong_body_part_is_read_with_a_note(tmp_path):
    """Row 18."""
    scan = read_ct(make.series(HU, tmp_path, BodyPartExamined="HEAD"))
    assert_base(scan)
    assert codes(scan) == {"body-part"}


@pytest.mark.parametrize(
    ("modality", "uid"), [("MR", "1.2.840.10008.5.1.4.1.1.4"), ("PT", "1.2.840.10008.5.1.4.1.1.128")]
)
def test_other_modalities_are_named(tmp_path, modality, uid):
    """Row 19."""
    with pytest.raises(NotChestCTError, match=f"12 of modality {modality}"):
        read_ct(make.series(HU, tmp_path, Modality=modality, SOPClassUID=uid))


def test_colour_screenshots_are_no_ct(tmp_path):
    """Row 19."""
    slices = make.ct_slices(HU, PhotometricInterpretation="RGB", SamplesPerPixel=3)
    with pytest.raises(NotChestCTError, match="no CT slices"):
        read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))


TURNS = {
    "feet first, on the back": np.diag([-1.0, 1.0, -1.0]),
    "head first, on the belly": np.diag([-1.0, -1.0, 1.0]),
    "feet first, on the belly": np.diag([1.0, -1.0, -1.0]),
    "rows to the back": np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    "on the left side": np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    "mirrored rows": np.diag([-1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("turn", TURNS)
def test_every_position_of_the_patient_gives_the_same_scan(tmp_path, turn):
    """Row 20: the same body, stored as other patient positions do; turned back without a change."""
    matrix = TURNS[turn]  # where the stored (x, y, z) axes point in the patient
    stored, place = HU, make.affine()
    order = [
        2 - int(np.argmax(np.abs(matrix[2 - axis]))) for axis in range(3)
    ]  # which patient axis each array axis is
    stored = stored.transpose(order)
    place = place[:, [*order, 3]].copy()
    for axis, patient in enumerate(order):
        if matrix[2 - axis][2 - patient] < 0:
            place[:3, 3] += place[:3, axis] * (stored.shape[axis] - 1)
            place[:3, axis] *= -1
            stored = np.flip(stored, axis)
    assert_base(read_ct(make.series(stored, tmp_path, place=place)))


def test_exact_copies_are_dropped(tmp_path):
    """Row 21: every third slice sent twice."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    scan = read_ct(make.write(slices + slices[::3], tmp_path))
    assert_base(scan)
    assert "duplicates-dropped" in codes(scan)
    assert "4 repeated" in next(f.message for f in scan.findings if f.code == "duplicates-dropped")


def test_equal_names_in_subfolders_are_all_kept(tmp_path):
    """Row 22."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    for folder in range(3):
        make.write(slices[folder::3], tmp_path / f"S{folder}")
    assert_base(read_ct(tmp_path))


@pytest.mark.parametrize(
    "tags", [{"SliceThickness": "99"}, {"SpacingBetweenSlices": "0.1"}, {"SliceThickness": None}]
)
def test_the_slice_distance_comes_from_positions(tmp_path, tags):
    """Row 23."""
    assert_base(read_ct(make.series(HU, tmp_path, **tags)))


def test_decimals_longer_than_the_standard_allows(tmp_path):
    """Row 24: 20 and more characters in ImagePositionPatient."""
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write(slices, tmp_path)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        at = data.index(b"\x20\x00\x32\x00DS")
        old = int.from_bytes(data[at + 6 : at + 8], "little")
        values = data[at + 8 : at + 8 + old].decode().strip().split("\\")
        text = "\\".join(f"{float(v):.18f}" for v in values).encode()
        text += b" " * (len(text) % 2)
        path.write_bytes(data[: at + 6] + len(text).to_bytes(2, "little") + text + data[at + 8 + old :])
    assert_base(read_ct(tmp_path))


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("syntax", [None, "JPEGLosslessProcess14_1", "JPEG2000Lossless"])
def test_a_file_cut_short_is_named(tmp_path, keep, syntax):
    """Row 26: never filled up with zeros."""
    import gdcm

    make.series(HU, tmp_path)
    if syntax:
        for path in tmp_path.iterdir():
            make.compressed(path, getattr(gdcm.TransferSyntax, syntax))
    broken = tmp_path / "0005"
    broken.write_bytes(broken.read_bytes()[: int(broken.stat().st_size * keep)])
    with pytest.raises(InputError, match="0005"):
        read_ct(tmp_path)


@pytest.mark.parametrize("order", [None, [3, 1, 2, 0, *range(4, 12)]])
def test_enhanced_multi_frame_objects(tmp_path, order):
    """Row 27: positions come from the functional groups, not from the order of frames."""
    scan = read_ct(make.write([make.enhanced(HU, order=order)], tmp_path))
    assert_base(scan)


def test_enhanced_objects_compressed(tmp_path):
    """Row 27: one code stream for each frame."""
    import gdcm

    make.write([make.enhanced(HU)], tmp_path)
    make.compressed(tmp_path / "0000", gdcm.TransferSyntax.JPEGLSLossless)
    assert_base(read_ct(tmp_path))


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, "JPEGLSLossless", None])
def test_enhanced_objects_in_an_archive_are_read_once(tmp_path, syntax, monkeypatch):
    """Row 27: neither inflated nor split anew for each of their frames."""
    import gdcm

    folder = tmp_path / "a"
    folder.mkdir()
    make.write([make.enhanced(HU)], folder)
    if syntax == "JPEGLSLossless":
        make.compressed(folder / "0000", gdcm.TransferSyntax.JPEGLSLossless)
    elif syntax:
        dataset = dcmread(folder / "0000")
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(folder / "0000", enforce_file_format=True)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "0000", "ct")
    reads = []
    read = Source.read

    def counted(self, start, length):
        reads.append(length)
        return read(self, start, length)

    monkeypatch.setattr(Source, "read", counted)
    assert_base(read_ct(tmp_path / "a.zip"))
    size = (folder / "0000").stat().st_size
    large = sum(min(length, size) >= size // 2 for length in reads)
    assert large <= 4  # header and pixels, not each of 12 frames


def test_two_reconstructions_in_one_series_are_told_apart_by_kernel(tmp_path):
    """Row 32: an element tells; one is read, and the reader is told."""
    soft, sharp = make.ct_slices(HU), make.ct_slices(make.chest(seed=5), ConvolutionKernel="B70f")
    for a, b in zip(soft, sharp, strict=True):
        b.SeriesInstanceUID, b.StudyInstanceUID = a.SeriesInstanceUID, a.StudyInstanceUID
    scan = read_ct(make.write([make.with_preamble(d) for d in soft + sharp], tmp_path))
    assert_base(scan)
    assert "reconstruction-chosen" in codes(scan)


def test_two_images_at_every_position_that_nothing_tells_apart(tmp_path):
    """Row 32: refused with the number of positions."""
    one, two = make.ct_slices(HU), make.ct_slices(make.chest(seed=5))
    for a, b in zip(one, two, strict=True):
        b.SeriesInstanceUID, b.StudyInstanceUID = a.SeriesInstanceUID, a.StudyInstanceUID
    make.write([make.with_preamble(d) for d in one + two], tmp_path)
    with pytest.raises(VolumeError, match="12 positions have 2 different images"):
        read_ct(tmp_path)


def test_two_patients_are_refused_by_study_not_by_name(tmp_path):
    """Row 33."""
    one, two = make.ct_slices(HU), make.ct_slices(HU, PatientID="P-2", PatientName="Roe^Rita")
    make.write([make.with_preamble(d) for d in one + two], tmp_path)
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path)
    assert one[0].StudyInstanceUID in str(caught.value)
    assert two[0].StudyInstanceUID in str(caught.value)
    assert "Roe" not in str(caught.value)


def test_two_patients_in_one_series_are_refused(tmp_path):
    """Row 33: the same UIDs, other patient ids."""
    slices = make.ct_slices(HU)
    slices[3].PatientID = "P-2"
    with pytest.raises(InputError, match="more than one patient"):
        read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))


def test_uneven_slices_are_refused_or_interpolated_by_true_position(tmp_path):
    """Row 34: lower half 2.5 mm apart, upper half 5 mm; a ramp in z stays a ramp."""
    heights = np.r_[np.arange(6) * 2.5, 12.5 + 5 * np.arange(1, 5)]
    ramp = np.broadcast_to((heights * 10)[:, None, None], (10, 48, 40)).astype(np.int16)
    slices = make.ct_slices(ramp)
    for dataset, height in zip(slices, heights, strict=True):
        dataset.ImagePositionPatient = [0, 0, height]
    make.write([make.with_preamble(d) for d in slices], tmp_path)
    with pytest.raises(VolumeError, match="4 slices are missing"):
        read_ct(tmp_path)
    volume = read_ct(tmp_path, allow_irregular=True).volume
    assert volume.spacing[0] == pytest.approx(2.5)
    z = volume.affine[2, 3] + np.arange(len(volume.hu)) * volume.spacing[0]
    assert np.abs(volume.hu[:, 20, 20] - 10 * z).max() <= 0.5


def test_unevenly_spaced_by_no_whole_number(tmp_path):
    """Row 34."""
    slices = make.ct_slices(HU)
    for index, dataset in enumerate(slices):
        dataset.ImagePositionPatient = [0, 0, 2 * index + 0.05 * index**2]
    make.write([make.with_preamble(d) for d in slices], tmp_path)
    with pytest.raises(VolumeError, match=r"not equally spaced \(2\.05 to 3\.05 mm apart\)"):
        read_ct(tmp_path)


def test_each_slice_has_its_own_rescale_values(tmp_path):
    """Row 35."""
    slices = make.ct_slices(HU)
    for index, (dataset, image) in enumerate(zip(slices, HU, strict=True)):
        make.set_pixels(dataset, image, intercept=-1024 - index)
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert_base(scan)
    assert "rescale-varies" in codes(scan)


def test_a_fractional_slope_gives_float(tmp_path):
    """Row 35: stored values 0 and 1000 at slope 0.5 + 0.001 i, worked out by hand."""
    slices = make.ct_slices(np.zeros((4, 48, 40), np.int16))
    for index, dataset in enumerate(slices):
        stored = np.zeros((48, 40), "<u2")
        stored[0, 0] = 1000
        dataset.PixelData = stored.tobytes()
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 + 0.001 * index), "-1000"
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert scan.volume.hu.dtype == np.float32
    assert scan.volume.hu[:, 0, 0] == pytest.approx([-500, -499, -498, -497])
    assert (scan.volume.hu[:, 1:] == -1000).all()


def test_absent_rescale_values_are_noted(tmp_path):
    """Row 36: signed values taken as Hounsfield units."""
    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, HU, strict=True):
        make.set_pixels(dataset, image, signed=True, intercept=0)
        del dataset.RescaleSlope, dataset.RescaleIntercept
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert_base(scan)
    assert codes(scan) == {"rescale-absent"}


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient"])
def test_absent_geometry_is_refused_by_name(tmp_path, keyword):
    """Row 37."""
    with pytest.raises(InputError, match=f"{keyword} is absent"):
        read_ct(make.series(HU, tmp_path, **{keyword: None}))


def test_metal_beyond_16_bits_is_clipped_and_noted(tmp_path):
    """Row 39."""
    slices = make.ct_slices(HU)
    stored = HU.astype(np.int32) + 1024
    stored[5, 20, 20] = 40000
    for dataset, image in zip(slices, stored, strict=True):
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = image.astype("<u2").tobytes()
    scan = read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path))
    assert scan.volume.hu[5, 20, 20] == 32767
    assert "values-clipped" in codes(scan)
    assert np.array_equal(np.delete(scan.volume.hu, 5, 0), np.delete(HU, 5, 0))


def test_a_data_set_without_preamble_and_with_a_bad_character_set(tmp_path):
    """Row 41."""
    slices = make.ct_slices(HU, SpecificCharacterSet="ISO_IR 100", Manufacturer="M\u00fcller")
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    make.write([make.with_preamble(d) for d in slices], tmp_path)
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        at = data.index(b"\x08\x00\x05\x00")
        path.write_bytes(data[at:].replace(b"ISO_IR 100", b"ISO_IR 999"))
    assert_base(read_ct(tmp_path))


def test_gantry_tilt_is_straightened(tmp_path):
    """Row 42: a pixel column that is vertical in the patient's tilted frame stays one line."""
    hu = np.full((16, 64, 40), -1024, np.int16)
    angle = np.deg2rad(20)
    lean = np.array([0, np.cos(angle), np.sin(angle)])  # direction of columns
    normal = np.array([0, -np.sin(angle), np.cos(angle)])
    place = np.eye(4)
    place[:3, 0], place[:3, 1], place[:3, 2] = [0, 0, 3.0], lean, [1, 0, 0]  # the table moves along z
    place[:3, 3] = [0, 0, -100]
    # A rod along the normal of the slices, through the middle of slice 8: its row in slice i from geometry.
    through = place @ [8, 32, 20, 1]
    for i in range(16):
        origin = (place @ [i, 0, 0, 1])[:3]
        height = (origin - through[:3]) @ normal
        row = (through[:3] + normal * height - origin) @ lean
        hu[i, int(np.floor(row)), 20] += round(1000 * (1 - row % 1))
        hu[i, int(np.floor(row)) + 1, 20] += round(1000 * (row % 1))
    scan = read_ct(make.series(hu, tmp_path, place=place))
    assert "gantry-tilt" in codes(scan)
    volume = scan.volume
    axes = volume.affine[:3, :3] / volume.spacing
    assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    assert volume.spacing[0] == pytest.approx(3 * np.cos(angle))
    rod = np.linalg.inv(volume.affine) @ through
    weights = volume.hu[:, :, round(rod[2])].astype(float) + 1024
    centre = (weights * np.arange(volume.shape[1])).sum(1) / weights.sum(1)
    assert np.abs(centre - rod[1]).max() < 0.02


@pytest.mark.parametrize("kind", ["overlay bits", "MONOCHROME1", "slope -1"])
def test_odd_but_lawful_pixel_codings(tmp_path, kind):
    """Row 43."""
    slices = make.ct_slices(HU)
    for dataset, image in zip(slices, HU, strict=True):
        stored = image.astype(np.int32) + 1024
        if kind == "overlay bits":
            stored = stored | (0xA << 12)
        elif kind == "slope -1":
            stored = 4000 - stored
            dataset.RescaleSlope, dataset.RescaleIntercept = "-1", "2976"  # 4000 - 1024
        else:
            dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.PixelData = stored.astype("<u2").tobytes()
    assert_base(read_ct(make.write([make.with_preamble(d) for d in slices], tmp_path)))


@pytest.mark.parametrize("uid", ["1.2.3", None])
def test_instance_uids_are_not_trusted(tmp_path, uid):
    """Row 44: one UID for all, or none."""
    scan = read_ct(make.series(HU, tmp_path, SOPInstanceUID=uid))
    assert_base(scan)
    assert scan.findings == ()


def test_no_series_or_study_uid(tmp_path):
    """Row 44."""
    assert_base(read_ct(make.series(HU, tmp_path, SeriesInstanceUID=None, StudyInstanceUID=None)))


@pytest.mark.parametrize("spacing", [["0", "0"], ["0.0007", "0.0008"], ["700", "700"]])
def test_impossible_pixel_sizes(tmp_path, spacing):
    """Row 46: zero, metres, micrometres."""
    with pytest.raises(VolumeError):
        read_ct(make.series(HU, tmp_path, PixelSpacing=spacing))


def test_a_singular_orientation(tmp_path):
    """Row 46: rows parallel to columns."""
    with pytest.raises(InputError, match="not hold two perpendicular unit vectors"):
        read_ct(make.series(HU, tmp_path, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))


def test_links_and_pipes_are_left_alone(tmp_path):
    """Row 47: no hang, nothing read from outside the folder; names of 238 characters are fine."""
    outside = make.series(make.chest(seed=9), tmp_path / "outside")
    inside = tmp_path / "inside"
    slices = [make.with_preamble(d) for d in make.ct_slices(HU)]
    make.write(slices, inside, [f"{i:03d}" + "n" * 235 for i in range(12)])
    os.mkfifo(inside / "pipe")
    (inside / "link").symlink_to(outside / "0000")
    (inside / "folder-link").symlink_to(outside)
    scan = read_ct(inside)
    assert_base(scan)
    assert next(f.message for f in scan.findings if f.code == "files-skipped").startswith("3 files")


def test_damaged_headers_are_named(tmp_path):
    """Row 40: header noise."""
    make.series(HU, tmp_path)
    broken = tmp_path / "0004"
    data = bytearray(broken.read_bytes())
    data[200:600] = np.random.default_rng(2).bytes(400)
    broken.write_bytes(data)
    with pytest.raises(InputError, match=r"0004|missing"):
        read_ct(tmp_path)


@pytest.mark.parametrize("index", [1, 5, 10])
def test_compressed_pixels_with_damaged_bytes(tmp_path, index):
    """Row 40: JPEG lossless decoders fill up what they cannot read and report nothing."""
    import gdcm

    hu = make.chest((12, 128, 96))
    make.series(hu, tmp_path)
    for path in tmp_path.iterdir():
        make.compressed(path, gdcm.TransferSyntax.JPEGLosslessProcess14_1)
    assert np.array_equal(read_ct(tmp_path).volume.hu, hu)
    path = tmp_path / f"{index:04d}"
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xda") + 2000
    data[at : at + 8] = bytes.fromhex("5a") * 8
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{path.name}: the compressed pixels are damaged"):
        read_ct(tmp_path)
    scan = read_ct(tmp_path, allow_irregular=True)  # a false alarm must not be the last word
    assert [finding.code for finding in scan.findings] == ["odd-slices"]


@pytest.mark.parametrize("codec", ["JPEG2000Lossless", "JPEGLSLossless"])
def test_compressed_pixels_overwritten_from_the_start(tmp_path, codec):
    """Row 40: a block of zeros, as a bad disk leaves it."""
    import gdcm

    hu = make.chest((12, 128, 96))
    make.series(hu, tmp_path)
    for path in tmp_path.iterdir():
        make.compressed(path, getattr(gdcm.TransferSyntax, codec))
    path = tmp_path / "0006"
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\x93" if codec == "JPEG2000Lossless" else b"\xff\xda") + 30
    data[at : at + 3000] = bytes(3000)
    path.write_bytes(data)
    with pytest.raises(InputError, match="0006"):
        read_ct(tmp_path)


def test_deeply_nested_sequences_do_not_break_the_process(tmp_path):
    """Row 53: 20,000 sequences inside one another."""
    make.series(HU, tmp_path)
    path = tmp_path / "0002"
    data = path.read_bytes()
    at = data.index(b"\x08\x00\x60\x00CS")
    opening = bytes.fromhex("0800151153510000ffffffff") + bytes.fromhex("feff00e0ffffffff")
    path.write_bytes(data[:at] + opening * 20_000 + data[at:])
    with pytest.raises(InputError, match="0002: the DICOM header is damaged"):
        read_ct(tmp_path)


@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (65535, 40)])
def test_headers_that_ask_for_gigabytes(tmp_path, rows, columns):
    """Row 49."""
    make.series(HU, tmp_path, Rows=rows, Columns=columns)
    with pytest.raises((InputError, VolumeError, Exception)) as caught:
        read_ct(tmp_path)
    assert caught.value.exit_code in (2, 5)


def test_a_compressed_image_larger_than_its_header_says(tmp_path):
    """Row 49: SIZ asks for 60000 x 60000; refused before it is decoded."""
    import gdcm

    make.series(HU, tmp_path)
    for path in tmp_path.iterdir():
        make.compressed(path, gdcm.TransferSyntax.JPEG2000Lossless)
    path = tmp_path / "0003"
    data = path.read_bytes()
    at = data.index(b"\xff\x4f\xff\x51") + 8
    path.write_bytes(data[:at] + (60000).to_bytes(4, "big") * 2 + data[at + 8 :])
    with pytest.raises(InputError, match="0003: the compressed image is not one grey-scale plane"):
        read_ct(tmp_path)


def test_a_deflated_file_that_inflates_without_end(tmp_path):
    """Row 49: 300 MB of zeros behind a small header."""
    import zlib

    make.series(HU, tmp_path)
    path = tmp_path / "0001"
    data = path.read_bytes()
    meta = data[:128] + b"DICM" + bytes.fromhex("02000000554c0400") + (30).to_bytes(4, "little")
    meta += bytes.fromhex("0200100055491600") + b"1.2.840.10008.1.2.1.99"
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(meta + engine.compress(bytes(300 << 20)) + engine.flush())
    with pytest.raises(Exception, match="0001: inflates to more") as caught:
        read_ct(tmp_path)
    assert caught.value.exit_code == 5


def test_series_written_by_the_package_reads_back(tmp_path):
    from covid19net.io.export import write_dicom_series
    from covid19net.volume import CTVolume

    uid = generate_uid(prefix=None)
    paths = write_dicom_series(
        CTVolume(HU, make.affine()), tmp_path / "out", {"SeriesInstanceUID": uid, "PatientSex": "M"}
    )
    assert len(paths) == 12
    assert all(a.name < b.name for a, b in pairwise(paths))
    scan = read_ct(tmp_path / "out")
    assert_base(scan)
    assert scan.headers["series_uid"] == uid
    assert scan.headers["patient_sex"] == "M"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [p.name for p in paths]


def data_folder() -> Path:
    return Path(__file__).parents[2] / "shared" / "data" / "ct"


@pytest.mark.real
@pytest.mark.parametrize("name", ["covid-P001", "thick-A0001", "slab-ricord"])
def test_real_series_equal_other_readers(name):
    """Against SimpleITK (HU) and highdicom (HU and geometry)."""
    folder = data_folder() / name
    if not folder.is_dir():
        pytest.skip("no real scans here")
    import highdicom
    import SimpleITK

    scan = read_ct(folder)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = SimpleITK.ReadImage(names)
    theirs = SimpleITK.GetArrayFromImage(image)
    assert np.array_equal(scan.volume.hu, np.maximum(theirs, -1024))
    assert scan.volume.affine[:3, 3] == pytest.approx(image.GetOrigin(), abs=1e-4)
    from pydicom import dcmread

    volume = highdicom.get_volume_from_series([dcmread(path) for path in folder.iterdir()])
    volume = volume.to_patient_orientation("HPL") if hasattr(volume, "to_patient_orientation") else volume
    assert np.array_equal(np.maximum(volume.array, -1024), scan.volume.hu)
    assert np.allclose(volume.affine, scan.volume.affine, atol=1e-4)
