"""Whose stay in hospital the prognosis is about."""

from covid19net.cohort.manifest import Patient

FEWEST_DAYS = 5.0  # the paper's prognosis takes patients followed for more than five days


def is_in_time(patient: Patient) -> bool:
    """Whether a patient has COVID-19 (or no label) and was seen for more than five days."""
    values = patient.values
    known = "days" in values and values.get("label", "covid") == "covid"
    return known and float(str(values["days"])) > FEWEST_DAYS


def is_followed(patient: Patient) -> bool:
    """Whether a patient has COVID-19 (or no label) and follow-up of more than five days."""
    return "discharged" in patient.values and is_in_time(patient)
