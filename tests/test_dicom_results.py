"""DICOM results: valid, in the right study, coded, and the same bytes for the same result."""

from dataclasses import replace
import json
import re
import shutil
import subprocess

import numpy as np
import pydicom
from pydicom.pixels import apply_windowing
import pytest
import SimpleITK

from covid19net.cli import main
from covid19net.diagnose import Decision
from covid19net.dicom_results import check_origin, write_dicom_results
from covid19net.dicom_results.codes import OWN
from covid19net.errors import InputError
from covid19net.io import read_ct, write_volume
from covid19net.prognosis.model import Clinical, predict
from covid19net.report import case as case_module
from covid19net.report.case import DICOM, FILES, write_case
from covid19net.volume import Finding
from tests.cases import AFFINE, made_up_case
from tests.dicom_cases import HEAT, NUMBERS, PATIENT, PICTURE, REPORT, SEG, dcmqi, dicom_case, objects
from tests.dicom_files import chest, ct_slices, enhanced, with_preamble, write
from tests.prognostic_models import made_up_model

DEMO = Finding("weights-demonstration", "it says nothing about a patient")


def with_prognosis(case):
    prognosis = predict(made_up_model(), case.features, Clinical(60, "F", True))
    return replace(
        case, prognosis=prognosis, provenance=case.provenance | {"prognosis": {"sha256": "1" * 64}}
    )


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return with_prognosis(dicom_case(tmp_path_factory.mktemp("ct"), DEMO))


@pytest.fixture(scope="module")
def folder(case, tmp_path_factory):
    place = tmp_path_factory.mktemp("results")
    objects(case, place)
    return place


@pytest.fixture(scope="module")
def found(folder):
    return {name: pydicom.dcmread(folder / name) for name in DICOM}


def tool(name: str, *arguments: object) -> subprocess.CompletedProcess:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: dicom3tools, dcmtk)")
    return subprocess.run([name, *map(str, arguments)], capture_output=True, text=True, errors="replace")


@pytest.mark.parametrize("name", DICOM)
def test_dciodvfy_finds_no_error(folder, name):
    done = tool("dciodvfy", folder / name)
    assert re.search(
        r"^(Segmentation|ParametricMap|ComprehensiveSR|SCImage|EncapsulatedPDF)$", done.stderr, re.M
    )
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("name", DICOM)
def test_dcmdump_parses_every_element(folder, name):
    done = tool("dcmdump", folder / name)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Doe^Jane" in done.stdout


def test_dsr2html_renders_the_numbers(folder):
    done = tool("dsr2html", folder / NUMBERS)
    assert done.returncode == 0
    for text in ("0.37", "Negative", "1890.0", "High risk", "not a medical device", DEMO.message):
        assert text in done.stdout.replace("&#39;", "'"), text


def test_a_number_in_the_report_stands_beside_its_name(folder, found):
    """Items of containers that are CONTINUOUS are shown as running text, their names left out."""
    containers = [found[NUMBERS], *items(found[NUMBERS], "CONTAINER")]
    assert {each.ContinuityOfContent for each in containers} == {"SEPARATE"}
    told = tool("dsr2html", folder / NUMBERS).stdout
    for name, value in (("Probability", "0.37"), ("Threshold Value", "0.8"), ("Volume", "1890.0")):
        assert re.search(
            rf"{name}:?</b>\s*(<br>)?\s*<span class=\"num\">{value}|{name}.{{0,40}}{value}", told, re.S
        )


def test_they_are_in_the_study_of_the_scan_each_a_series_of_its_own(found, case):
    origin = case.scan.origin
    for dataset in found.values():
        for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "StudyTime", "StudyID",
                        "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
            assert dataset[keyword].value == PATIENT[keyword]
        assert (dataset.PatientSex, dataset.PatientAge) == ("F", "061Y")
        assert dataset.StudyInstanceUID == origin.study_uid
        assert "DEMONSTRATION WEIGHTS" in dataset.SeriesDescription
        assert "RESEARCH USE" in dataset.SeriesDescription
        assert len(dataset.SeriesDescription) <= 64
        assert (dataset.Manufacturer, dataset.SoftwareVersions) == ("covid19net", "0")
    assert len({d.SeriesInstanceUID for d in found.values()} | {origin.series_uid}) == 6
    assert {found[n].FrameOfReferenceUID for n in (SEG, HEAT)} == {origin.frame_of_reference_uid}


