"""Who the patient is stays in DICOM objects: nothing else that is written or said holds it.

Every element that can name a person, a place or a time carries a word to find, and so do folder and file
names; then every byte that comes out is searched.
"""

from collections.abc import Iterator
import errno
import gzip
from pathlib import Path
import shutil
import sys
import zlib

import pydicom
import pytest

from covid19net.cli import main
from covid19net.errors import InputError
from covid19net.report.pdf import check_pdf
from tests.dicom_files import ct_slices, with_preamble, write

try:
    check_pdf()
    LACKING = ""
except InputError as fault:
    LACKING = str(fault)
MARK = "QX~Z"  # begins every word to find; no part of base64, and in no result by itself
CARRIED = {  # by objects of the same study
    "PatientName": "QX~Zname^QX~Zgiven",
    "PatientID": "QX~Zid",
    "AccessionNumber": "QX~Zaccession",
    "StudyID": "QX~Zstudyid",
    "StudyDescription": "QX~Zstudy description",
    "ReferringPhysicianName": "QX~Zreferring^Dr",
    "IssuerOfPatientID": "QX~Zissuer",
}
LEFT_BEHIND = {
    "OtherPatientIDs": "QX~Zother",
    "PatientAddress": "QX~Zaddress",
    "PatientTelephoneNumbers": "QX~Ztelephone",
    "PatientComments": "QX~Zcomments",
    "InstitutionName": "QX~Zinstitution",
    "InstitutionAddress": "QX~Zplace",
    "InstitutionalDepartmentName": "QX~Zdepartment",
    "PerformingPhysicianName": "QX~Zperforming^Dr",
    "NameOfPhysiciansReadingStudy": "QX~Zreading^Dr",
    "OperatorsName": "QX~Zoperator^Mr",
    "StationName": "QX~Zstation",
    "SeriesDescription": "QX~Zseries description",
    "ProtocolName": "QX~Zprotocol",
    "ImageComments": "QX~Zimage comments",
    "DeviceSerialNumber": "QX~Zserial",
    "RequestingPhysician": "QX~Zrequesting^Dr",
    "AdmissionID": "QX~Zadmission",
}
DATES = {
    "PatientBirthDate": "19070508",
    "StudyDate": "20190807",
    "ContentDate": "20190807",
}  # in no result else


@pytest.fixture(scope="module")
def scan(phantom, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan") / "QX~Zfolder"
    tags = CARRIED | LEFT_BEHIND | DATES
    slices = [with_preamble(d) for d in ct_slices(phantom.volume.hu, place=phantom.volume.affine, **tags)]
    for dataset in slices:
        block = dataset.private_block(0x0021, "QX~Zcreator", create=True)
        block.add_new(1, "LO", "QX~Zprivate")
    return write(slices, folder, [f"QX~Zsub/QX~Zfile{i}.dcm" for i in range(len(slices))])


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file, compressed ones opened, texts of pictures unpacked."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        yield path.relative_to(folder).as_posix(), data
        if data.startswith(b"\x1f\x8b"):
            yield f"{path.name} (inflated)", gzip.decompress(data)
        if data.startswith(b"\x89PNG"):
            at = 8
            while at < len(data):
                size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
                if kind in (b"zTXt", b"iTXt"):
                    body = data[at + 8 : at + 8 + size].split(b"\0", 1)[1]
                    yield f"{path.name} {kind!r}", zlib.decompressobj().decompress(body[1:])
                at += 12 + size


def hits(name: str, data: bytes) -> list[str]:
    words = [MARK.encode(), MARK.lower().encode(), MARK.encode("utf-16-le"), *map(str.encode, DATES.values())]
    return [f"{name}: {word!r}" for word in words if word in data or word.decode("latin-1") in name]


@pytest.mark.parametrize("dicom", [False, True])
def test_no_word_of_the_headers_or_names_comes_out_but_in_dicom(scan, tmp_path, capfd, monkeypatch, dicom):
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["covid19net"])
    options = ["--age", "60", "--sex", "F", "--no-comorbidity", *(["--dicom"] if dicom else [])]
    with pytest.raises(SystemExit) as stop:
        main(["analyze", str(scan), "-o", str(out), *options])
    assert not stop.value.code
    told = capfd.readouterr()
    assert "COVID-19 probability" in told.out
    files = dict(everything(out))
    assert "result.json" in files
    objects = {name for name in files if name.endswith(".dcm")}
    assert len(objects) >= 4 if dicom else not objects
    found = [hit for name, data in files.items() if name not in objects for hit in hits(name, data)]
    assert found + hits("stdout", told.out.encode()) + hits("stderr", told.err.encode()) == []
    for name in objects:
        dataset = pydicom.dcmread(out / name)
        for keyword, value in (CARRIED | {"PatientBirthDate": DATES["PatientBirthDate"]}).items():
            assert dataset[keyword].value == value, name
        for value in LEFT_BEHIND.values():
            assert value.encode() not in files[name], name
        assert b"QX~Zprivate" not in files[name]
        assert b"QX~Zfolder" not in files[name]


