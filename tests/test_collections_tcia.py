"""Adapters of collections that TCIA holds, in both styles of its downloads, with their traps planted."""

import shutil

import numpy as np
import pydicom
import pytest

from covid19net.collections.layout import records_of
from covid19net.collections.tcia import contrast_of
from tests.collections_made import SEGMENTS, STRUCTURES, Download, cells, made, refused, table
from tests.dicom_files import localizer, write

STYLES = pytest.mark.parametrize("style", ["names", "uids"])
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
    from covid19net.io import read_ct

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
    scan = load.add("LCTSC-Train-S1-002", "03-03-2004 THORAX", "CT")
    load.mask("LCTSC-Train-S1-002", "03-03-2004 THORAX", "", STRUCTURES, scan)
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


@STYLES
def test_lctsc(tmp_path, style):
    load = Download(tmp_path, "LCTSC", style)
    for name in ("LCTSC-Train-S1-001", "LCTSC-Test-S3-204"):
        scan = load.add(name, "03-03-2004 THORAX", "CT")
        load.mask(name, "03-03-2004 THORAX", "", STRUCTURES, scan)
    load.add("LCTSC-Test-S2-101", "03-03-2004 THORAX", "CT")
    folder = load.done()
    rows, beside = made("lctsc", folder)
    assert {(r["id"], r["centre"], r["set"]) for r in rows} == {
        ("LCTSC-Train-S1-001", "S1", "training"),
        ("LCTSC-Test-S3-204", "S3", "validation"),
    }
    for row in cells(folder):
        assert row["object_kind"] == "RTSTRUCT"
        assert (folder.parent / "out" / row["lung_object"]).is_file()
        assert "lungs" not in row  # they are not on the scan's grid yet
    assert "allowed: LCTSC-Test-S2-101: no axial CT, or no structure set" in beside["notes"]
    refused("lctsc", folder, "patients: 3 found, 60 published", allow_incomplete=False)


@STYLES
def test_nsclc_radiomics(tmp_path, style):
    """The segmentation is named where its size is the CT's, else the structure set."""
    load = Download(tmp_path, "NSCLC-Radiomics", style)
    for name in ("LUNG1-001", "LUNG1-014", "LUNG1-128"):
        scan = load.add(name, "09-18-2008 StudyID", "CT")
        load.mask(name, "09-18-2008 StudyID", "Structures", STRUCTURES, scan)
        if name != "LUNG1-128":
            load.mask(name, "09-18-2008 StudyID", "Segmentation", SEGMENTS, scan)
    folder = load.done()
    people = [("LUNG1-001", 78.75, "male"), ("LUNG1-014", "NA", "female"), ("LUNG1-128", 60, "male")]
    people = [
        {"PatientID": n, "age": a, "gender": g, "Survival.time": 2165, "deadstatus.event": 1}
        for n, a, g in people
    ]
    table(folder / "clinical.csv", people)
    rows, beside = made("nsclc-radiomics", folder)
    kinds = {c["patient_id"][-9:]: c["object_kind"] for c in cells(folder)}
    assert kinds == {"LUNG1-001": "SEG", "LUNG1-014": "RTSTRUCT", "LUNG1-128": "RTSTRUCT"}
    assert [(r.get("age"), r["sex"]) for r in rows] == [(78.75, "M"), (None, "F"), (60, "M")]
    assert not {"days", "died"} & set(cells(folder)[0])
    assert beside["counts"]["age missing"] == {"found": 1, "published": [22]}
    refused("nsclc-radiomics", folder, "refused for prognosis: survival until death", use="prognosis")
