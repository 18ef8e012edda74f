"""The covariates of a sample: clinical values of a manifest, DL features stored beside it."""

from collections.abc import Mapping, Sequence

import numpy as np

from covid19net.cohort import FAULTS_SHOWN, Patient, any_comorbidity
from covid19net.errors import InputError
from covid19net.features import FEATURES, Analysis

_COLUMNS = {
    "age": "age",
    "sex_male": "sex",
    "comorbidity": "comorbidity",
}  # covariate -> column of a manifest


def sample_covariates(
    patients: Sequence[Patient], names: Sequence[str], features: Mapping[str, Analysis]
) -> np.ndarray:
    """Covariates of patients of a manifest; nothing is filled in.

    Args:
        patients: rows of the manifest.
        names: covariates, as in `PrognosticModel.covariates`.
        features: patient_id -> stored analysis, where a DL feature is among the names.

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


def _value(patient: Patient, name: str, features: Mapping[str, Analysis], faults: list[str]) -> float:
    if name in FEATURES:
        if patient.patient_id in features:
            return float(features[patient.patient_id].features[FEATURES.index(name)])
        fault = f"row {patient.row}: no features of this patient"
        faults += [] if fault in faults[-1:] else [fault]
        return np.nan
    value = any_comorbidity(patient) if name == "comorbidity" else patient.values.get(_COLUMNS[name])
    if value is None:
        known = name == "age" and "age_band" in patient.values
        hint = " (known as a band, whose middle --age-band middle takes)" if known else ""
        faults.append(f"row {patient.row} column {_COLUMNS[name]} is empty{hint}")
        return np.nan
    return float(str(value)) if name == "age" else float(value == "M" if name == "sex_male" else bool(value))
