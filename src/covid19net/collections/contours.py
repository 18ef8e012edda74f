"""Lungs drawn as DICOM objects, LCTSC and NSCLC-Radiomics: from structure sets and segmentations to masks."""

from collections import Counter
from pathlib import Path

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.drawn import READERS, Masking, Names
from covid19net.collections.layout import number, records_of, sex_of, tables_with
from covid19net.collections.tcia import patients_of

LCTSC = r"LCTSC-(Train|Test)-S\d-\d{3}"
LUNG1 = r"LUNG1-\d{3}"
CLINICAL = ("PatientID", "age", "gender")
OTHER_SIZE = {f"LUNG1-{n}" for n in ("014", "021", "085", "095", "194")}  # SEG and CT of different sizes
LCTSC_NAMES = Names("Lung_L", "Lung_R")
LUNG1_NAMES = Names("Lung-Left", "Lung-Right", "Lungs-Total")


def gather_lctsc(folder: Path, made: Path, progress: Progress) -> Gathered:
    """The patients of LCTSC; institution as centre, Train and Test as training and validation.

    Raises:
        InputError: no patient, files of another patient, or masks that cannot be written.
    """
    found, counts = Gathered(), Counter[str]()
    masking = Masking(LCTSC_NAMES, made, found)
    for patient in patients_of(folder, LCTSC, found, progress):
        _, part, centre, _ = patient.name.split("-")
        counts["patients"] += 1
        counts[f"patients of {centre.upper()}"] += 1
        if row := masking.row(patient, ("RTSTRUCT",)):
            where = {"centre": centre, "set": "training" if part.lower() == "train" else "validation"}
            found.rows.append(row | where)
    found.counts |= {name: counts[name] for name in LCTSC_COLLECTION.counts}
    found.notes.append("slices are put in order by place: neither names nor InstanceNumber follow space")
    return found


def gather_lung1(folder: Path, made: Path, progress: Progress) -> Gathered:
    """The patients of NSCLC-Radiomics whose lungs are drawn.

    Raises:
        InputError: no patient, files of another patient, or masks that cannot be written.
    """
    records = {r["PatientID"].upper(): r for path in tables_with(folder, CLINICAL) for r in records_of(path)}
    found, counts = Gathered(), Counter[str]()
    masking = Masking(LUNG1_NAMES, made, found)
    for record in records.values():
        counts[record["gender"].lower()] += 1
        counts["age missing"] += number(record["age"]) is None
    for patient in patients_of(folder, LUNG1, found, progress):
        counts["patients"] += 1
        kinds = ("RTSTRUCT",) if patient.name.upper() in OTHER_SIZE else tuple(READERS)
        if row := masking.row(patient, kinds):
            told = records.get(patient.name.upper())
            person = {"age": number(told["age"]), "sex": sex_of(told["gender"])} if told else {}
            found.rows.append(row | person)
    found.counts |= {name: counts[name] for name in LUNG1_COLLECTION.counts}
    if without := sorted(OTHER_SIZE & {str(row["patient_id"]).upper() for row in found.rows}):
        found.notes.append(
            f"{', '.join(without)}: the segmentation has another size than the CT, structure set taken"
        )
    found.notes.append("survival is left out: it is until death, not until discharge")
    return found


LCTSC_COLLECTION = Collection(
    name="lctsc",
    title="Lung CT Segmentation Challenge 2017 (TCIA)",
    uses=("lungs",),
    licence=Stated("CC BY 3.0", "code"),
    citation="Yang et al. Medical Physics 2018;45:4568; data doi 10.7937/K9/TCIA.2017.3r3fvz08",
    address=Stated("https://doi.org/10.7937/K9/TCIA.2017.3r3fvz08", "code"),
    size=Stated("about 5 GB", "memory"),
    claims="Lungs drawn by hand on scans for radiotherapy of three institutions; none with COVID-19.",
    gather=gather_lctsc,
    refused={"diagnosis": "no patient with COVID-19", "egfr": "no EGFR mutation status"},
    counts={"patients": Count((60,), "code")}
    | {f"patients of S{n}": Count((20,), "code") for n in (1, 2, 3)},
    unconfirmed=("some are averages of a breathing cycle", "all are planned for thoracic radiotherapy"),
)
LUNG1_COLLECTION = Collection(
    name="nsclc-radiomics",
    title="NSCLC-Radiomics, Lung1 (TCIA)",
    uses=("lungs",),
    licence=Stated("treat as CC BY-NC 3.0; another source says CC BY 3.0", "disputed"),
    citation="Aerts et al. Nature Communications 2014;5:4006; data doi 10.7937/K9/TCIA.2015.PF0M9REI",
    address=Stated("https://doi.org/10.7937/K9/TCIA.2015.PF0M9REI", "table"),
    size=Stated("about 34 GB", "code"),
    claims="Lungs of patients with lung cancer, drawn for radiotherapy; the masks may leave the tumour out.",
    gather=gather_lung1,
    refused={
        "egfr": "no EGFR mutation status",
        "diagnosis": "no patient with COVID-19",
        "prognosis": "survival until death is not a stay in hospital",
    },
    counts={
        "patients": Count((422,)),
        "male": Count((290,)),
        "female": Count((132,)),
        "age missing": Count((22,)),
    },
    unconfirmed=("lung contours may leave the tumour out",),
)