def test_they_refer_to_every_slice(found, case):
    slices = {each.sop_instance_uid for each in case.scan.origin.slices}
    for name in (SEG, HEAT):
        series = found[name].ReferencedSeriesSequence[0]
        assert series.SeriesInstanceUID == case.scan.origin.series_uid
        assert {i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence} == slices
    assert {i.ReferencedSOPInstanceUID for i in found[PICTURE].SourceImageSequence} == slices
    assert {i.ReferencedSOPInstanceUID for i in found[REPORT].SourceInstanceSequence} == slices
    evidence = [
        item.ReferencedSOPInstanceUID
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in found[NUMBERS].get(keyword, [])
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]
    assert set(evidence) == slices | {found[SEG].SOPInstanceUID, found[HEAT].SOPInstanceUID}


def test_the_segments_are_coded_and_say_what_made_them(found):
    """SNOMED CT: 3341006 right lung, 44029006 left lung (browser.ihtsdotools.org)."""
    right, left = found[SEG].SegmentSequence
    for segment, number, code in ((right, 1, "3341006"), (left, 2, "44029006")):
        assert segment.SegmentNumber == number
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (code, "SCT")
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert algorithm.AlgorithmVersion == "0"
        assert "made-up" in algorithm.AlgorithmName
        assert "0" * 64 in algorithm.AlgorithmParameters
    assert found[SEG].SegmentationType == "BINARY"


def items(node, kind):
    for item in node.get("ContentSequence", []):
        if item.ValueType == kind:
            yield item
        yield from items(item, kind)


def groups(dataset):
    """Each measurement group: finding site and laterality, referenced segment, and name -> (value, unit)."""
    for container in items(dataset, "CONTAINER"):
        if container.ConceptNameCodeSequence[0].CodeValue != "125007":  # Measurement Group
            continue
        sites = [
            (
                i.ConceptCodeSequence[0].CodeValue,
                *(s.ConceptCodeSequence[0].CodeValue for s in items(i, "CODE")),
            )
            for i in container.ContentSequence
            if i.ValueType == "CODE" and i.ConceptNameCodeSequence[0].CodeValue == "363698007"
        ]
        segments = [i.ReferencedSOPSequence[0].ReferencedSegmentNumber for i in items(container, "IMAGE")]
        numbers = {
            i.ConceptNameCodeSequence[0].CodeValue: (
                float(i.MeasuredValueSequence[0].NumericValue),
                i.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
            )
            for i in items(container, "NUM")
        }
        calls = [i.ConceptCodeSequence[0].CodeValue for i in items(container, "CODE")]
        yield sites, segments, numbers, calls


def test_the_report_is_tid_1500_with_the_numbers_of_the_case(found, case):
    """DCM 122157 probability, 122411 threshold; SCT 118565006 volume; DCM 112031 attenuation coefficient."""
    assert found[NUMBERS].ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert found[NUMBERS].VerificationFlag == "UNVERIFIED"
    every = list(groups(found[NUMBERS]))
    _, _, numbers, calls = every[0]
    assert numbers == {"122157": (0.37, "1"), "122411": (0.8, "1")}
    assert "260385009" in calls  # negative
    _, _, numbers, _ = every[1]
    assert numbers["STAY-RISK"] == (pytest.approx(case.prognosis.risk, rel=1e-5), "1")
    assert numbers["STAY-MEAN"][1] == "d"
    by_site = {(*sites[0], *segments): numbers for sites, segments, numbers, _ in every[2:]}
    # 30 x 70 x 40 voxels of 11.25 mm3 each, by hand 945 ml
    assert by_site["39607008", "24028007", 1]["118565006"] == (945.0, "ml")
    assert by_site["39607008", "7771000", 2]["118565006"] == (945.0, "ml")
    both = by_site["39607008", "51440002"]
    assert both["118565006"] == (1890.0, "ml")
    assert both["112031"] == (-850.0, "[hnsf'U]")
    assert both["GGO-SHARE"] == (0.0, "%")
    assert ("281392002", "24028007") in by_site  # upper zone of the right lung
    uids = {i.UID for i in items(found[NUMBERS], "UIDREF")}
    assert len(uids) == len(every) + 2  # one for each group, the observer's, the scan's as source of segments


