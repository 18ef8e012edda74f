"""Which patients a training learns from, which tune it, which judge it, and what it is to find."""

from collections.abc import Sequence
from dataclasses import dataclass
import hashlib

from covid19net.cohort import FAULTS_SHOWN, Patient
from covid19net.errors import InputError

POSITIVE = {
    "label": "covid",
    "egfr": "mutant",
    "sex": "F",
}  # the value that is to be found, where it is a word
TUNING = 0.2  # share of the training patients that stops the training and sets the threshold
FEWEST = 2  # patients of each class that tuning needs


@dataclass(frozen=True)
class Split:
    """Patients of a training, each in one part only.

    Attributes:
        training: to learn from.
        tuning: of the same set; they stop the training and set the threshold.
        validation: set -> patients with a known class that are not of the training set; never used before the
            end.
    """

    training: tuple[Patient, ...]
    tuning: tuple[Patient, ...]
    validation: dict[str, tuple[Patient, ...]]


def is_positive(patient: Patient, column: str) -> bool:
    """Whether a patient is of the class to be found: COVID-19, mutant, or yes."""
    value = patient.values[column]
    return value == POSITIVE[column] if column in POSITIVE else value is True


def _by_set(patients: Sequence[Patient], column: str, training_set: str) -> dict[str, list[Patient]]:
    """Patients with a known class by their set; every fault is named by row, all at once."""
    divided = any("set" in p.values for p in patients)
    sets: dict[str, list[Patient]] = {}
    faults = []
    for patient in patients:
        name = patient.values.get("set") if divided else training_set
        if column in patient.values and name is None:
            faults.append(f"row {patient.row} column set: is empty")
        elif column in patient.values:
            sets.setdefault(str(name), []).append(patient)
        elif name == training_set:
            faults.append(f"row {patient.row} column {column}: is empty")
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(f"{len(faults)} faults: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
    return sets


def split_patients(patients: Sequence[Patient], column: str, training_set: str, *, seed: int = 0) -> Split:
    """Divide a manifest. A patient's part depends on the seed and the patient's id alone.

    Args:
        patients: of a manifest, with the column that is to be learned where it is known.
        column: "label", "egfr" or a yes-or-no column.
        training_set: value of the column `set`; where no patient has one, all are for training.
        seed: of the choice of tuning patients.

    Raises:
        InputError: patients without a set or, in the training set, without a class; too few of one class.
    """
    sets = _by_set(patients, column, training_set)
    chosen = sets.pop(training_set, [])
    training: list[Patient] = []
    tuning: list[Patient] = []
    for positive in (True, False):
        group = [p for p in chosen if is_positive(p, column) == positive]
        count = round(TUNING * len(group))
        if count < FEWEST:
            kinds = [is_positive(p, column) for p in chosen]
            raise InputError(
                f"set {training_set!r}, column {column}: {sum(kinds)} positive and {len(kinds) - sum(kinds)} "
                f"negative patients; at least {round(FEWEST / TUNING)} of each are needed"
            )
        group.sort(key=lambda p: hashlib.sha256(f"{seed}:{p.patient_id}".encode()).digest())
        tuning += group[:count]
        training += group[count:]
    return Split(tuple(training), tuple(tuning), {name: tuple(found) for name, found in sets.items()})
