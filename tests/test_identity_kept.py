"""Who the patient is stays in DICOM objects: nothing else that is written or said holds it.

Every element that can name a person, a place or a time carries a word to find, and so do folder and file
names; then every byte that comes out is searched.
"""

from collections.abc import Iterator
import gzip
from pathlib import Path
import sys
import zlib

import pydicom
import pytest

from covid19net.cli import main
from tests.dicom_files import ct_slices, with_preamble, write

MARK = "QXZ"  # begins every word to find; in no result by itself
CARRIED = {  # by objects of the same study
    "PatientName": "QXZname^QXZgiven",
    "PatientID": "QXZid",
    "AccessionNumber": "QXZaccession",
    "StudyID": "QXZstudyid",
    "StudyDescription": "QXZstudy description",
    "ReferringPhysicianName": "QXZreferring^Dr",
    "IssuerOfPatientID": "QXZissuer",
}
LEFT_BEHIND = {
    "OtherPatientIDs": "QXZother",
    "PatientAddress": "QXZaddress",
    "PatientTelephoneNumbers": "QXZtelephone",
    "PatientComments": "QXZcomments",
    "InstitutionName": "QXZinstitution",
    "InstitutionAddress": "QXZplace",
    "InstitutionalDepartmentName": "QXZdepartment",
    "PerformingPhysicianName": "QXZperforming^Dr",
    "NameOfPhysiciansReadingStudy": "QXZreading^Dr",
    "OperatorsName": "QXZoperator^Mr",
    "StationName": "QXZstation",
    "SeriesDescription": "QXZseries description",
    "ProtocolName": "QXZprotocol",
    "ImageComments": "QXZimage comments",
    "DeviceSerialNumber": "QXZserial",
    "RequestingPhysician": "QXZrequesting^Dr",
    "AdmissionID": "QXZadmission",
}
DATES = {
    "PatientBirthDate": "19070508",
    "StudyDate": "20190807",
    "ContentDate": "20190807",
}  # in no result else


@pytest.fixture(scope="module")
def scan(phantom, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scan") / "QXZfolder"
    tags = CARRIED | LEFT_BEHIND | DATES
    slices = [with_preamble(d) for d in ct_slices(phantom.volume.hu, place=phantom.volume.affine, **tags)]
    for dataset in slices:
        block = dataset.private_block(0x0021, "QXZcreator", create=True)
        block.add_new(1, "LO", "QXZprivate")
    return write(slices, folder, [f"QXZsub/QXZfile{i}.dcm" for i in range(len(slices))])


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
        assert b"QXZprivate" not in files[name]
        assert b"QXZfolder" not in files[name]


def test_the_search_finds_what_it_should(scan, tmp_path):
    """Else the test above could not fail."""
    first = next(path for path in scan.rglob("*") if path.is_file())
    assert hits("scan", first.read_bytes())
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"... QXZname ..."))
    (tmp_path / "qxz").write_text("clean")
    (tmp_path / "b.json").write_text('{"date": "20190807"}')
    found = [hit for name, data in everything(tmp_path) for hit in hits(name, data)]
    assert {hit.split(":")[0] for hit in found} == {"a.gz (inflated)", "b.json", "qxz"}


def test_the_origin_of_a_scan_does_not_show_whose_it_is(scan):
    from covid19net.io import read_ct

    read = read_ct(scan)
    assert MARK in str(read.origin.identity)
    assert MARK not in repr(read)
    assert MARK not in repr(read.origin)
    assert MARK not in str(read.headers)
    assert MARK not in str(read.findings)
