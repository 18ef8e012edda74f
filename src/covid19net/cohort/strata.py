"""The covariates by which every result is given once more: who was scanned where, how, and who they are."""

from collections.abc import Callable, Sequence

from covid19net.cohort.manifest import Patient

THIN = 3.0  # mm; slices up to this are called thin
AGES = ((40.0, "0-39"), (60.0, "40-59"), (75.0, "60-74"))  # below so many years; groups chosen here
OLD = "75 and over"
NOT_KNOWN = "not known"


def slices_of(thickness: float) -> str:
    """Thin or thick, of a slice thickness in mm."""
    return "thin" if thickness <= THIN else "thick"


def age_group(years: float) -> str:
    """Name of an age group; in the order of the alphabet the groups rise."""
    return next((name for below, name in AGES if years < below), OLD)


def _number(column: str, name: Callable[[float], str]) -> Callable[[Patient], str]:
    return lambda patient: name(float(str(patient.values[column]))) if column in patient.values else NOT_KNOWN


def _text(column: str) -> Callable[[Patient], str]:
    return lambda patient: str(patient.values.get(column, NOT_KNOWN))


def _type(patient: Patient) -> str:
    """Type of pneumonia; a patient with COVID-19 needs no second entry that says so."""
    return "covid" if patient.values.get("label") == "covid" else _text("type")(patient)


COVARIATES: dict[str, tuple[str, Callable[[Patient], str]]] = {  # name -> column, stratum of a patient
    "centre": ("centre", _text("centre")),
    "type": ("type", _type),
    "slices": ("thickness", _number("thickness", slices_of)),
    "kernel": ("kernel", _text("kernel")),
    "vendor": ("vendor", _text("vendor")),
    "sex": ("sex", _text("sex")),
    "age group": ("age", _number("age", age_group)),
    "severity": ("severity", _text("severity")),
}


def strata_of(patients: Sequence[Patient]) -> dict[str, list[str]]:
    """Strata of patients by each covariate that their manifest holds.

    Returns:
        Covariate (centre, type, slices, kernel, vendor, sex, age group, severity) -> the stratum of each
        patient, in their order; "not known" where the manifest says nothing. A covariate of which it says
        nothing about anybody is absent.
    """
    return {
        name: [of(patient) for patient in patients]
        for name, (column, of) in COVARIATES.items()
        if any(column in patient.values for patient in patients)
    }
