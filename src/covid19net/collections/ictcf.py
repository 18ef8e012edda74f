"""iCTCF (HUST-19): pneumonia in two hospitals of Wuhan, with PCR; only its DICOM form can be used."""

from collections import Counter
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.headers import facts_of, first_slice
from covid19net.collections.layout import Record, entries, number, search, sex_of, table_with
from covid19net.errors import InputError

PATIENT = re.compile(r"Patient (\d+)(\.zip)?", re.IGNORECASE)
PCR = "SARS-CoV-2 nucleic acids"
MORBIDITY = ("Morbidity", "Morbidity outcome")  # of the copy, and of the site
COLUMNS = ("Hospital", "Patient", "Age", "Gender", PCR)
HOSPITALS = {"HUST-Union Hospital": ("Union", "training"), "HUST-Liyuan Hospital": ("Liyuan", "validation")}
SEVERITY = {"mild": "mild", "regular": "mild", "severe": "severe", "critically ill": "severe"}
DIED = {"deceased": "yes", "cured": "no"}  # else unknown


def gather(folder: Path, _made: Path, _progress: Progress) -> Gathered:
    """Patients whose class is certain and whose CT is there.

    Raises:
        InputError: no table; the JPEG form; a patient twice; an archive that cannot be read; a value that the
            table should not hold.
    """
    table = table_with(folder, COLUMNS, "iCTCF's table of patients")
    if len({record["Patient"] for record in table}) < len(table):
        raise InputError("iCTCF: a patient stands in its table twice")
    found, counts = Gathered(), Counter[str]()
    places = _places(folder)
    for record in table:
        _add(found, record, places.get(record["Patient"].lower()), counts)
    found.counts = {"patients in the table": len(table)} | {
        name: counts[name] for name in (*TABLE_COUNTS, *SCAN_COUNTS)
    }
    for what in ("suspected left out", "contradictory left out", "without a CT"):
        if counts[what]:
            found.notes.append(f"{counts[what]} {what}")
    if counts["control with a CT"] and counts["control with a CT"] == counts["control, CT negative"]:
        found.notes.append(
            f"all {counts['control with a CT']} controls with a CT are marked CT negative: the class may be "
            "told from any lesion at all; look at controls before claiming anything"
        )
    return found


def _places(folder: Path) -> dict[str, Path]:
    """Folder or archive of each patient's CT: `Patient N/CT`, or whatever else is there of the patient."""
    places: dict[str, Path] = {}
    for path in search(folder, lambda entry: bool(PATIENT.fullmatch(entry.name))):
        name = path.stem.lower() if path.is_file() else path.name.lower()
        if name in places:
            raise InputError(f"{path.name}: two folders of this patient; is the download there twice?")
        inside = entries(path) if path.is_dir() else []
        if path.is_file() or inside:
            named = (Path(e.path) for e in inside if e.is_dir() and e.name.upper() == "CT")
            places[name] = next(named, path)
    return places


def _label(record: Record) -> str:
    """The class by the stated rule (COVID-19 by PCR, others as controls), or why the patient is left out."""
    morbidity = next((record[name].lower() for name in MORBIDITY if name in record), "")
    positive = {"Positive": True, "Negative": False}.get(record[PCR])
    if positive is None or not morbidity:
        raise InputError(f"{record['Patient']}: {PCR} or Morbidity is none of the known values")
    if morbidity.startswith("suspected"):
        return "suspected left out"
    if morbidity.startswith("control"):
        return "contradictory left out" if positive else "other"
    return "covid" if positive else "contradictory left out"


def _add(found: Gathered, record: Record, place: Path | None, counts: Counter[str]) -> None:
    if record["Hospital"] not in HOSPITALS:
        raise InputError(f"{record['Patient']}: Hospital is none of {', '.join(HOSPITALS)}")
    centre, part = HOSPITALS[record["Hospital"]]
    label = _label(record)
    for name in (f"PCR {record[PCR].lower()}", centre, f"{record['Gender'].lower()}", label):
        counts[name] += 1
    counts["controls"] += label == "other"
    if label not in ("covid", "other"):
        return
    if place is None:
        counts["without a CT"] += 1
        return
    plane = first_slice(place)
    if plane is None:
        found.gaps.append(f"{record['Patient']}: no DICOM image in its folder or archive")
        return
    counts[f"{label} with a CT"] += 1
    if label == "other":
        counts["control with a CT"] += 1
        counts["control, CT negative"] += record.get("CT") == "Negative"
    row: dict[str, object] = {"patient_id": record["Patient"], "scan": place, "label": label, "set": part}
    row |= facts_of(plane) | {"centre": centre, "age": number(record["Age"]), "sex": sex_of(record["Gender"])}
    found.rows.append(row | _outcome(record, label))


def _outcome(record: Record, label: str) -> dict[str, object]:
    """Kind of the other pneumonia; severity and death of COVID-19. There are no dates."""
    if label == "other":
        return {"type": "CAP"}
    morbidity = next(record[name].lower() for name in MORBIDITY if name in record)
    return {
        "severity": SEVERITY.get(morbidity, ""),
        "died": DIED.get(record.get("Mortality", record.get("Mortality outcome", "")).lower(), ""),
    }


TABLE_COUNTS = {
    "PCR positive": Count((894,)),
    "PCR negative": Count((627,)),
    "controls": Count((328,)),
    "suspected left out": Count((299,)),
    "Union": Count((1126,)),
    "Liyuan": Count((395,)),
    "male": Count((756,)),
    "female": Count((765,)),
}
SCAN_COUNTS = {  # the table's, and the volumes that were made of the DICOM form
    "covid with a CT": Count((769, 763)),
    "other with a CT": Count((314, 309)),
}
COLLECTION = Collection(
    name="ictcf",
    title="iCTCF (HUST-19), in DICOM form",
    uses=("diagnosis", "severity"),
    licence=Stated("CC BY 4.0", "disputed"),
    citation="Ning et al. Nature Biomedical Engineering 2020;4:1197",
    address=Stated("https://ngdc.cncb.ac.cn/ictcf/HUST-19.php", "code"),
    size=Stated("300 to 400 GB as DICOM", "code"),
    claims="COVID-19 by PCR against community-acquired pneumonia in two hospitals of one city: Union trains, "
    "Liyuan validates. Every control with a CT is marked CT negative, so a model may tell no more "
    "than lesions.",
    gather=gather,
    refused={"prognosis": "no dates of admission or discharge, so no days of stay"},
    counts={"patients in the table": Count((1521,)), **TABLE_COUNTS, **SCAN_COUNTS},
    unconfirmed=("the site's column is called Morbidity outcome, that of the copy read here Morbidity",),
)
