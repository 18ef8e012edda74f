"""NSCLC Radiogenomics: lung cancers with EGFR mutation status, from Stanford and Palo Alto VA."""

from collections import Counter
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.layout import Record, number, sex_of, table_with
from covid19net.collections.tcia import (
    CTSeries,
    Patient,
    date_of,
    finest,
    originals,
    patients_of,
    referred,
    usable,
)
from covid19net.errors import InputError

PATIENT = r"(R01|AMC)-\d{3}"
EGFR = "EGFR mutation status"
NAMES = ("Case ID", "Patient ID")  # of the first column: published, and as copies have it
COLUMNS = ("Patient affiliation", "Age at Histological Diagnosis", "Gender", "Histology", EGFR, "CT Date")
CLASSES = {"wildtype": "wild", "mutant": "mutant", "unknown": "", "not collected": ""}
THICKEST = 5.0  # mm between slices of a usable CT, less than
NOT_CHEST = re.compile(r"\b(ac|ctac|atten\w*|pet|wb|scout|topo\w*|localizer)\b", re.IGNORECASE)
LUNG = re.compile(r"thin|lung|thorax|chest", re.IGNORECASE)


def gather(folder: Path, _made: Path, progress: Progress) -> Gathered:
    """Adenocarcinomas of known EGFR status, each with one chosen CT series.

    Raises:
        InputError: no table, a value it should not hold, no patient, or files of another patient.
    """
    records = {_name(r): r for r in table_with(folder, COLUMNS, "the clinical table of NSCLC Radiogenomics")}
    found, counts = Gathered(), _table_counts(records)
    reasons = Counter[str]()
    for patient in patients_of(folder, PATIENT, found, progress):
        record = records.get(patient.name)
        counts["patients on disk"] += 1
        if record is None:
            found.gaps.append(f"{patient.name}: not in the clinical table")
            continue
        egfr = _egfr(record)
        if not egfr or not _is_adenocarcinoma(record):
            continue
        chosen, why = choose(patient, record)
        if chosen is None:
            found.notes.append(f"{patient.name} left out: {why}")
            continue
        reasons[why] += 1
        counts[f"{egfr} adenocarcinomas with a CT"] += 1
        row = {**chosen.row(), "patient_id": patient.name, "set": "auxiliary", "egfr": egfr}
        row |= {"age": number(record["Age at Histological Diagnosis"]), "sex": sex_of(record["Gender"])}
        found.rows.append(row | {"centre": record["Patient affiliation"], "choice": why})
    found.counts |= {name: counts[name] for name in (*COLLECTION.counts, "patients on disk")}
    found.notes += [f"{n} series chosen as {why}" for why, n in sorted(reasons.items())]
    found.notes.append("only adenocarcinomas: all mutants are, so others would teach histology")
    return found


def _name(record: Record) -> str:
    name = next((record[column] for column in NAMES if column in record), None)
    if name is None:
        raise InputError(f"the clinical table of NSCLC Radiogenomics has no column {' or '.join(NAMES)}")
    return name


def _egfr(record: Record) -> str:
    """Mutant or wild; empty where it is not known."""
    text = record[EGFR].lower()
    if text not in CLASSES:
        raise InputError(f"{_name(record)}: {EGFR} is none of the known values")
    return CLASSES[text]


def _is_adenocarcinoma(record: Record) -> bool:
    return record["Histology"].lower() == "adenocarcinoma"


def _table_counts(records: dict[str, Record]) -> Counter[str]:
    counts = Counter({"patients in the table": len(records)})
    for record in records.values():
        egfr = _egfr(record)
        counts["female"] += sex_of(record["Gender"]) == "F"
        counts[f"EGFR {egfr or 'not known'}"] += 1
        counts[f"{egfr} adenocarcinomas"] += _is_adenocarcinoma(record)
    return counts


def choose(patient: Patient, record: Record) -> tuple[CTSeries | None, str]:
    """The patient's CT, and by which rule; or none, and why.

    First the series that the tumour's segmentation refers to, then one of the study of the table's CT date,
    then the finest whose description speaks of lung, chest or thin slices; never the CT of a PET, a scout,
    or slices 5 mm apart.
    """
    axial = [s for s in usable(patient.series) if s.spacing < THICKEST]
    if marked := referred(patient, "SEG", axial):
        return finest(marked), "the one the segmentation refers to"
    plain = [
        s for s in originals(axial) or axial
        if "PT" not in patient.other.get(s.study, set()) and not NOT_CHEST.search(" ".join(s.texts))
    ]  # fmt: skip
    if not plain:
        return None, f"of {len(patient.series)} CT series none is axial, under 5 mm and apart from a PET"
    when = date_of(record["CT Date"])
    if when and (same := [s for s in plain if s.when == when]):
        return finest(same), "the finest of the table's CT date"
    if described := [s for s in plain if LUNG.search(" ".join(s.texts))]:
        return finest(described), "the finest described as lung, chest or thin"
    return finest(plain), "the finest; no date or description tells"


COLLECTION = Collection(
    name="nsclc-radiogenomics",
    title="NSCLC Radiogenomics (TCIA)",
    uses=("egfr",),
    licence=Stated("CC BY 3.0", "memory"),
    citation="Bakr et al. Scientific Data 2018;5:180202; data doi 10.7937/K9/TCIA.2017.7hs46erv",
    address=Stated("https://www.cancerimagingarchive.net/collection/nsclc-radiogenomics/", "code"),
    size=Stated("about 98 GB", "memory"),
    claims="The auxiliary task of the paper on 43 mutant and 109 wild-type adenocarcinomas, where the paper "
    "had 4,106 patients: a pretraining at a small scale. Surgical candidates of two American hospitals.",
    gather=gather,
    refused={"diagnosis": "no patient with COVID-19"},
    counts={
        "patients in the table": Count((211,)),
        "female": Count((76,)),
        "EGFR wild": Count((129,)),
        "EGFR mutant": Count((43,)),
        "EGFR not known": Count((39,)),
        "mutant adenocarcinomas": Count((43,)),
        "wild adenocarcinomas": Count((109,)),
        "mutant adenocarcinomas with a CT": Count((43,), "disputed"),
        "wild adenocarcinomas with a CT": Count((109,), "disputed"),
    },
    unconfirmed=(
        "144 patients have a segmentation of the tumour",
        "every patient has a CT that fits the rule",
    ),
)
