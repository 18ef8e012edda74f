"""Every collection of the recipe `reproduce public` in miniature: exact layouts, phantoms, planted traps.

Names of files, columns of tables and the spelling of their values are those of the collections as far as they
are known (docs/how-to/public-data.md). Nobody in them is a person: each folder says so in
`covid19net-phantoms.txt`, and DICOM headers say so as Manufacturer.

As a script, `python -m tests.miniatures FOLDER [FACTOR]` writes them; FACTOR makes more patients.
"""

import csv
from pathlib import Path
import shutil
import sys

import numpy as np
from pydicom.uid import generate_uid
import SimpleITK

from covid19net.collections import PHANTOMS
from covid19net.io import write_dicom_series
from covid19net.phantom import PhantomCase, Scanner, draw_patient, scan_patient
from covid19net.volume import CTVolume
from tests.collections_made import make_lctsc, make_lung1
from tests.drawn_objects import phantom_drawn

NOTE = "The scans in this folder are phantoms made by covid19net. They show no person.\n"
VENDOR = "covid19net phantom"
SPACING, MATRIX = 16.0, 64  # mm between slices; rows and columns


def phantom(kind: str, number: int, *, padding: int | None = None) -> PhantomCase:
    """A whole chest, some 22 thin slices 16 mm apart of 64 x 64; equal numbers give equal patients."""
    rng = np.random.default_rng([20, number])
    egfr = kind if kind in ("mutant", "wild") else None
    patient = draw_patient(rng, disease="cancer" if egfr else kind or None, egfr=egfr)
    scanner = Scanner(spacing=SPACING, thickness=2.6, matrix=MATRIX, padding=padding)
    return scan_patient(patient, scanner, rng)


def dicom(volume: CTVolume, folder: Path, **headers: object) -> Path:
    """A series as its scanner would have sent it, files named from 1-001.dcm."""
    told = {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "Manufacturer": VENDOR, "ConvolutionKernel": "B30f",
        "BodyPartExamined": "CHEST", "SliceThickness": "2.6",
    }  # fmt: skip
    for i, path in enumerate(write_dicom_series(volume, folder, told | headers)):
        path.rename(folder / f"1-{i + 1:03}.dcm")
    return folder


def meta_image(values: np.ndarray, like: CTVolume, path: Path) -> None:
    """.mhd with .raw, or .nii.gz, of axes (z, y, x) on the grid of a phantom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(tuple(float(s) for s in like.spacing[::-1]))
    image.SetOrigin(tuple(float(v) for v in like.affine[:3, 3]))
    SimpleITK.WriteImage(image, str(path))


def table(path: Path, header: list[str], rows: list[list[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def marked(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PHANTOMS).write_text(NOTE)
    return folder


# --- lungs


def vessel12(folder: Path, count: int) -> None:
    """Traps: a mask has its scan's very name; one mask is of 0 and 255; an example scan lies beside."""
    for n in [*range(1, count + 1), 21]:
        case = phantom("", 100 + n)
        scans, masks = (
            f"VESSEL12_{(n - 1) // 5 * 5 + 1:02}-{(n - 1) // 5 * 5 + 5:02}",
            "VESSEL12_01-20_Lungmasks",
        )
        if n == 21:
            scans, masks = "VESSEL12_ExampleScans/Scans", "VESSEL12_ExampleScans/Lungmasks"
        meta_image(case.volume.hu, case.volume, marked(folder) / scans / f"VESSEL12_{n:02}.mhd")
        lungs = (case.lungs.values > 0).astype(np.uint8) * np.uint8(255 if n == 3 else 1)
        meta_image(lungs, case.volume, folder / masks / f"VESSEL12_{n:02}.mhd")