def answer(capfd, *words: object) -> tuple[int, list[str]]:
    """Exit code, and the words to find in what was said."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    told = capfd.readouterr()
    assert told.out + told.err
    return int(stop.value.code or 0), hits("stdout", told.out.encode()) + hits("stderr", told.err.encode())


FAULTS = {  # what is wrong with a scan -> (exit code, what is done to its files)
    "no lungs": (3, lambda files: [_values(path, 0) for path in files]),
    "a slice is missing": (2, lambda files: files[len(files) // 2].unlink()),
    "cut off": (2, lambda files: [path.write_bytes(path.read_bytes()[:-1000]) for path in files]),
}


def _values(path: Path, value: int) -> None:
    dataset = pydicom.dcmread(path)
    dataset.PixelData = (dataset.pixel_array * 0 + 1024 + value).tobytes()
    dataset.save_as(path)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_scan_that_fails_tells_nothing_of_whose_it_is(scan, tmp_path, capfd, monkeypatch, fault):
    """One line with the reason, and the name of what was given; no folder, no part of a file is left."""
    code, spoil = FAULTS[fault]
    shutil.copytree(scan, tmp_path / "given")
    # Messages repeat the name of a file that is at fault as it was given: here names tell nothing.
    files = sorted(path for path in (tmp_path / "given").rglob("*") if path.is_file())
    plain = [path.rename(tmp_path / "given" / f"{i:03}.dcm") for i, path in enumerate(files)]
    (tmp_path / "given" / "QX~Zsub").rmdir()
    spoil(plain)
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["covid19net"])
    words = ("analyze", tmp_path / "given", "-o", out, "--dicom", "--identify")
    assert answer(capfd, *words) == (code, [])
    assert not out.exists() or list(out.rglob("*")) == []


def test_results_that_cannot_be_written_tell_nothing_and_leave_nothing(scan, tmp_path, capfd, monkeypatch):
    """The disk is full when the DICOM objects come, the last of all: exit 5, and the name that was given."""
    from pydicom.dataset import FileDataset

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(FileDataset, "save_as", full)
    monkeypatch.setattr("highdicom.pm.ParametricMap.save_as", full, raising=False)
    monkeypatch.setattr(sys, "argv", ["covid19net"])
    out = tmp_path / "out"
    shutil.copytree(scan, tmp_path / "given")
    words = ("analyze", tmp_path / "given", "-o", out, "--dicom", "--identify")
    assert answer(capfd, *words) == (5, [])
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_with_identify_names_are_in_the_report_and_nowhere_else(scan, tmp_path, capfd, monkeypatch):
    """Name, patient ID, dates and accession number; in report.html, its PDF, and the DICOM objects."""
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["covid19net"])
    pdf = ["--pdf"] if not LACKING else []
    assert answer(capfd, "analyze", scan, "-o", out, "--dicom", "--identify", *pdf) == (0, [])
    files = dict(everything(out))
    found = {hit.split(":")[0] for name, data in files.items() for hit in hits(name, data)}
    named = {"report.html"} | {name for name in files if name.endswith(".dcm")}
    assert found - {"report.pdf"} == named
    page = files["report.html"].decode()
    for value in ("QX~ZNAME, QX~Zgiven", "QX~Zid", "QX~Zaccession", "1907-05-08", "2019-08-07"):
        assert value.lower() in page.lower()
    for value in (*LEFT_BEHIND.values(), CARRIED["StudyDescription"], CARRIED["ReferringPhysicianName"]):
        assert value not in page
    if pdf:
        import pypdfium2

        sheets = pypdfium2.PdfDocument(out / "report.pdf")
        text = "".join(sheet.get_textpage().get_text_bounded() for sheet in sheets)
        assert "QX~Zid" in text
        assert hits("report.pdf", str(sheets.get_metadata_dict()).encode()) == []


def test_the_search_finds_what_it_should(scan, tmp_path):
    """Else the test above could not fail."""
    first = next(path for path in scan.rglob("*") if path.is_file())
    assert hits("scan", first.read_bytes())
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"... QX~Zname ..."))
    (tmp_path / "qx~z").write_text("clean")
    (tmp_path / "b.json").write_text('{"date": "20190807"}')
    found = [hit for name, data in everything(tmp_path) for hit in hits(name, data)]
    assert {hit.split(":")[0] for hit in found} == {"a.gz (inflated)", "b.json", "qx~z"}


def test_the_origin_of_a_scan_does_not_show_whose_it_is(scan):
    from covid19net.io import read_ct

    read = read_ct(scan)
    assert MARK in str(read.origin.identity)
    assert MARK not in repr(read)
    assert MARK not in repr(read.origin)
    assert MARK not in str(read.headers)
    assert MARK not in str(read.findings)