def test_dcmqi_reads_the_same_numbers(folder, found, tmp_path):
    dcmqi("tid1500reader", "--inputDICOM", folder / NUMBERS, "--outputMetadata", tmp_path / "numbers.json")
    told = json.loads((tmp_path / "numbers.json").read_text())["Measurements"]
    every = list(groups(found[NUMBERS]))
    assert len(told) == len(every)
    for group, (_, segments, numbers, _) in zip(told, every, strict=True):
        items = group["measurementItems"]
        assert {
            i["quantity"]["CodeValue"]: (float(i["value"]), i["units"]["CodeValue"]) for i in items
        } == numbers
        assert group.get("ReferencedSegment") == (segments[0] if segments else None)
        if segments:
            assert group["segmentationSOPInstanceUID"] == found[SEG].SOPInstanceUID


def test_own_codes_are_short_enough_for_every_receiver():
    """SH: 16 characters; longer ones would need Long Code Value (PS3.3 8.1), which old receivers ignore."""
    assert len({value for value, _ in OWN.values()}) == len(OWN)
    assert all(re.fullmatch(r"[A-Z-]{1,16}", value) and len(meaning) <= 64 for value, meaning in OWN.values())


@pytest.mark.parametrize(("call", "code"), [("positive", "10828004"), ("indeterminate", "82334004")])
def test_each_call_has_its_code(case, tmp_path, call, code):
    told = objects(replace(case, decision=Decision(call, 0.5)), tmp_path / "out")[NUMBERS]
    assert code in next(groups(told))[3]


def test_warnings_and_weights_are_in_the_report(found):
    texts = {
        (i.ConceptNameCodeSequence[0].CodeValue, i.TextValue)
        for i in found[NUMBERS].ContentSequence
        if i.ValueType == "TEXT"
    }
    assert ("WARNING", f"{DEMO.code}: {DEMO.message}") in texts
    assert any(name == "INTENDED-USE" and "not a medical device" in text for name, text in texts)
    assert any(name == "WEIGHTS" and "0" * 64 in text for name, text in texts)


def test_picture_and_pdf(found, case):
    picture = found[PICTURE]
    assert picture.pixel_array.shape[2] == 3
    assert (picture.pixel_array == np.asarray(case_module.montage(case))).all()
    assert (picture.BurnedInAnnotation, picture.ConversionType) == ("NO", "WSD")
    assert found[REPORT].EncapsulatedDocument.rstrip(b"\0").startswith(b"%PDF")
    assert found[REPORT].EncapsulatedDocumentLength == 15
    assert found[REPORT].MIMETypeOfEncapsulatedDocument == "application/pdf"


def test_a_pdf_that_names_the_patient_says_so(case, tmp_path):
    write_dicom_results(case, tmp_path, pdf=b"%PDF-1.4\n", identified=True)
    assert pydicom.dcmread(tmp_path / REPORT).BurnedInAnnotation == "YES"


def uids(read):
    return {name: (d.SOPInstanceUID, d.SeriesInstanceUID) for name, d in read.items()}


