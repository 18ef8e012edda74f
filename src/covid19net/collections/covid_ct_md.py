"""COVID-CT-MD: COVID-19, community-acquired pneumonia and normal lungs from one centre, in DICOM."""

from collections import Counter
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.headers import facts_of, first_slice
from covid19net.collections.layout import entries, search
from covid19net.errors import InputError

# The download says "COVID-19 Cases", the sample on GitHub "COVID-19 subjects".
CLASS = re.compile(r"(COVID-19|Cap|Normal)[ _](cases|subjects)", re.IGNORECASE)
CODES = {"covid-19": "P", "cap": "cap", "normal": "normal"}  # how a patient's folder begins
LABELS = {"covid-19": "covid", "cap": "other"}


def gather(folder: Path, _made: Path, _progress: Progress) -> Gathered:
    """Patients of the two pneumonias; normal lungs are counted and left out.

    Raises:
        InputError: a patient in a folder of another class; 8-bit images.
    """
    found, counts = Gathered(), Counter[str]()
    for group in search(folder, lambda entry: entry.is_dir() and bool(CLASS.fullmatch(entry.name))):
        kind = CLASS.fullmatch(group.name)[1].lower()  # type: ignore[index]
        for entry in entries(group):
            if entry.is_dir():
                _add(found, Path(entry.path), kind, counts)
    found.counts = {
        "COVID-19": counts["covid-19"],
        "CAP": counts["cap"],
        "normal": counts["normal"],
        "men with COVID-19": counts["covid-19 M"],
        "men with CAP": counts["cap M"],
    }
    if counts["normal"]:
        found.notes.append(f"{counts['normal']} normal left out: not pneumonia")
    if counts["covid-19"] > PATIENTS[0]:
        found.notes.append("more COVID-19 folders than the paper's 169; scripts of its authors speak of 171")
    found.notes.append(
        "a slice's number in its file name does not follow space; slices are put in order by place"
    )
    return found


def _add(found: Gathered, place: Path, kind: str, counts: Counter[str]) -> None:
    if not re.fullmatch(rf"{CODES[kind]}\d+", place.name, re.IGNORECASE):
        raise InputError(f"{place.parent.name}/{place.name}: not a patient of this class")
    counts[kind] += 1
    if kind not in LABELS:
        return
    plane = first_slice(place)
    if plane is None:
        found.gaps.append(f"{place.name}: no DICOM image in its folder")
        return
    facts = facts_of(plane)
    counts[f"{kind} {facts.get('sex', '')}"] += 1
    row = {"patient_id": place.name, "scan": place, "label": LABELS[kind], "set": "validation"}
    found.rows.append(row | {"centre": "COVID-CT-MD", "type": "CAP" if kind == "cap" else ""} | facts)


PATIENTS = (169, 171)
COLLECTION = Collection(
    name="covid-ct-md",
    title="COVID-CT-MD",
    uses=("diagnosis",),
    licence=Stated("to be read on the figshare record", "disputed"),
    citation="Afshar et al. Scientific Data 2021;8:121",
    address=Stated("figshare collection 5129081; code: https://github.com/ShahinSHH/COVID-CT-MD", "page"),
    size=Stated("about 25 GB", "memory"),
    claims="External validation of COVID-19 against other pneumonia in one centre, with age and sex. The "
    "COVID-19 scans are of 2020, the others of 2018 and 2019: the date goes with the class.",
    gather=gather,
    refused={"prognosis": "no days of stay"},
    counts={
        "COVID-19": Count(PATIENTS, "page"),
        "CAP": Count((60,), "page"),
        "normal": Count((76,), "page"),
        "men with COVID-19": Count((108,), "disputed"),
        "men with CAP": Count((35,), "disputed"),
    },
    unconfirmed=(
        "every header tells the sex",
        "one centre, in Tehran",
        "columns of the clinical CSV on figshare have not been seen",
    ),
)
