"""The covariates of a sample: clinical values of a manifest, DL features of a table beside it."""

from collections.abc import Collection, Mapping, Sequence
import csv
import io
from pathlib import Path

import numpy as np

from covid19net.cohort import FAULTS_SHOWN, Patient
from covid19net.errors import InputError
from covid19net.prognosis.model import FEATURES

LARGEST_TABLE = 100 << 20  # bytes
_COLUMNS = {
    "age": "age",
    "sex_male": "sex",
    "comorbidity": "comorbidity",
}  # covariate -> column of a manifest


def read_features(path: Path, names: Collection[str] = FEATURES) -> dict[str, dict[str, float]]:
    """Read DL features: a CSV with the columns patient_id and f00 to f63, others are left alone.

    Args:
        path: of the table.
        names: columns that are needed.

    Returns:
        patient_id -> name -> value.

    Raises:
        InputError: no such file, no table, a column missing, a cell that is no number, a patient twice.
    """
    rows, comma = _rows(path)
    lacking = sorted({"patient_id", *names} - set(rows[0]))
    if lacking:
        raise InputError(f"{path.name}: column {', '.join(lacking)} is missing")
    place = {name: rows[0].index(name) for name in ("patient_id", *names)}
    found: dict[str, dict[str, float]] = {}
    for number, cells in enumerate(rows[1:], start=2):
        if not any(cells):
            continue
        if len(cells) != len(rows[0]):
            raise InputError(f"{path.name}: row {number} has {len(cells)} cells, the header {len(rows[0])}")
        patient = cells[place["patient_id"]].strip()
        if patient in found:
            raise InputError(f"{path.name}: row {number}: the patient stands in an earlier row as well")
        where = f"{path.name}: row {number}"
        found[patient] = {name: _number(cells[place[name]], where, name, comma=comma) for name in names}
    return found


def _rows(path: Path) -> tuple[list[list[str]], bool]:
    """Cells, and whether numbers may have decimal commas."""
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise InputError(f"{path.name}: larger than {LARGEST_TABLE >> 20} MB, no table of features")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path.name}: {(error.strerror or 'cannot be read').lower()}") from error
    except UnicodeDecodeError:
        raise InputError(f"{path.name}: not text in UTF-8") from None
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{path.name}: not a CSV table: {error}") from error
    if not rows:
        raise InputError(f"{path.name}: empty")
    return [[name.strip().lower() for name in rows[0]], *rows[1:]], delimiter == ";"


def _number(text: str, where: str, name: str, *, comma: bool) -> float:
    try:
        value = float(text.replace(",", ".") if comma else text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise InputError(f"{where} column {name}: not a finite number")
    return value


def sample_covariates(
    patients: Sequence[Patient], names: Sequence[str], features: Mapping[str, Mapping[str, float]]
) -> np.ndarray:
    """Covariates of patients of a manifest; nothing is filled in.

    Args:
        patients: rows of the manifest.
        names: covariates, as in `PrognosticModel.covariates`.
        features: from `read_features`, where a DL feature is among the names.

    Returns:
        (patient, covariate).

    Raises:
        InputError: values that are missing, by row.
    """
    faults: list[str] = []
    rows = [[_value(patient, name, features, faults) for name in names] for patient in patients]
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(f"covariates: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
    return np.array(rows, np.float64)


def _value(
    patient: Patient, name: str, features: Mapping[str, Mapping[str, float]], faults: list[str]
) -> float:
    if name not in _COLUMNS:
        if patient.patient_id not in features:
            fault = f"row {patient.row}: no features of this patient"
            faults += [] if fault in faults[-1:] else [fault]
            return np.nan
        return features[patient.patient_id][name]
    value = patient.values.get(_COLUMNS[name])
    if value is None:
        faults.append(f"row {patient.row} column {_COLUMNS[name]} is empty")
        return np.nan
    return (
        float(value == "M")
        if name == "sex_male"
        else float(str(value))
        if name == "age"
        else float(bool(value))
    )