def seg20(folder: Path, count: int) -> None:
    """Traps: radiopaedia scans are 8-bit pictures; masks share names with scans; lesion masks lie beside."""
    names = [f"coronacases_{n:03}" for n in range(1, count + 1)] + ["radiopaedia_10_85902_1"]
    for n, name in enumerate(names):
        case = phantom("covid", 200 + n)
        hu = case.volume.hu
        if name.startswith("radio"):
            hu = np.clip((hu + 1250) / 1500 * 255, 0, 255).astype(np.uint8)
        meta_image(hu, case.volume, marked(folder) / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz")
        meta_image(case.lungs.values, case.volume, folder / "Lung_Mask" / f"{name}.nii.gz")
        lesions = (case.lesions.values > 0).astype(np.uint8)
        meta_image(lesions, case.volume, folder / "Infection_Mask" / f"{name}.nii.gz")


# --- TCIA


class Download:
    """A TCIA download: descriptive names or UIDs as folders, and metadata.csv with Windows' backslashes."""

    HEADER = (
        "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,"
        "Study Description,Study Date,Series Description,Manufacturer,"
        "Modality,SOP Class Name,SOP Class UID,Number of Images,"
        "File Size,File Location,Download Timestamp"
    )

    def __init__(self, top: Path, collection: str, *, uids: bool) -> None:
        self.top, self.collection, self.uids = marked(top), collection, uids
        self.rows: list[list[object]] = []

    def add(
        self,
        volume: CTVolume,
        patient: str,
        study: tuple[str, str],
        series: str,
        modality: str = "CT",
        **tags: object,
    ) -> tuple[Path, str]:
        """A series; study is its date, MM-DD-YYYY, and its description. Its folder, and its UID."""
        uid, study_uid = generate_uid(prefix=None), self._study(patient, study)
        when, text = study
        names = (
            f"{when}-NA-{text}-{len(self.rows):05}",
            f"{len(self.rows) + 2}.000000-{series}-{len(self.rows):05}",
        )
        if self.uids:
            names = (study_uid, uid)
        folder = self.top / self.collection / patient / names[0] / names[1]
        headers = {
            "PatientID": patient, "StudyInstanceUID": study_uid, "SeriesInstanceUID": uid,
            "Modality": modality,
        }  # fmt: skip
        dicom(volume, folder, **headers, **tags)
        place = "\\".join([".", self.collection, patient, *names])
        self.rows.append([
            uid, self.collection, "NO", "", patient, study_uid, text, when, series, VENDOR, modality,
            "CT Image Storage", "1.2.840.10008.5.1.4.1.1.2", len(volume.hu), "1.00 MB", place,
            "2026-01-01 00:00",
        ])  # fmt: skip
        return folder, uid

    def _study(self, patient: str, study: tuple[str, str]) -> str:
        same = (str(row[5]) for row in self.rows if (row[4], row[7], row[6]) == (patient, *study))
        return next(same, generate_uid(prefix=None))

    def close(self) -> None:
        table(self.top / "metadata.csv", self.HEADER.split(","), self.rows)


def thinned(volume: CTVolume, count: int) -> CTVolume:
    """The lowest slices alone."""
    return CTVolume(volume.hu[:count], volume.affine)


def lctsc(folder: Path, count: int) -> None:
    """Descriptive names, lungs in structure sets; the last patient is of the Test part."""
    names = [f"LCTSC-Train-S1-{n:03}" for n in range(1, count + 1)] + ["LCTSC-Test-S2-101"]
    cases = {name: phantom_drawn(phantom("", 150 + n)) for n, name in enumerate(names)}
    make_lctsc(folder, cases).rename(folder / "LCTSC")
    marked(folder)


def lung1(folder: Path, count: int) -> None:
    """Traps: no segmentation for LUNG1-128, one of another size said for 014; `Lungs-Total`; no age."""
    names = ["LUNG1-128", "LUNG1-014", *(f"LUNG1-{n:03}" for n in range(1, count + 1))]
    cases = {name: phantom_drawn(phantom("wild", 250 + n)) for n, name in enumerate(names)}
    make_lung1(folder, cases).rename(folder / "NSCLC-Radiomics")
    marked(folder)


NSCLC = (
    "Case ID,Patient affiliation,Age at Histological Diagnosis,Weight (lbs),Gender,Ethnicity,Smoking status,"
    "Pack Years,Quit Smoking Year,%GG,Histology ,Pathological T stage,EGFR mutation status,"
    "KRAS mutation status,ALK translocation status,Survival Status,"
    "Time to Death (days),CT Date,Days between CT and surgery,"
    "PET Date"
)


def radiogenomics(folder: Path, count: int) -> None:
    """UIDs as folders. Traps: a blank in `Histology `, a squamous cancer, no status, a PET's CT, a scout."""
    download, rows = Download(folder, "NSCLC Radiogenomics", uids=True), []
    kinds = ["mutant", "wild"] * count
    for n in range(2 * count + 2):
        name = f"R01-{n + 1:03}" if n % 3 else f"AMC-{n + 1:03}"
        kind = kinds[n] if n < 2 * count else "wild"
        status = {"mutant": "Mutant", "wild": "Wildtype"}[kind] if n != 2 * count + 1 else "Not collected"
        histology = "Squamous cell carcinoma" if n == 2 * count else "Adenocarcinoma"
        volume = phantom(kind, 300 + n).volume
        fine = CTVolume(volume.hu, volume.affine @ np.diag([1 / 4, 1, 1, 1]))  # under 5 mm apart
        download.add(fine, name, ("04-02-1994", "CT CHEST WITHOUT CONTRAST"), "THIN LUNG")
        if n == 0:
            download.add(fine, name, ("05-02-1994", "PET CT WHOLE BODY"), "CTAC 3.75 THIN", SeriesNumber=4)
            download.add(thinned(fine, 4), name, ("05-02-1994", "PET CT WHOLE BODY"), "PET", "PT")
            scout = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
            download.add(
                thinned(fine, 2), name, ("04-02-1994", "CT CHEST WITHOUT CONTRAST"), "SCOUT", ImageType=scout
            )
        rows.append([
            name, "Stanford" if n // 2 % 2 else "VA", 50 + n, "Not Collected",
            "Female" if n % 3 else "Male",
            "Not Recorded In Database", "Former", 20, "N/A", "0%", histology, "T1a", status, "Wildtype",
            "Not collected", "Alive", "", "4/2/1994", 38, "5/2/1994",
        ])  # fmt: skip
    download.close()
    table(folder / "NSCLCR01Radiogenomic_DATA_LABELS_2018-05-22_1500-shifted.csv", NSCLC.split(","), rows)


NY_SBU = (
    "to_patient_id,covid19_statuses,last.status,age.splits,gender_concept_name,visit_start_datetime,"
    "visit_concept_name,is_icu,was_ventilated,invasive_vent_days,length_of_stay,"
    "Acute.Hepatic.Injury..during.hospitalization.,htn_v,dm_v,"
    'cad_v,ckd_v,malignancies_v,copd_v,smoking_status_v,"62238-1_Glomerular filtration rate, predicted",'
    "2951-2_Sodium,2951-2_Sodium,therapeutic.heparin.Boolean"
)
BANDS = ("[18,59]", "(59,74]", "(74,90]")


def ny_sbu(folder: Path, count: int) -> None:
    """Descriptive names. Traps: an emergency, a CT 80 days off, an abdomen, deaths, NA, twin columns."""
    download, rows = Download(folder, "COVID-19-NY-SBU", uids=False), []
    for n in range(count + 3):
        name, died = f"A{2304 + n:06}", n % 6 == 5
        visit, day, text = "Inpatient Visit", "01-12-1901", "CT CHEST PULMONARY ANGIO WITH IV CON"
        if n == count:
            visit = "Emergency Room Visit"
        if n == count + 1:
            day = "04-02-1901"
        if n == count + 2:
            text = "CT ABDOMEN PELVIS"
        volume = phantom("covid", 600 + n).volume
        download.add(
            volume, name, (day, text), "AXIAL" if n < count + 2 else "ABD AXIAL", PatientAge="", PatientSex=""
        )
        answers = ["NA"] * 6 if n == 1 else ["Yes" if (n + k) % 4 == 0 else "No" for k in range(6)]
        rows.append([
            name, "positive", "deceased" if died else "discharged", BANDS[n % 3],
            "NA" if n == 2 else ["MALE", "FEMALE"][n % 2], "1/12/1901", visit, "TRUE", "No", 0,
            6 + (7 * n) % 31, "No", *answers, "Never", "90", "140", "141", "TRUE",
        ])  # fmt: skip
    download.close()
    table(folder / "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv", next(csv.reader([NY_SBU])), rows)


# --- diagnosis

ICTCF = (
    "Hospital,Patient,Age,Gender,Underlying diseases,Body temperature (°C),SARS-CoV-2 nucleic acids,CT,"
    "Morbidity outcome,Mortality outcome,White blood cell count"
)


def ictcf(folder: Path, union: int, liyuan: int) -> None:
    """Traps: a Suspected patient, contradicting PCR, no CT, padding of -2000, spellings of controls."""
    rows: list[list[object]] = []
    plan = [("HUST-Union Hospital", union), ("HUST-Liyuan Hospital", liyuan)]
    people = [(where, covid) for where, count in plan for covid in [True, False] * count]
    for n, (where, covid) in enumerate(people, start=1):
        case = phantom("covid" if covid else "bacterial", 400 + n, padding=-2000 if n == 1 else None)
        dicom(
            case.volume,
            marked(folder) / f"Patient {n}" / "CT",
            PatientID=f"anon{n}",
            PatientAge="",
            PatientSex="",
        )
        outcome = ("Regular", "Severe")[n % 4 == 1] if covid else "Control (Community-acquired pneumonia)"
        rows.append([
            where, f"Patient {n} ", f"{30 + n}", ["Female", "Male"][n % 2], "Hypertension", "38.2↑",
            "Positive" if covid else "Negative", "Positive" if covid else "Negative", outcome,
            "Cured" if covid else "Unknown", ">10.0",
        ])  # fmt: skip
    last = len(people)
    dicom(phantom("covid", 499).volume, folder / f"Patient {last + 1}" / "CT")
    for k, (pcr, outcome) in enumerate(
        [
            ("Negative", "Suspected (COVID-19-confirmed later)"),
            ("Positive", "Control"),
            ("Positive", "Critically ill"),
        ],
        start=last + 1,
    ):
        rows.append([
            "HUST-Union Hospital", f"Patient {k}", "60", "Male", "No", "36.5", pcr, "N/A", outcome, "Unknown",
            "",
        ])  # fmt: skip
    table(folder / "Patients.csv", ICTCF.split(","), rows)


def covid_ct_md(folder: Path, count: int) -> None:
    """Traps: normal lungs, file names against the order in space, a PatientID that is a code, no sex."""
    for n in range(count):
        for group, code, kind in (("COVID-19 Cases", "P", "covid"), ("Cap Cases", "cap", "bacterial")):
            name = f"{code}{n + 1:03}"
            place = dicom(
                phantom(kind, 500 + 2 * n + (code == "P")).volume, marked(folder) / group / name,
                PatientAge=f"0{39 + n}Y", PatientSex="" if n == 1 else "F", PatientID=f"code-{n}",
            )  # fmt: skip
            files = sorted(place.iterdir())
            for k, path in enumerate(files):
                path.rename(place / f"{name}_{len(files) - k}.dcm")
    dicom(phantom("", 599).volume, folder / "Normal Cases" / "normal001", PatientAge="040Y", PatientSex="M")
    table(
        folder / "Index.csv", ["Label Index", "Diagnosis", "Relative Path", "Folder/ID"],
        [[0, "COVID-19", "COVID-19/P001", "P001"]],
    )  # fmt: skip


def build(folder: Path, factor: int = 1) -> Path:
    """Every collection of the recipe, under names that a download has; factor 1 is the least that trains."""
    vessel12(folder / "vessel12", 5 + factor)
    lctsc(folder / "LCTSC", 2)
    lung1(folder / "NSCLC-Radiomics", factor)
    seg20(folder / "seg20", 1 + factor)
    radiogenomics(folder / "NSCLC-Radiogenomics from TCIA", 8 * factor)
    ictcf(folder / "ictcf", 8 * factor, 2 * factor)
    covid_ct_md(folder / "COVID-CT-MD", 2 * factor)
    ny_sbu(folder / "ny-sbu", 14 * factor)
    return folder


if __name__ == "__main__":
    where = Path(sys.argv[1])
    for made in where.glob("*/"):
        if (made / PHANTOMS).exists():
            shutil.rmtree(made)
    build(where, int(sys.argv[2]) if len(sys.argv) > 2 else 1)
