"""What happened to the patients, and when: the border every survival sample passes once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid19net.cohort import FAULTS_SHOWN, Patient
from covid19net.errors import InputError

OF_INTEREST, COMPETING = 1, 2  # values of `Outcome.cause`; 0 is censored


@dataclass(frozen=True)
class EndPoint:
    """What is waited for.

    Attributes:
        name: "discharge", "death", "icu" or "ventilation".
        column: yes or no in the manifest.
        days: column of the day it happened; "days" where it ends the follow-up.
        adverse: whether it is bad: then a high hazard is a high risk. Discharge is good: there the risk is
            minus the linear predictor, and who is at high risk stays longer.
    """

    name: str
    column: str
    days: str
    adverse: bool


END_POINTS = {
    point.name: point
    for point in (
        EndPoint("discharge", "discharged", "days", adverse=False),
        EndPoint("death", "died", "days", adverse=True),
        EndPoint("icu", "icu", "icu_days", adverse=True),
        EndPoint("ventilation", "ventilated", "ventilated_days", adverse=True),
    )
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """Follow-up of a sample; all arrays have the axis (patient,).

    Attributes:
        time: days, above 0, float64.
        cause: 0 censored, 1 the event of interest, 2 a competing event (int8).

    Raises:
        InputError: empty, unequal lengths, a time that is not finite or not above 0, another cause.
    """

    time: np.ndarray
    cause: np.ndarray

    def __post_init__(self) -> None:
        time, cause = np.asarray(self.time, np.float64), np.asarray(self.cause)
        if time.ndim != 1 or cause.shape != time.shape:
            raise InputError(f"one time and one cause a patient are needed, got {time.shape}, {cause.shape}")
        if not time.size:
            raise InputError("no patients: there is no follow-up")
        if not (np.isfinite(time) & (time > 0)).all():
            raise InputError(f"{(~(time > 0)).sum()} of {time.size} times are not above 0")
        if not np.isin(cause, (0, OF_INTEREST, COMPETING)).all():
            raise InputError("causes are 0 (censored), 1 (the event) or 2 (a competing event)")
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "cause", cause.astype(np.int8))

    @property
    def event(self) -> np.ndarray:
        """Whether the event of interest was seen, bool; a competing event counts as censored."""
        seen: np.ndarray = self.cause == OF_INTEREST
        return seen

    @property
    def size(self) -> int:
        """Patients."""
        return self.time.size

    def __getitem__(self, chosen: np.ndarray) -> "Outcome":
        """A part of the sample, by bool or index array."""
        return Outcome(self.time[chosen], self.cause[chosen])

    def check_events(self) -> None:
        """Refuse a sample in which nothing happened.

        Raises:
            InputError: no event of interest, with the counts.
        """
        if not self.event.any():
            raise InputError(f"no event among {self.size} patients: all are censored")


def outcome_of(patients: Sequence[Patient], end_point: str = "discharge") -> Outcome:
    """Follow-up of patients of a manifest.

    Whatever else ends the stay before the event competes with it: death with discharge, discharge with death,
    both with intensive care and ventilation.

    Args:
        patients: rows with days, discharged and the column of the end point, and its day where it happened.
        end_point: a key of `END_POINTS`.

    Raises:
        InputError: an unknown end point, values that are missing or contradict each other (by row), no event.
    """
    if end_point not in END_POINTS:
        raise InputError(f"end point {end_point!r}: there are {', '.join(END_POINTS)}")
    point = END_POINTS[end_point]
    faults = [fault for patient in patients for fault in _faults(patient, point)]
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(f"follow-up: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
    time, cause = [], []
    for patient in patients:
        values = patient.values
        happened = bool(values[point.column])
        other = bool(values["discharged"]) or bool(values.get("died", False))
        time.append(float(str(values[point.days if happened else "days"])))
        cause.append(OF_INTEREST if happened else COMPETING if other else 0)
    outcome = Outcome(np.array(time), np.array(cause, np.int8))
    outcome.check_events()
    return outcome


def _faults(patient: Patient, point: EndPoint) -> list[str]:
    """Why a row has no usable follow-up, in words."""
    values, row = patient.values, f"row {patient.row}"
    needs = ["days", "discharged", point.column]
    if values.get(point.column):
        needs.append(point.days)
    missing = [f"{row} column {name} is empty" for name in dict.fromkeys(needs) if name not in values]
    if missing:
        return missing
    faults = []
    if values["discharged"] and values.get("died"):
        faults.append(f"{row}: both discharged and died")
    days = float(str(values["days"]))
    if days <= 0:
        faults.append(f"{row} column days: {days:g} is not above 0")
    if values[point.column] and not 0 < float(str(values[point.days])) <= days:
        faults.append(
            f"{row} column {point.days}: {values[point.days]} does not lie within the stay of {days:g}"
        )
    return faults