def test_the_same_result_gives_the_same_bytes_and_anything_else_other_uids(case, folder, tmp_path):
    """Seconds apart, with other timings: PACS see the same object. Changed content: another object."""
    first = uids({name: pydicom.dcmread(folder / name) for name in DICOM})
    again = replace(case, seconds={"lungs": 99.0})
    second = uids(objects(again, tmp_path / "again"))
    assert first == second
    for name in DICOM:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    every = [uid for pair in first.values() for uid in pair]
    assert len(set(every)) == 10
    assert all(re.fullmatch(r"2\.25\.[1-9]\d{30,38}", uid) for uid in every)
    fewer = replace(case.lungs, values=case.lungs.values * (case.heatmap.values == 0))
    fainter = replace(case.heatmap, values=case.heatmap.values // 2)
    changed = {
        "probability": (replace(case, probability=0.38), {NUMBERS, PICTURE}),
        "mask": (replace(case, lungs=fewer), {SEG, NUMBERS, PICTURE}),
        "heat": (replace(case, heatmap=fainter), {HEAT, NUMBERS, PICTURE}),
        "version": (replace(case, provenance=case.provenance | {"version": "1"}), set(DICOM)),
    }  # fmt: skip
    for what, (other, expected) in changed.items():
        third = uids(objects(other, tmp_path / what))
        assert {name for name in DICOM if third[name][0] != first[name][0]} == expected, what
        assert {name for name in DICOM if third[name][1] != first[name][1]} == expected, what


def test_a_deflated_heat_map_is_the_same_object_and_small(case, folder, tmp_path):
    """Read by pydicom, and by dcmtk, whose form of it without compression dciodvfy finds no error in."""
    write_dicom_results(case, tmp_path, pdf=b"%PDF-1.4\n%%EOF\n", deflate=True)
    small, whole = tmp_path / HEAT, folder / HEAT
    assert small.stat().st_size < whole.stat().st_size / 20
    one, other = pydicom.dcmread(small), pydicom.dcmread(whole)
    assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99"  # PS3.6 A-1
    assert one == other
    for name in set(DICOM) - {HEAT}:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert tool("dcmconv", "+te", small, tmp_path / "whole.dcm").returncode == 0
    assert pydicom.dcmread(tmp_path / "whole.dcm").FloatPixelData == other.FloatPixelData
    for path, name in ((small, "small"), (whole, "whole")):
        words = ("--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd", "-n", name)
        dcmqi("paramap2itkimage", *words)
    images = [SimpleITK.ReadImage(str(tmp_path / f"{name}-pmap.nrrd")) for name in ("small", "whole")]
    assert (SimpleITK.GetArrayFromImage(images[0]) == SimpleITK.GetArrayFromImage(images[1])).all()
    done = tool("dciodvfy", tmp_path / "whole.dcm")
    assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == []


def test_the_window_of_the_map_shows_every_value(found):
    """As pydicom applies it (PS3.3 C.11.2.1.3.2), to 8 bits."""
    window = pydicom.Dataset()
    window.update(found[HEAT].SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0])
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
    shares = np.array([0, 0.01, 0.25, 0.5, 1])
    assert apply_windowing(shares, window) == pytest.approx(255 * shares)


def test_another_scan_of_the_same_values_gives_other_uids(folder, tmp_path):
    first = uids({name: pydicom.dcmread(folder / name) for name in DICOM})
    other = with_prognosis(dicom_case(tmp_path / "ct", DEMO))
    assert not set(uids(objects(other, tmp_path / "out")).values()) & set(first.values())


