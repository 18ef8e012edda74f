"""MIDRC-RICORD 1a and 1b: positive and negative PCR; the negative are not other pneumonia."""

from collections import Counter
from pathlib import Path
import re

from covid19net.collections.collection import Collection, Count, Gathered, Progress, Stated
from covid19net.collections.layout import Record, number, records_of, sex_of, tables_with
from covid19net.collections.tcia import finest, originals, patients_of
from covid19net.errors import InputError

PATIENT = r"MIDRC-RICORD-1[AB]-\d+-\d+"
COLUMNS = ("Anon MRN", "Anon Age", "Anon Sex", "Result")
RESULTS = {"1A": "DETECTED", "1B": "NOT DETECTED"}
EMBOLISM = re.compile(r"\bpe\b|angio|embol|\bcta\b", re.IGNORECASE)


def gather(folder: Path, _made: Path, progress: Progress) -> Gathered:
    """One axial original series of each patient, without a label.

    Raises:
        InputError: no patient, files of another patient, or a PCR that does not fit the part.
    """
    records = {r["Anon MRN"]: r for path in tables_with(folder, COLUMNS) for r in records_of(path)}
    found, counts, sites = Gathered(), Counter[str](), set[str]()
    for patient in patients_of(folder, PATIENT, found, progress):
        part, site, code = re.fullmatch(r"MIDRC-RICORD-(\w+)-(\d+)-(\d+)", patient.name.upper()).groups()  # type: ignore[union-attr]
        counts[f"patients of {part.lower()}"] += 1
        sites.add(site)
        axial = originals(patient.series)
        counts["series left out"] += len(patient.series) - len(axial)
        if not axial:
            found.notes.append(f"{patient.name} left out: no axial original series")
            continue
        plain = [s for s in axial if not EMBOLISM.search(" ".join(s.texts))]
        counts["angiographies for want of others"] += not plain
        record = records.get(f"{site}-{code}")
        row = {**finest(plain or axial).row(), "patient_id": patient.name, "centre": site}
        row["choice"] = f"the finest of {len(plain or axial)} axial original series"
        found.rows.append(row | _person(record, part) | {"type": f"PCR {RESULTS[part].lower()}"})
    if not records:
        found.notes.append("no clinical table: age and sex from the headers alone, where they are")
    left = counts["series left out"]
    found.notes.append(
        f"{left} coronal, sagittal, derived or scout series left out; the finest axial original read"
    )
    found.notes.append("no label: negative PCR is not other pneumonia")
    if counts["angiographies for want of others"]:
        found.notes.append(f"{counts['angiographies for want of others']} have an angiography only")
    found.counts |= {"patients of 1a": counts["patients of 1a"], "patients of 1b": counts["patients of 1b"]}
    found.counts["sites"] = len(sites)
    return found


def _person(record: Record | None, part: str) -> dict[str, object]:
    if record is None:
        return {}
    if record["Result"].upper() != RESULTS[part]:
        raise InputError(f"MIDRC-RICORD-{part}-{record['Anon MRN']}: Result is not {RESULTS[part]}")
    return {"age": number(record["Anon Age"]), "sex": sex_of(record["Anon Sex"])}


COLLECTION = Collection(
    name="ricord",
    title="MIDRC-RICORD 1a and 1b (TCIA)",
    uses=("analysis",),
    licence=Stated("CC BY-NC 4.0", "code"),
    citation="Tsai et al. Radiology 2021;299:E204",
    address=Stated("https://www.cancerimagingarchive.net, MIDRC-RICORD-1a and MIDRC-RICORD-1b", "memory"),
    size=Stated("12 GB for 1a", "code"),
    claims="Scans of four sites to run a finished model on. What it says of the negative is no specificity "
    "against other pneumonia. The same patients may be in MIDRC Open-R1.",
    gather=gather,
    refused={
        "diagnosis": "1a has positive PCR only, and the negative of 1b are not other pneumonia",
        "prognosis": "no outcome",
    },
    counts={"patients of 1a": Count((110,)), "patients of 1b": Count((117,)), "sites": Count((4,))},
    unconfirmed=("the patients are also in MIDRC Open-R1", "size of 1b"),
)
