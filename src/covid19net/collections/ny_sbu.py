"""COVID-19-NY-SBU: days in hospital of COVID-19 patients; discharge and death are kept apart."""

from collections import Counter
from datetime import date
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.layout import Record, number, sex_of, table_with, tables_with
from covid19net.collections.tcia import CTSeries, Patient, date_of, finest, originals, patients_of, usable
from covid19net.errors import InputError

PATIENT = r"A\d{6}"
ID = "to_patient_id"
COLUMNS = ("last.status", "age.splits", "gender_concept_name", "visit_start_datetime", "visit_concept_name",
           "length_of_stay")  # fmt: skip
INPATIENT = "Inpatient Visit"
BANDS = {"[18,59]": "18-59", "(59,74]": "60-74", "(74,90]": "75-90"}  # those over 90 are in the last
# The only columns that are taken: known at admission. What happened in hospital (intensive care, ventilation,
# injuries of liver and kidney, heparin) is an outcome, and no column of the manifest is made of it.
ADMISSION = {
    "htn_v": "hypertension",
    "dm_v": "diabetes",
    "cad_v": "cardiovascular",
    "ckd_v": "kidney",
    "malignancies_v": "malignancy",
    "copd_v": "copd",
}
ANSWERS = {"yes": "yes", "no": "no"}  # NA for about a fifth: the chart was not read
FIRST_DAY, LAST_DAY = -1, 3  # from the start of the visit to the scan
CHEST = re.compile(r"chest|thora|lung|pulmon", re.IGNORECASE)


def gather(folder: Path, _made: Path, progress: Progress) -> Gathered:
    """Inpatients with a chest CT about their admission.

    Raises:
        InputError: no clinical file, or one without patients' ids; a status that is none; no patient.
    """
    records = _records(folder)
    found, counts, left = Gathered(), _table_counts(records), Counter[str]()
    for patient in patients_of(folder, PATIENT, found, progress):
        record = records.get(patient.name)
        if record is None:
            found.gaps.append(f"{patient.name}: not in the clinical file")
            continue
        row, why = _row(patient, record)
        if row is None:
            left[why] += 1
            continue
        counts["inpatients with a chest CT"] += 1
        counts[f"of them {record['last.status']}"] += 1
        found.rows.append(row)
    found.counts |= dict(counts)
    found.notes += [f"{n} with images left out: {why}" for why, n in sorted(left.items())]
    found.notes.append("age is known as one of three bands (age_band); there is no age in years")
    found.notes.append("discharged and died are different events: death competes with discharge")
    return found


def _records(folder: Path) -> dict[str, Record]:
    if not tables_with(folder, (ID, *COLUMNS)) and tables_with(folder, COLUMNS[:1]):
        raise InputError(
            f"{folder.name}: the clinical file has no {ID}, cannot be joined; a reduced copy is refused, "
            "get deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
        )
    rows = table_with(folder, (ID, *COLUMNS), "the clinical file of COVID-19-NY-SBU")
    if len({row[ID] for row in rows}) < len(rows):
        raise InputError("the clinical file of COVID-19-NY-SBU: a patient stands in it twice")
    return {row[ID]: row for row in rows}


def _table_counts(records: dict[str, Record]) -> Counter[str]:
    counts = Counter({"patients in the table": len(records)})
    for record in records.values():
        if record["last.status"] not in ("discharged", "deceased"):
            raise InputError(f"{record[ID]}: last.status is neither discharged nor deceased")
        counts[record["last.status"]] += 1
    return counts


def _row(patient: Patient, record: Record) -> tuple[dict[str, object] | None, str]:
    """A row of the manifest; or None, and why."""
    start, days = date_of(record["visit_start_datetime"]), number(record["length_of_stay"])
    if record["visit_concept_name"] != INPATIENT:
        return None, "no inpatient visit"
    if start is None or days is None:
        return None, "start or length of the visit not known"
    scan, why = choose(patient, start)
    if scan is None:
        return None, why
    died = record["last.status"] == "deceased"
    row = {name: value for name, value in scan.row().items() if name != "age"}  # no years beside bands
    row |= {"patient_id": patient.name, "days": int(days), "discharged": "no" if died else "yes"}
    row |= {"died": "yes" if died else "no", "age_band": BANDS.get(record["age.splits"], "")}
    row |= {
        "choice": why,
        "sex": sex_of(record["gender_concept_name"]),
        "set": "training",
        "centre": "Stony Brook",
    }
    return row | {
        ours: ANSWERS.get(record.get(theirs, "").lower(), "") for theirs, ours in ADMISSION.items()
    }, ""


def choose(patient: Patient, start: date) -> tuple[CTSeries | None, str]:
    """The finest chest CT of the study nearest to the start of the visit; or none, and why."""
    chest = [
        s for s in originals(patient.series) or usable(patient.series) if CHEST.search(" ".join(s.texts))
    ]
    if not chest:
        return None, "no axial chest CT"
    if any(s.when is None for s in chest):
        return None, "date of the CT not known; metadata.csv tells it"
    near = [(abs((s.when - start).days), s) for s in chest if s.when and _in_time((s.when - start).days)]
    if not near:
        return None, f"no chest CT from day {FIRST_DAY} to day {LAST_DAY} of the visit"
    best = min(apart for apart, _ in near)
    return finest(
        [s for apart, s in near if apart == best]
    ), f"the finest chest CT {best} days from the start"


def _in_time(days: int) -> bool:
    return FIRST_DAY <= days <= LAST_DAY


COLLECTION = Collection(
    name="ny-sbu",
    title="COVID-19-NY-SBU (TCIA)",
    uses=("prognosis", "analysis"),
    licence=Stated("CC BY 4.0", "code"),
    citation="Saltz et al. 2021, The Cancer Imaging Archive, doi 10.7937/TCIA.BBAG-2923",
    address=Stated("https://doi.org/10.7937/TCIA.BBAG-2923; download Modality CT alone", "code"),
    size=Stated("several hundred GB with the radiographs", "memory"),
    claims="A pilot of the prognosis by days in hospital: some 60 patients with a chest CT, where the paper "
    "followed 471. Every stay is complete. No comparison with the paper's numbers is justified.",
    gather=gather,
    refused={
        "diagnosis": "patients with COVID-19 only; with controls from elsewhere the class is the scanner"
    },
    counts={
        "patients in the table": Count((1384, 1365)),
        "discharged": Count((1201, 1183)),
        "deceased": Count((183, 182)),
    },
    unconfirmed=(
        "how many patients have a CT: 64 with a study named CHEST, 57 of them about the start of the visit",
        "the headers hold no age",
        "the unit of C-reactive protein is not stated; it is not taken",
    ),
)