def test_dates_are_those_of_the_scan(found, tmp_path):
    for name in (SEG, HEAT, NUMBERS):
        assert (found[name].ContentDate, found[name].ContentTime) == ("20200302", "112233.5")
        assert "InstanceCreationDate" not in found[name]
    lacking = dict.fromkeys(("ContentDate", "ContentTime", "StudyDate", "StudyTime"))
    told = objects(dicom_case(tmp_path / "ct", **lacking), tmp_path / "out")
    assert (told[SEG].ContentDate, told[SEG].ContentTime, told[SEG].StudyDate) == ("19000101", "000000", "")
    late = objects(dicom_case(tmp_path / "ct2", **(lacking | {"StudyDate": "20200301"})), tmp_path / "out2")
    assert (late[SEG].ContentDate, late[SEG].ContentTime) == ("20200301", "000000")


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "Müller^Jürgen"),
        ("ISO_IR 100", "Müller^Jürgen"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
    ],
)
def test_names_keep_their_character_set(tmp_path, charset, name):
    case = dicom_case(tmp_path / "ct", SpecificCharacterSet=charset.split("\\"), PatientName=name)
    for dataset in objects(case, tmp_path / "out").values():
        assert dataset.PatientName == name


def test_elements_that_break_their_rules_go_through_as_they_are(tmp_path):
    """A name too long and a birth date that is none: kept, byte for byte, without pydicom's warnings."""
    slices = ct_slices(made_up_case().scan.volume.hu, place=AFFINE)
    for dataset in slices:
        dataset.add_new(0x00100010, "LT", "X" * 80)
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.add_new(0x00100030, "LO", "unknown")
    for path in write([with_preamble(d) for d in slices], tmp_path / "ct").iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999", 1))
    scan = read_ct(tmp_path / "ct")
    write_dicom_results(replace(made_up_case(), scan=scan), tmp_path)
    for name in (SEG, HEAT, NUMBERS, PICTURE):
        raw = (tmp_path / name).read_bytes()
        assert b"X" * 80 in raw
        assert b"unknown " in raw
        assert b"ISO_IR 999" in raw


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"FrameOfReferenceUID": None}, "FrameOfReferenceUID is absent"),
        ({"StudyInstanceUID": None}, "StudyInstanceUID is absent"),
        ({"SOPInstanceUID": "1.2.3"}, "several slices share one SOPInstanceUID"),
        ({"SOPInstanceUID": None}, "SOPInstanceUID is absent"),
    ],
)
def test_a_series_that_cannot_be_referred_to_is_one_clear_line(tmp_path, tags, message):
    with pytest.raises(InputError, match=message):
        check_origin(dicom_case(tmp_path, **tags).scan)


def test_multi_frame_scans_are_refused_clearly(tmp_path):
    write([enhanced(chest((6, 48, 40)))], tmp_path)
    with pytest.raises(InputError, match="enhanced multi-frame"):
        check_origin(read_ct(tmp_path))


def test_they_are_part_of_the_case_all_or_nothing(case, tmp_path):
    out = tmp_path / "out"
    (out / "dicom").mkdir(parents=True)
    (out / "dicom" / "IM0001").write_text("the user's own")

    def fails(folder):
        write_dicom_results(case, folder)
        raise InputError("no DICOM today")

    with pytest.raises(InputError, match="no DICOM today"):
        write_case(case, out, fails)
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["IM0001"]
    write_case(case, out, lambda folder: write_dicom_results(case, folder))
    record = json.loads((out / "result.json").read_text())
    assert {name for name in record["files"] if name.startswith("dicom/")} == {SEG, HEAT, NUMBERS, PICTURE}
    assert all((out / name).exists() for name in record["files"])
    write_case(case, out)
    assert not any((out / name).exists() for name in DICOM)
    assert (out / "dicom" / "IM0001").exists()
    assert set(FILES) <= {p.name for p in out.iterdir()}


def test_a_scan_that_is_no_dicom_is_exit_2_before_any_work(phantom, tmp_path, capsys, monkeypatch):
    from covid19net import pipeline

    monkeypatch.setattr(pipeline, "segment", lambda *_, **__: pytest.fail("the network was run"))
    write_volume(phantom.volume, tmp_path / "scan.nii.gz")
    with pytest.raises(SystemExit) as stop:
        main(["analyze", str(tmp_path / "scan.nii.gz"), "-o", str(tmp_path / "out"), "--dicom"])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "DICOM results cannot be written" in error
    assert not (tmp_path / "out").exists()
