"""What the networks said of patients, and the table it is stored in: score, 64 DL features, lung density."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from covid19net.cohort import Patient, write_table
from covid19net.density import NAMES as DENSITY
from covid19net.errors import InputError
from covid19net.table import read_cells

FEATURES = tuple(f"f{i:02d}" for i in range(64))  # the 64-dimensional DL feature, in its order
NEEDED = ("patient_id", "probability", *FEATURES)
OPTIONAL = ("distance", *DENSITY)
LARGEST = 1e6  # of any number of the table; features lie near 1


@dataclass(frozen=True, eq=False)
class Analysis:
    """What the networks and the HU say of one patient.

    Attributes:
        probability: of COVID-19 against other pneumonia, in [0, 1].
        features: DL features, float64, (64,).
        distance: of the features from the training images of the network; None where that is not known.
        density: name -> value, see `Density`; empty where it was not measured.
        findings: codes a reader must know.
        weights: SHA-256 of the diagnosis network; empty where that is not known.
    """

    probability: float
    features: np.ndarray
    distance: float | None = None
    density: Mapping[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    weights: str = ""


def write_features(patients: Sequence[Patient], found: Mapping[str, Analysis], path: Path) -> Path:
    """Write a table of analyses: NEEDED, distance, density, findings, weights; one row a patient.

    Raises:
        InputError: the file cannot be written.
        ResourceError: the disk is full.
    """
    rows = []
    for patient in patients:
        analysis = found.get(patient.patient_id)
        if analysis is None:
            continue
        row: dict[str, object] = {"patient_id": patient.patient_id}
        row["probability"] = f"{analysis.probability:.9g}"
        row |= {name: f"{v:.7g}" for name, v in zip(FEATURES, analysis.features.tolist(), strict=True)}
        row["distance"] = "" if analysis.distance is None else f"{analysis.distance:.6g}"
        row |= {name: analysis.density.get(name, "") for name in DENSITY}
        row |= {"findings": " ".join(analysis.findings), "weights": analysis.weights}
        rows.append(row)
    return write_table(path, rows)


def read_features(path: Path) -> dict[str, Analysis]:
    """Read stored analyses as `write_features` writes them; what follows the features may be absent.

    The table of `covid19net batch` is one too; its failed scans are left out.

    Raises:
        InputError: no such file, a column that is missing, a double id, or a cell that is no number, by row.
    """
    (header, *rows), comma = read_cells(path)
    names = [name.strip().lower() for name in header]
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise InputError(f"{path.name}: column {', '.join(missing)} is missing")
    found: dict[str, Analysis] = {}
    for number, cells in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        row = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        if row.get("status") == "failed":  # in the table of a batch, which has a row for every scan
            continue
        place = f"{path.name}: row {number}"
        patient_id = row.get("patient_id", "")
        if patient_id in found:
            raise InputError(f"{place}: the patient stands in an earlier row as well")
        found[patient_id] = _analysis(row, place, comma=comma)
    if not found:
        raise InputError(f"{path.name}: the table has no rows")
    return found


def _analysis(row: Mapping[str, str], place: str, *, comma: bool) -> Analysis:
    def number(name: str) -> float:
        text = row.get(name, "")
        try:
            value = float(text.replace(",", ".") if comma else text)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InputError(f"{place} column {name}: not a finite number")
        if abs(value) > LARGEST:
            raise InputError(f"{place} column {name}: {value:g} is no feature")
        return value

    probability = number("probability")
    if not 0 <= probability <= 1:
        raise InputError(f"{place} column probability: {probability:g} does not lie between 0 and 1")
    features = np.array([number(name) for name in FEATURES])
    more = {name: number(name) for name in OPTIONAL if row.get(name)}
    distance = more.pop("distance", None)
    findings = tuple(row.get("findings", "").split())
    return Analysis(probability, features, distance, more, findings, row.get("weights", ""))
