"""Adapters of collections that TCIA holds, in both styles of its downloads, with their traps planted."""

import shutil

import numpy as np
import pydicom
import pytest

from covid19net.collections.layout import records_of
from covid19net.collections.tcia import contrast_of
from covid19net.io import read_ct
from covid19net.train.images import read_mask
from tests.collections_made import (
    SEGMENTS,
    STRUCTURES,
    Download,
    cells,
    lung1_table,
    made,
    make_lctsc,
    make_lung1,
    refused,
    table,
)
from tests.dicom_files import localizer, write
from tests.drawn_objects import chest_drawn, phantom_drawn, segmentation, turned

STYLES = pytest.mark.parametrize("style", ["names", "uids"])
CASES = [chest_drawn(seed) for seed in range(4)]
CORONAL = np.array([[0, 0, 8.0, 0], [8.0, 0, 0, 0], [0, -8.0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("text", "contrast"),
    [
        ("CT CHEST WITHOUT CONTRAST", "no"),
        ("CT CHEST W/O CONTRAST", "no"),
        ("ROUTINE CHEST NON-CON", "no"),
        ("CT CHEST PULMONARY ANGIO WITH IV CON", "yes"),
        ("CT CHEST W CONTRAST", "yes"),
        ("CT CHEST WITH AND WITHOUT CONTRAST", "yes"),
        ("CT CHEST", ""),
    ],
)
def test_contrast_medium_in_descriptions(text, contrast):
    assert contrast_of(text) == contrast


# --- NSCLC Radiogenomics


def radiogenomics(tmp_path, style, first="Case ID"):
    """Five patients: each exercises one rule of the choice or one reason to be left out."""
    load = Download(tmp_path, "NSCLC Radiogenomics", style)
    # 1: the segmentation refers to the coarser of two series
    load.add("R01-001", "01-02-1990 CT THORAX", "THIN LUNG", spacing=2.0)
    marked = load.add("R01-001", "01-02-1990 CT THORAX", "STANDARD", spacing=3.0)
    load.mask("R01-001", "01-02-1990 CT THORAX", "TUMOUR", SEGMENTS, marked)
    # 2: two studies, a PET's CT that is finer, and a scout; the table names the second study
    load.add("AMC-002", "01-02-1990 CT THORAX", "THIN LUNG", spacing=2.0)
    named = load.add("AMC-002", "03-04-1990 CT CHEST", "AXIAL", spacing=4.0)
    scout = localizer(pydicom.dcmread(named / "1-001.dcm"))  # in the series itself
    scout.PatientID = "AMC-002"
    write([scout], named, ["1-013.dcm"])
    study, tall = "03-04-1990 CT CHEST", {"spacing": 1.0, "count": 48}  # finer than the series to be chosen
    load.add("AMC-002", study, "MPR", ImageType=["DERIVED", "SECONDARY", "AXIAL"], **tall)
    load.add("AMC-002", study, "SURVEY", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **tall)
    load.add("AMC-002", study, "CTAC", **tall)
    load.add("AMC-002", "03-04-1990 WHOLE BODY", "AXIAL", **tall)
    load.add(
        "AMC-002", "03-04-1990 WHOLE BODY", "PET", Modality="PT", SOPClassUID="1.2.840.10008.5.1.4.1.1.128"
    )
    # 3: a squamous carcinoma; 4: EGFR not known; 5: slices of 5 mm only
    for name in ("R01-003", "R01-004"):
        load.add(name, "01-02-1990 CT THORAX", "LUNG", spacing=2.0)
    load.add("R01-005", "01-02-1990 CT THORAX", "LUNG", spacing=5.0)
    people = [
        ("R01-001", "Stanford", 61, "Female", "Adenocarcinoma", "Mutant", "5/6/1991"),
        ("AMC-002", "VA", 70, "Male", "Adenocarcinoma", "Wildtype", "3/4/1990"),
        ("R01-003", "VA", 55, "Male", "Squamous cell carcinoma", "Wildtype", "1/2/1990"),
        ("R01-004", "VA", 55, "Male", "Adenocarcinoma", "Not collected", "1/2/1990"),
        ("R01-005", "VA", 55, "Male", "Adenocarcinoma", "Wildtype", "1/2/1990"),
    ]
    columns = (first, "Patient affiliation", "Age at Histological Diagnosis", "Gender", "Histology ",
               "EGFR mutation status", "CT Date")  # fmt: skip
    folder = load.done()
    table(folder / "a table.csv", [dict(zip(columns, person, strict=True)) for person in people])
    return folder


@STYLES
def test_nsclc_radiogenomics(tmp_path, style):
    folder = radiogenomics(tmp_path, style, "Case ID" if style == "names" else "Patient ID")
    rows, beside = made("nsclc-radiogenomics", folder)
    found = [[r[c] for c in ("id", "egfr", "centre", "age", "sex", "set")] for r in rows]
    assert found == [
        ["AMC-002", "wild", "VA", 70, "M", "auxiliary"],
        ["R01-001", "mutant", "Stanford", 61, "F", "auxiliary"],
    ]
    choice = {c["patient_id"][-7:]: c["choice"] for c in cells(folder)}
    assert choice == {
        "R01-001": "the one the segmentation refers to",
        "AMC-002": "the finest of the table's CT date",
    }
    spacing = {r["id"]: _spacing(r["scan"]) for r in rows}
    assert spacing == {"R01-001": 3, "AMC-002": 4}
    assert any(
        note.startswith("R01-005 left out: of 1 CT series none is axial, under 5 mm")
        for note in beside["notes"]
    )
    assert beside["counts"]["EGFR not known"] == {"found": 1, "published": [39]}
    refused("nsclc-radiogenomics", folder, "EGFR wild: 3 found, 129 published", allow_incomplete=False)


def _spacing(folder):
    return read_ct(folder).volume.spacing[0]


@STYLES
def test_an_incomplete_download_is_told_from_metadata_csv(tmp_path, style):
    folder = radiogenomics(tmp_path, style)
    series = sorted(folder.glob("R01-004/*/*"))[0]
    next(series.iterdir()).unlink()
    shutil.rmtree(folder / "R01-003")
    _, beside = made("nsclc-radiogenomics", folder)
    assert "allowed: 1 of 11 CT series in metadata.csv are not on disk" in beside["notes"]
    assert "allowed: 1 CT series hold fewer images than metadata.csv lists" in beside["notes"]


def test_a_folder_with_files_of_another_patient_is_refused(tmp_path):
    folder = radiogenomics(tmp_path, "names")
    (folder / "R01-003").rename(folder / "R01-006")
    refused("nsclc-radiogenomics", folder, "R01-006: a folder of this patient holds files of another one")
    shutil.copytree(folder / "AMC-002", folder / "copy" / "AMC-002")
    refused("nsclc-radiogenomics", folder, "AMC-002: two folders of this patient")


@STYLES
def test_metadata_csv_may_lie_above_the_folder_that_is_given(tmp_path, style):
    load = Download(tmp_path, "LCTSC", style)
    load.add("LCTSC-Train-S1-001", "03-03-2004 THORAX", "CT")
    scan = load.scan("LCTSC-Train-S1-002", "03-03-2004 THORAX", "CT", CASES[0])
    masks = {"Lung_L": CASES[0].left, "Lung_R": CASES[0].right}
    load.drawn("LCTSC-Train-S1-002", "03-03-2004 THORAX", masks, scan, STRUCTURES)
    folder = load.done() / "LCTSC"
    folder.mkdir()
    (folder.parent / "LCTSC-Train-S1-002").rename(folder / "LCTSC-Train-S1-002")
    _, beside = made("lctsc", folder)
    assert "allowed: 1 of 2 CT series in metadata.csv are not on disk" in beside["notes"]


def test_a_table_with_a_name_twice_and_blanks_around_values(tmp_path):
    """Sodium stands twice in the table of COVID-19-NY-SBU: the first counts."""
    path = tmp_path / "t.csv"
    path.write_text('sodium,"eGFR, a formula",Histology ,sodium\n141, 60 ,NOS ,9\n\n140\n')
    assert records_of(path) == [
        {"sodium": "141", "eGFR, a formula": "60", "Histology": "NOS"},
        {"sodium": "140", "eGFR, a formula": "", "Histology": ""},
    ]


# --- COVID-19-NY-SBU


def ny_sbu(tmp_path, style):
    """One usable patient of each ending; then an emergency visit, a late scan, an abdomen, a radiograph."""
    load = Download(tmp_path, "COVID-19-NY-SBU", style)
    study = "01-12-1901 CT CHEST PULMONARY ANGIO WITH IV CON"
    load.add("A000001", study, "Axial", spacing=2.0, PatientAge="067Y")
    load.add("A000001", study, "Coronal", place=CORONAL, ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    load.add("A000001", study, "MPR", spacing=1.0, count=24, ImageType=["DERIVED", "SECONDARY", "AXIAL"])
    load.add("A000001", "01-14-1901 CT CHEST", "Axial", spacing=1.0, count=24)  # finer, but a later day
    load.add("A000001", "04-12-1901 CT CHEST", "Axial", spacing=1.0)  # finer, but three months later
    load.add("A000002", "01-13-1901 CT CHEST WITHOUT CONTRAST", "Axial")
    load.add("A000003", study, "Axial")
    load.add("A000004", "03-30-1901 CT CHEST", "Axial")
    load.add("A000005", "01-12-1901 CT ABD PELVIS", "Axial")
    cr = {"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}
    load.add("A000006", "01-12-1901 XR CHEST AP", "XR", count=1, **cr)
    folder, rows = load.done(), []
    for n in range(1, 7):
        rows.append({
            "to_patient_id": f"A00000{n}", "last.status": "deceased" if n == 2 else "discharged",
            "age.splits": "(59,74]", "gender_concept_name": "NA" if n == 2 else "FEMALE",
            "visit_start_datetime": "1/12/1901",
            "visit_concept_name": "Emergency Room Visit" if n == 3 else "Inpatient Visit", "is_icu": "TRUE",
            "was_ventilated": "Yes", "invasive_vent_days": 40, "length_of_stay": 8 + n,
            "Acute.Kidney.Injury..during.hospitalization.": "Yes",
            "htn_v": "NA" if n == 2 else "Yes", "dm_v": "No",
            "8331-1_Oral temperature": 37.5, "1988-5_C reactive protein [Mass/volume]": 3,
            "62238-1_Glomerular filtration rate, by CKD-EPI": 60, "therapeutic.heparin.Boolean": "TRUE",
        })  # fmt: skip
    table(folder / "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv", rows)
    return folder, rows


@STYLES
def test_ny_sbu(tmp_path, style):
    """Discharge and death apart, bands and no years, the study nearest the visit, nothing of the stay."""
    folder, _ = ny_sbu(tmp_path, style)
    rows, beside = made("ny-sbu", folder)
    found = [
        [r.get(c) for c in ("id", "days", "discharged", "died", "sex", "hypertension", "diabetes")]
        for r in rows
    ]
    assert found == [
        ["A000001", 9, True, False, "F", True, False],
        ["A000002", 10, False, True, None, None, False],
    ]
    assert [r["contrast"] for r in rows] == ["yes", "no"]
    assert _spacing(rows[0]["scan"]) == 2
    assert [c["age_band"] for c in cells(folder)] == ["60-74", "60-74"]
    written = set(cells(folder)[0])
    assert not written & {"age", "label", "icu", "ventilated", "icu_days", "ventilated_days"}
    assert not [
        c for c in written for word in ("vent", "icu", "kidney_inj", "heparin", "crp") if word in c.lower()
    ]
    notes = beside["notes"]
    assert "1 with images left out: no inpatient visit" in notes
    assert "1 with images left out: no chest CT from day -1 to day 3 of the visit" in notes
    assert "2 with images left out: no axial chest CT" in notes
    refused("ny-sbu", folder, "refused for diagnosis: patients with COVID-19 only", use="diagnosis")


def test_metadata_csv_is_joined_by_uid_and_by_place(tmp_path):
    """Places have backslashes and the name of a top folder that is not there; UIDs are there either way."""
    folder, _ = ny_sbu(tmp_path / "a", "uids")
    header, *lines = (folder / "metadata.csv").read_text().splitlines()
    lines = [f"1.{i}{line[line.index(',') :]}" for i, line in enumerate(lines)]
    (folder / "metadata.csv").write_text("\n".join([header, *lines]))
    assert len(made("ny-sbu", folder)[0]) == 2
    folder, _ = ny_sbu(tmp_path / "b", "uids")
    for series in list(folder.glob("A*/*/*")):
        series.rename(series.with_name(series.name[-6:]))
    assert len(made("ny-sbu", folder)[0]) == 2


def test_ny_sbu_traps(tmp_path):
    folder, rows = ny_sbu(tmp_path, "uids")
    name = folder / "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
    table(name, [{key: value for key, value in row.items() if key != "to_patient_id"} for row in rows])
    refused("ny-sbu", folder, "has no to_patient_id")
    table(name, [row | {"last.status": "unknown"} for row in rows])
    refused("ny-sbu", folder, "last.status is neither")
    table(name, rows)
    (folder / "metadata.csv").unlink()
    refused("ny-sbu", folder, "no usable patient")  # folders named by UIDs tell no dates


# --- RICORD


@STYLES
def test_ricord(tmp_path, style):
    """Axial original series without a label; 1b negative is not other pneumonia."""
    load = Download(tmp_path, "MIDRC-RICORD-1A", style)
    a, b = "MIDRC-RICORD-1A-419639-000361", "MIDRC-RICORD-1B-440808-000018"
    chosen = load.add(a, "10-21-2002 CT CHEST WITHOUT CONTRAST", "ROUTINE CHEST NON-CON", spacing=2.0)
    derived = ["DERIVED", "SECONDARY"]
    study = "10-21-2002 CT CHEST WITHOUT CONTRAST"
    load.add(a, study, "MPR", spacing=1.0, count=24, ImageType=derived)
    load.add(a, "10-21-2002 CT CHEST WITHOUT CONTRAST", "COR", spacing=1.0, place=CORONAL)
    load.add(a, "10-22-2002 CT CHEST PE", "PE", spacing=1.0, count=24)
    load.add(b, "11-01-2002 CT ANGIO CHEST", "PE", spacing=2.0)
    folder = load.done()
    columns = ("Anon MRN", "Anon Age", "Anon Sex", "Result")
    people = [("419639-000361", 61.5, "F", "DETECTED"), ("440808-000018", 40, "M", "NOT DETECTED")]
    table(folder / "clinical.csv", [dict(zip(columns, p, strict=True)) for p in people])
    rows, beside = made("ricord", folder)
    assert [(r["id"], r["age"], r["sex"], r["centre"], r["type"]) for r in rows] == [
        (a, 61.5, "F", "419639", "PCR detected"),
        (b, 40, "M", "440808", "PCR not detected"),
    ]
    assert rows[0]["scan"].resolve() == chosen.resolve()
    assert all("label" not in row for row in rows)
    assert any(n.startswith("2 coronal, sagittal, derived") for n in beside["notes"])
    refused("ricord", folder, "refused for diagnosis: 1a has positive PCR only", use="diagnosis")
    table(folder / "clinical.csv", [dict(zip(columns, (*p[:3], "DETECTED"), strict=True)) for p in people])
    refused("ricord", folder, "Result is not NOT DETECTED")


# --- lungs drawn as DICOM objects


def lungs_of(row):
    """The mask of a manifest's row as training reads it: refused where it is not on the scan's grid."""
    return read_mask(row["lungs"], read_ct(row["scan"]).volume)


@STYLES
def test_lctsc(tmp_path, style):
    """Scans stored from the feet, from the head, prone, and with columns from the back to the front."""
    names = ["LCTSC-Train-S1-001", "LCTSC-Test-S3-204", "LCTSC-Train-S2-012", "LCTSC-Test-S1-101"]
    stored = dict(zip(names, [(), (0,), (1, 2), (1,)], strict=True))
    cases = {name: turned(CASES[n], axes) for n, (name, axes) in enumerate(stored.items())}
    folder = make_lctsc(tmp_path, cases, style)
    rows, beside = made("lctsc", folder)
    assert {(r["id"], r["centre"], r["set"]) for r in rows} == {
        ("LCTSC-Train-S1-001", "S1", "training"),
        ("LCTSC-Test-S3-204", "S3", "validation"),
        ("LCTSC-Train-S2-012", "S2", "training"),
        ("LCTSC-Test-S1-101", "S1", "validation"),
    }
    for row in rows:
        upright = CASES[names.index(row["id"])]
        np.testing.assert_array_equal(lungs_of(row), upright.left | upright.right)
    for row in cells(folder):
        assert row["object_kind"] == "RTSTRUCT"
        assert (folder.parent / "out" / row["lung_object"]).is_file()
        assert row["lungs"].startswith("manifest-masks/LCTSC-")
    assert beside["counts"]["lung masks from RTSTRUCT"] == {"found": 4, "published": None}
    refused("lctsc", folder, "patients: 4 found, 60 published", allow_incomplete=False)


def test_a_patient_whose_mask_is_not_of_the_scan_is_left_out(tmp_path):
    """Each with its reason, and the others stay; only what is not there at all is a gap."""
    load = Download(tmp_path, "LCTSC", "uids")
    study, case = "03-03-2004 THORAX", CASES[0]
    masks = {"Lung_L": case.left, "Lung_R": case.right}
    nothing, column = np.zeros_like(case.left), np.broadcast_to(np.arange(case.hu.shape[2]), case.hu.shape)
    sides = column >= 20, column < 20
    drawn = {
        "001": masks,
        "002": {"Lung_L": case.right, "Lung_R": case.left},  # as in a picture that was flipped
        "003": {"Lung_L": case.left},
        "004": {"Heart": case.left},
        "005": {name: (case.hu < -900) & side for name, side in zip(masks, sides, strict=True)},
        "006": {name: (case.hu > -100) & side for name, side in zip(masks, sides, strict=True)},
        "007": masks | {"Lung_R": nothing},
    }
    for number, each in drawn.items():
        name = f"LCTSC-Train-S1-{number}"
        scan = load.scan(name, study, "CT", case)
        load.drawn(name, study, each, scan, STRUCTURES)
    other = load.scan("LCTSC-Train-S1-008", study, "CT", case)
    path = load.drawn("LCTSC-Train-S1-008", study, masks, other, STRUCTURES)
    dataset = pydicom.dcmread(path)
    for structure in dataset.StructureSetROISequence:
        structure.ReferencedFrameOfReferenceUID = "1.2.3"
    dataset.save_as(path)
    load.scan("LCTSC-Test-S2-101", study, "CT", case)
    folder = load.done()
    rows, beside = made("lctsc", folder)
    assert [row["id"] for row in rows] == ["LCTSC-Train-S1-001"]
    left_out = {n[15:18]: n.split("RTSTRUCT: ")[1] for n in beside["notes"] if " left out: " in n}
    assert left_out == {
        "002": "the left lung lies right of the right one",
        "003": "one lung is drawn",
        "004": "no lungs are drawn",
        "005": "most of the mask has the Hounsfield units of no lung: it is not of this scan",
        "006": "most of the mask has the Hounsfield units of no lung: it is not of this scan",
        "007": "one lung is drawn",
        "008": "1-1.dcm: drawn in another frame of reference than the scan's",
    }
    assert {what: beside["counts"][what]["found"] for what in beside["counts"] if "left out" in what} == {
        "lungs not drawn, left out": 3,
        "mask does not fit, left out": 4,
    }
    assert "allowed: LCTSC-Test-S2-101: no axial CT, or no RTSTRUCT" in beside["notes"]


def test_slices_that_were_not_drawn_within_a_lung_are_unknown(tmp_path):
    """Training leaves 255 out: a lung that was drawn on every other slice is no lesson in between."""
    case = CASES[0]._replace(left=CASES[0].left.copy())
    case.left[[5, 8]] = False
    rows, beside = made("lctsc", make_lctsc(tmp_path, {"LCTSC-Train-S1-001": case}))
    truth = (case.left | case.right).astype(np.uint8)
    truth[[5, 8]] = 255
    np.testing.assert_array_equal(lungs_of(rows[0]), truth)
    assert any("2 slices within a lung have no contour of it; unknown" in note for note in beside["notes"])


@STYLES
def test_nsclc_radiomics(tmp_path, style):
    """The segmentation where there is one of the CT's size, else the structure set; two lungs or one mask."""
    names = ["LUNG1-001", "LUNG1-014", "LUNG1-128", "LUNG1-003"]
    stored = [(0,), (), (1, 2), (0, 1, 2)]
    cases = {name: turned(CASES[n], stored[n]) for n, name in enumerate(names)}
    folder = make_lung1(tmp_path, cases, style)
    done = []
    rows, beside = made("nsclc-radiomics", folder, progress=lambda *told: done.append(told))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    kinds = {c["patient_id"][-9:]: c["object_kind"] for c in cells(folder)}
    assert kinds == {
        "LUNG1-001": "SEG",
        "LUNG1-003": "SEG",
        "LUNG1-014": "RTSTRUCT",
        "LUNG1-128": "RTSTRUCT",
    }
    for row in rows:
        upright = CASES[names.index(row["id"])]
        np.testing.assert_array_equal(lungs_of(row), upright.left | upright.right)
    people = {r["id"]: (r.get("age"), r["sex"]) for r in rows}
    assert people == {
        "LUNG1-001": (60.25, "M"),
        "LUNG1-003": (63.25, "M"),
        "LUNG1-014": (None, "F"),
        "LUNG1-128": (62.25, "M"),
    }
    assert not {"days", "died"} & set(cells(folder)[0])
    assert beside["counts"]["age missing"] == {"found": 1, "published": [22]}
    assert beside["counts"]["lung masks from SEG"]["found"] == 2
    refused("nsclc-radiomics", folder, "refused for prognosis: survival until death", use="prognosis")


def test_a_structure_set_steps_in_for_a_segmentation_that_does_not_fit(tmp_path):
    """Of another size than the CT, or without lungs; where neither holds lungs, the patient is counted."""
    load, study, case = Download(tmp_path, "NSCLC-Radiomics", "names"), "09-18-2008 StudyID", CASES[0]
    masks = {"Lung-Left": case.left, "Lung-Right": case.right}
    scans = {n: load.scan(f"LUNG1-{n}", study, "CT", case) for n in ("001", "002", "003")}
    wide = load.scan("LUNG1-900", study, "CT", CASES[1])  # the segmentation's own, finer, in the same frame
    slices = [pydicom.dcmread(path) for path in sorted(wide.iterdir())]
    shutil.rmtree(load.top / "LUNG1-900")
    load.rows.pop()
    own = pydicom.dcmread(next(scans["001"].iterdir()))
    for each in slices:
        each.PixelSpacing = [4, 4]
        each.FrameOfReferenceUID, each.PatientID = own.FrameOfReferenceUID, "LUNG1-001"
    path = load.drawn("LUNG1-001", study, masks, scans["001"], SEGMENTS)
    segmentation(masks, slices).save_as(path)
    load.drawn("LUNG1-002", study, {"GTV-1": case.left}, scans["002"], SEGMENTS)
    load.drawn("LUNG1-003", study, {"GTV-1": case.left}, scans["003"], SEGMENTS)
    for n in ("001", "002"):
        load.drawn(f"LUNG1-{n}", study, masks, scans[n], STRUCTURES)
    load.drawn("LUNG1-003", study, {"Heart": case.left}, scans["003"], STRUCTURES)
    folder = load.done()
    lung1_table(folder, ["LUNG1-001", "LUNG1-002", "LUNG1-003"])
    rows, beside = made("nsclc-radiomics", folder)
    assert [row["id"] for row in rows] == ["LUNG1-001", "LUNG1-002"]
    assert {c["object_kind"] for c in cells(folder)} == {"RTSTRUCT"}
    for row in rows:
        np.testing.assert_array_equal(lungs_of(row), case.left | case.right)
    assert beside["counts"]["lungs not drawn, left out"]["found"] == 1
    text = "\n".join(beside["notes"])
    assert "LUNG1-001: RTSTRUCT taken, for SEG: 1-1.dcm: a frame of the segmentation does not lie on" in text
    assert "LUNG1-002: RTSTRUCT taken, for SEG: no lungs are drawn" in text
    assert "LUNG1-003 left out: SEG: no lungs are drawn; RTSTRUCT: no lungs are drawn" in text


def test_an_object_belongs_to_the_series_it_names(tmp_path):
    """Two CT of one patient, the finer one of another body: the drawing is of the coarser."""
    load, study = Download(tmp_path, "LCTSC", "names"), "03-03-2004 THORAX"
    scan = load.scan("LCTSC-Train-S1-001", study, "AVERAGE", CASES[0])
    load.add("LCTSC-Train-S1-001", study, "FINE", spacing=2.0, count=30)
    masks = {"Lung_L": CASES[0].left, "Lung_R": CASES[0].right}
    load.drawn("LCTSC-Train-S1-001", study, masks, scan, STRUCTURES)
    rows, _ = made("lctsc", load.done())
    assert rows[0]["scan"].resolve() == scan.resolve()
    np.testing.assert_array_equal(lungs_of(rows[0]), CASES[0].left | CASES[0].right)


def test_the_masks_train_a_lung_network(tmp_path, phantom):
    """A phantom patient's slices and mask, as `train lungs` takes them from the manifests."""
    from covid19net.cohort import read_manifest
    from covid19net.train.lung_cohort import SLICES, slices_of

    case = turned(phantom_drawn(phantom), (0, 1, 2))
    for name, folder in (
        ("lctsc", make_lctsc(tmp_path / "a", {"LCTSC-Train-S1-001": case})),
        ("nsclc-radiomics", make_lung1(tmp_path / "b", {"LUNG1-001": case})),
    ):
        rows, _ = made(name, folder)
        np.testing.assert_array_equal(lungs_of(rows[0]), phantom.lungs.values > 0)
        (patient,) = read_manifest(folder.parent / "out" / "manifest.csv", needs=["scan", "lungs"])
        source = slices_of(patient, tmp_path / "cache")
        assert len(source.mask) == SLICES
        assert set(np.unique(source.mask)) == {0, 1}
