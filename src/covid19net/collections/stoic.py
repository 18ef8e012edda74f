"""STOIC2021: severe outcome within a month of patients with positive PCR; not a set for diagnosis."""

from collections import Counter
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.images import refuse_picture
from covid19net.collections.layout import search, sex_of, table_with
from covid19net.errors import InputError

COLUMNS = ("PatientID", "probCOVID", "probSevere")
BANDS = {"35": "under 40", "45": "40-50", "55": "50-60", "65": "60-70", "75": "70-80", "85": "over 80"}
LONGEST_HEADER = 1 << 16  # bytes


def gather(folder: Path, _made: Path, _progress: Progress) -> Gathered:
    """Patients with positive PCR; the others are counted and left out.

    Raises:
        InputError: no reference.csv, values it should not hold, or 8-bit scans.
    """
    table = table_with(folder, COLUMNS, "STOIC's reference.csv")
    scans: dict[str, Path] = {}
    for path in search(folder, lambda entry: entry.is_file() and entry.name.lower().endswith(".mha")):
        if path.stem in scans:
            raise InputError(f"{path.name}: there twice in {folder.name}; is the download there twice?")
        scans[path.stem] = path
    found, counts = Gathered(), Counter[str]()
    for record in table:
        name, covid, severe = (record[column] for column in COLUMNS)
        if {covid, severe} - {"0", "1"} or (severe == "1" and covid == "0"):
            raise InputError(f"{name}: probCOVID and probSevere are not what they can be")
        counts["PCR positive"] += covid == "1"
        counts["severe"] += severe == "1"
        counts["scans"] += name in scans
        if covid == "1" and name in scans:
            refuse_picture(scans[name])
            row = {"patient_id": name, "scan": scans[name], "severity": "severe" if severe == "1" else "mild"}
            found.rows.append(row | _person(scans[name]))
    found.counts = {"patients in the table": len(table)} | {
        k: counts[k] for k in ("PCR positive", "severe", "scans")
    }
    found.notes.append(
        f"{len(table) - counts['PCR positive']} with negative PCR left out: many have clear lungs"
    )
    found.notes.append("severe: intubation or death within a month; age is a band of ten years (age_band)")
    unknown = sum(not row["age_band"] for row in found.rows)
    if unknown:
        found.notes.append(f"{unknown} without an age in the scan's header")
    return found


def _person(scan: Path) -> dict[str, object]:
    """Age band and sex from the text header; nothing else of it is looked at."""
    with scan.open("rb") as file:
        head = file.read(LONGEST_HEADER).split(b"ElementDataFile")[0].decode("latin-1")
    age, sex = (
        re.search(rf"^{key}\s*=\s*(.*?)\s*$", head, re.MULTILINE) for key in ("PatientAge", "PatientSex")
    )
    digits = re.search(r"[1-9]\d*", age[1]) if age else None
    return {"age_band": BANDS.get(digits[0], "") if digits else "", "sex": sex_of(sex[1]) if sex else ""}


COLLECTION = Collection(
    name="stoic",
    title="STOIC2021 training set",
    uses=("severity", "analysis"),
    licence=Stated("CC BY-NC 4.0", "page"),
    citation="Revel et al. Radiology 2021;301:E361",
    address=Stated("https://registry.opendata.aws/stoic2021-training/", "page"),
    size=Stated("about 280 GB", "memory"),
    claims="Severe outcome at one month (intubation or death) of patients with positive PCR. Hospitals are "
    "hidden, so nothing can be said of another hospital; there are no days.",
    gather=gather,
    refused={
        "diagnosis": "negative PCR is not other pneumonia; many of these have clear lungs",
        "prognosis": "no days of stay; the outcome is yes or no at one month",
    },
    counts={
        "patients in the table": Count((2000,), "page"),
        "scans": Count((2000,), "page"),
        "PCR positive": Count((1205,), "memory"),
        "severe": Count((301,), "memory"),
    },
)
