"""The scans of a manifest, one after the other: a table of millions is never in memory.

The manifest is read twice: once to check every cell, keeping sixteen bytes a row, and once to hand out cases.
"""

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
import hashlib
from pathlib import Path
import re

import numpy as np

from covid19net.cohort import COLUMNS, COMORBIDITIES, FAULTS_SHOWN, Patient, Value, any_comorbidity
from covid19net.cohort.manifest import checked_row, contradictions, surplus
from covid19net.errors import InputError
from covid19net.prognosis.model import Clinical
from covid19net.table import rows_of

DICOMWEB = "dicomweb:"  # how the scan of a row begins that is fetched
USED = ("patient_id", "scan", "age", "sex", "comorbidity", *COMORBIDITIES)
READ: Mapping[str, Callable[[str], Value]] = {name: COLUMNS[name] for name in USED} | {
    "scan_id": str,
    "series": str,
}
NEEDED = ("patient_id", "scan")
_SAFE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?", re.ASCII)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows opens no such file


@dataclass(frozen=True)
class Case:
    """One scan to analyze; small, because it travels.

    Attributes:
        place: among the cases of the manifest, from 0.
        patient_id: as in the manifest.
        scan_id: as in the manifest; empty without one.
        scan: absolute path, or "dicomweb:" and the address of a series.
        name: of its folder, see `case_name`.
        series: series instance UID to read; None: the finest axial CT.
        age: years.
        sex: "F" or "M".
        comorbidity: any.
    """

    place: int
    patient_id: str
    scan_id: str
    scan: str
    name: str
    series: str | None = None
    age: float | None = None
    sex: str | None = None
    comorbidity: bool | None = None

    @property
    def clinical(self) -> Clinical:
        """What is known of the patient."""
        return Clinical(self.age, self.sex, self.comorbidity)


def case_name(patient_id: str, scan_id: str) -> str:
    """Name of a case's folder: PATIENT, PATIENT+SCAN, or one of our own where that is no safe file name."""
    parts = [part for part in (patient_id, scan_id) if part]
    if all(_SAFE.fullmatch(part) and not _DEVICES.fullmatch(part) for part in parts):
        return "+".join(parts)
    return f"case-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"


def check_manifest(path: Path) -> int:
    """Check every cell that a batch uses. Whether scans are there is not asked: a missing one is one failure.

    Returns:
        Number of cases.

    Raises:
        InputError: no table, a column missing, cells at fault, two rows of one name, or no rows; faults are
            named by row and column, the first of them.
    """
    faults: list[str] = []
    count, names = 0, array("Q")
    lines = array("Q")
    for number, found, case in _checked(path):
        faults += found[: max(FAULTS_SHOWN - len(faults), 0)]
        count += 1
        if case is not None:
            names.append(_digest(case.name.casefold()))
            lines.append(number)
    faults += _doubles(names, lines)
    if faults:
        raise InputError(f"{path.name}: {'; '.join(faults)}")
    if not count:
        raise InputError(f"{path.name}: the table has no rows")
    return count


def cases_of(path: Path) -> Iterator[Case]:
    """The cases of a manifest that `check_manifest` has passed, in its order."""
    for _, _, case in _checked(path):
        if case is not None:
            yield case


def _checked(path: Path) -> Iterator[tuple[int, list[str], Case | None]]:
    """Each row that is not empty: its line, its faults, and its case where the needed cells are there."""
    folder, rows = path.parent.absolute(), rows_of(path)
    first, _ = next(rows)
    header = [name.strip().lower() for name in first]
    lacking = [name for name in NEEDED if name not in header]
    twice = [name for name in READ if header.count(name) > 1]
    if lacking or twice:
        faults = [f"column {name} is missing" for name in lacking]
        faults += [f"column {name} stands more than once" for name in twice]
        raise InputError(f"{path.name}: {'; '.join(faults)}")
    place = 0
    for number, (cells, comma) in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = checked_row(dict(zip(header, cells, strict=False)), READ, NEEDED, comma=comma)
        faults = [f"row {number} column {column}: {fault}" for column, fault in row.faults]
        faults += [*surplus(header, cells, number), *contradictions(row.good, number)]
        named = all(name in row.good for name in NEEDED)
        yield number, faults, _case(row.good, place, folder, number) if named else None
        place += 1


def _case(values: Mapping[str, Value], place: int, folder: Path, number: int) -> Case:
    patient_id, scan_id = str(values["patient_id"]), str(values.get("scan_id", ""))
    scan, age, sex = str(values["scan"]), values.get("age"), values.get("sex")
    series = values.get("series")
    return Case(
        place=place,
        patient_id=patient_id,
        scan_id=scan_id,
        scan=scan if scan.startswith(DICOMWEB) else str(folder / scan),
        name=case_name(patient_id, scan_id),
        series=None if series is None else str(series),
        age=None if age is None else float(str(age)),
        sex=None if sex is None else str(sex),
        comorbidity=any_comorbidity(Patient(patient_id, number, values)),
    )


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")


def _doubles(names: "array[int]", lines: "array[int]") -> list[str]:
    """Rows whose results would lie in one folder, on a file system that does not tell capitals either."""
    digests = np.frombuffer(names, np.uint64) if names else np.empty(0, np.uint64)
    order = np.argsort(digests, kind="stable")
    same = np.flatnonzero(digests[order][1:] == digests[order][:-1])[:FAULTS_SHOWN]
    return [
        f"rows {lines[order[i]]} and {lines[order[i + 1]]} name the same patient and scan; columns "
        "patient_id and scan_id must tell them apart, not by capitals alone"
        for i in same
    ]
