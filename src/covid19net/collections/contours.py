"""Lungs drawn as DICOM objects, LCTSC and NSCLC-Radiomics: which object belongs to which scan.

Reading structure sets and segmentations onto the grid of their scan is not done here: rows name the object in
`lung_object` and have no `lungs` yet.
"""

from collections import Counter
from pathlib import Path

from covid19net.collections.collection import Collection, Count, Gathered, Stated
from covid19net.collections.layout import number, records_of, sex_of, tables_with
from covid19net.collections.tcia import Patient, finest, originals, patients_of, referred, usable

LATER = "masks are DICOM objects, named in lung_object; they are not put on the scans' grids yet"
LCTSC = r"LCTSC-(Train|Test)-S\d-\d{3}"
LUNG1 = r"LUNG1-\d{3}"
CLINICAL = ("PatientID", "age", "gender")
OTHER_SIZE = {f"LUNG1-{n}" for n in ("014", "021", "085", "095", "194")}  # SEG and CT of different sizes
KINDS = ("SEG", "RTSTRUCT")


def masked(patient: Patient, kinds: tuple[str, ...] = KINDS) -> dict[str, object] | None:
    """The scan that a patient's mask object refers to, and the object; None where either is missing."""
    axial = usable(patient.series)
    kind = next((kind for kind in kinds if patient.masks.get(kind)), None)
    if not axial or kind is None:
        return None
    named = referred(patient, kind, axial)
    scan = finest(named or originals(axial) or axial)
    return {
        "patient_id": patient.name,
        **scan.row(),
        "lung_object": patient.masks[kind][0],
        "object_kind": kind,
        "choice": "the one the object refers to" if named else "the finest; the object names none",
    }


def gather_lctsc(folder: Path, _made: Path) -> Gathered:
    """The patients of LCTSC; institution as centre, Train and Test as training and validation.

    Raises:
        InputError: no patient, or files of another patient.
    """
    found, counts = Gathered(), Counter[str]()
    for patient in patients_of(folder, LCTSC, found):
        _, part, centre, _ = patient.name.split("-")
        counts["patients"] += 1
        counts[f"patients of {centre.upper()}"] += 1
        row = masked(patient, ("RTSTRUCT",))
        if row is None:
            found.gaps.append(f"{patient.name}: no axial CT, or no structure set")
            continue
        where = {"centre": centre, "set": "training" if part.lower() == "train" else "validation"}
        found.rows.append(row | where)
    found.counts |= {name: counts[name] for name in LCTSC_COLLECTION.counts}
    found.notes += [LATER, "slices are put in order by place: neither names nor InstanceNumber follow space"]
    return found


def gather_lung1(folder: Path, _made: Path) -> Gathered:
    """The patients of NSCLC-Radiomics that have a mask object of their scan's size.

    Raises:
        InputError: no patient, or files of another patient.
    """
    records = {r["PatientID"].upper(): r for path in tables_with(folder, CLINICAL) for r in records_of(path)}
    found, counts = Gathered(), Counter[str]()
    for record in records.values():
        counts[record["gender"].lower()] += 1
        counts["age missing"] += number(record["age"]) is None
    for patient in patients_of(folder, LUNG1, found):
        counts["patients"] += 1
        row = masked(patient, ("RTSTRUCT",) if patient.name.upper() in OTHER_SIZE else KINDS)
        if row is None:
            found.gaps.append(f"{patient.name}: no axial CT, or no mask object")
            continue
        told = records.get(patient.name.upper())
        person = {"age": number(told["age"]), "sex": sex_of(told["gender"])} if told else {}
        found.rows.append(row | person)
    found.counts |= {name: counts[name] for name in LUNG1_COLLECTION.counts}
    if without := sorted(OTHER_SIZE & {str(row["patient_id"]).upper() for row in found.rows}):
        found.notes.append(
            f"{', '.join(without)}: the segmentation has another size than the CT, structure set named"
        )
    found.notes.append("survival is left out: it is until death, not until discharge")
    found.notes.append(LATER)
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
