"""Age, sex and comorbidity as numbers; what is missing is refused unless the caller says what to do.

An age that is known as a band only is missing too, unless the caller asks for the middle of the band.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

import numpy as np

from covid19net.cohort.bands import middle
from covid19net.cohort.manifest import COMORBIDITIES, FAULTS_SHOWN, Patient
from covid19net.errors import EmptySampleError, InputError

Missing = Literal["refuse", "exclude", "median"]
CHOICES: tuple[Missing, ...] = ("refuse", "exclude", "median")
Bands = Literal["refuse", "middle"]
BANDS: tuple[Bands, ...] = ("refuse", "middle")


@dataclass(frozen=True, eq=False)
class ClinicalTable:
    """Clinical covariates of patients, complete.

    Attributes:
        names: of the columns: age, sex, comorbidity.
        values: axes (patient, covariate): age in years, sex 1 for male and 0 for female, comorbidity 1 for
            any and 0 for none; float64, never NaN.
        kept: which of the patients given these are, indices, axis (patient,).
        notes: what was left out or filled in; they belong beside every result made from this table.
    """

    names: tuple[str, ...]
    values: np.ndarray
    kept: np.ndarray
    notes: tuple[str, ...]


def any_comorbidity(patient: Patient) -> bool | None:
    """Whether the patient has any comorbidity: as the manifest says, else from the nine; None if unknown.

    One of the nine is enough for yes; no needs all nine.
    """
    if "comorbidity" in patient.values:
        return bool(patient.values["comorbidity"])
    named = [patient.values.get(name) for name in COMORBIDITIES]
    if any(named):
        return True
    return None if None in named else False


def _age(patient: Patient) -> float | None:
    value = patient.values.get("age")
    return None if value is None else float(str(value))


def _sex(patient: Patient) -> float | None:
    value = patient.values.get("sex")
    return None if value is None else float(value == "M")


def _comorbidity(patient: Patient) -> float | None:
    value = any_comorbidity(patient)
    return None if value is None else float(value)


COVARIATES: dict[str, Callable[[Patient], float | None]] = {
    "age": _age,
    "sex": _sex,
    "comorbidity": _comorbidity,
}
SHOWN = {"sex": ("female", "male"), "comorbidity": ("none", "some")}  # by code


def banded(patients: Sequence[Patient]) -> list[Patient]:
    """Those whose age is known as a band only, not in years."""
    return [p for p in patients if "age_band" in p.values and "age" not in p.values]


def in_years(patients: Sequence[Patient]) -> tuple[list[Patient], tuple[str, ...]]:
    """Patients with the middle of the band for an age known as a band only, and a note that says so."""
    count = len(banded(patients))
    if not count:
        return list(patients), ()
    note = (
        f"age of {count} of {len(patients)} patients is known as a band only and taken as the middle of the "
        "band, which can be years off"
    )
    return [
        replace(p, values={**p.values, "age": middle(str(p.values["age_band"]))}) if banded([p]) else p
        for p in patients
    ], (note,)


def clinical(
    patients: Sequence[Patient],
    missing: Missing = "refuse",
    *,
    reference: Sequence[Patient] | None = None,
    bands: Bands = "refuse",
) -> ClinicalTable:
    """Age, sex and comorbidity of patients.

    Args:
        patients: rows of a manifest.
        missing: what to do where a value is missing: "refuse"; "exclude" leaves these patients out; "median"
            fills in the reference's median age, and its most common sex and comorbidity (0 in a tie). A
            filled-in value makes a patient look ordinary, and the spread of the column too small.
        reference: the training patients, for "median"; None takes the patients themselves.
        bands: what to do where the age is known as a band only: "refuse" counts it as missing; "middle" takes
            the middle of the band, which makes ages of a band alike.

    Raises:
        EmptySampleError: nobody is left.
        InputError: values are missing (rows and columns, all at once) and not to be handled, the reference
            holds no value of a column, or an unknown choice.
    """
    if missing not in CHOICES or bands not in BANDS:
        raise InputError(
            f"missing values {missing!r}, age bands {bands!r}: there are {', '.join(CHOICES)} and "
            f"{', '.join(BANDS)}"
        )
    if not patients:
        raise InputError("no patients: there are no clinical values")
    taken: tuple[str, ...] = ()
    if bands == "middle":
        patients, taken = in_years(patients)
        reference = None if reference is None else in_years(reference)[0]
    columns = {name: [of(patient) for patient in patients] for name, of in COVARIATES.items()}
    gaps = {name: [i for i, v in enumerate(found) if v is None] for name, found in columns.items()}
    gaps = {name: places for name, places in gaps.items() if places}
    if gaps and missing == "refuse":
        raise InputError(_refusal(patients, gaps))
    notes: tuple[str, ...] = ()
    kept = list(range(len(patients)))
    if gaps and missing == "exclude":
        without = {i for places in gaps.values() for i in places}
        kept = [i for i in kept if i not in without]
        notes = (_left_out(len(patients), len(without), gaps) + _hint(patients, gaps),)
        if not kept:
            raise EmptySampleError(f"nobody is left: {notes[0]}")
    elif gaps:
        notes = _fill(columns, gaps, reference)
        notes += (hint.removeprefix("; "),) if (hint := _hint(patients, gaps)) else ()
    values = np.array([[columns[name][i] for name in columns] for i in kept], np.float64)
    return ClinicalTable(tuple(columns), values, np.array(kept), taken + notes)


def _refusal(patients: Sequence[Patient], gaps: dict[str, list[int]]) -> str:
    parts = []
    for name, places in gaps.items():
        rows = ", ".join(str(patients[i].row) for i in places[:FAULTS_SHOWN])
        more = f" and {len(places) - FAULTS_SHOWN} more" if len(places) > FAULTS_SHOWN else ""
        parts.append(f"column {name} is empty in row{'s' * (len(places) > 1)} {rows}{more}")
    ways = "choose to exclude or to take the median (--missing exclude, --missing median)"
    return f"missing values: {'; '.join(parts)}; fill them in, or {ways}{_hint(patients, gaps)}"


def _hint(patients: Sequence[Patient], gaps: dict[str, list[int]]) -> str:
    """That more is known of ages than was used."""
    known = len(banded([patients[i] for i in gaps.get("age", [])]))
    return f"; the age of {known} is known as a band, whose middle --age-band middle takes" if known else ""


def _left_out(patients: int, without: int, gaps: dict[str, list[int]]) -> str:
    counts = ", ".join(f"{name} of {len(places)}" for name, places in gaps.items())
    return f"{without} of {patients} patients are left out, whose values are missing ({counts})"


def _fill(
    columns: dict[str, list[float | None]], gaps: dict[str, list[int]], reference: Sequence[Patient] | None
) -> tuple[str, ...]:
    """Fill the gaps in place, and say how."""
    notes = []
    for name, places in gaps.items():
        given = columns[name] if reference is None else [COVARIATES[name](p) for p in reference]
        known = [value for value in given if value is not None]
        if not known:
            raise InputError(f"column {name}: no patient to learn from has a value; it cannot be filled in")
        value = median(known) if name == "age" else _most_common(known)
        shown = f"the median {value:g}" if name == "age" else f"the most common, {SHOWN[name][int(value)]}"
        for i in places:
            columns[name][i] = value
        source = "patients" if reference is None else "training patients"
        notes.append(
            f"{name} of {len(places)} of {len(columns[name])} patients is missing and filled in with {shown} "
            f"of {len(known)} {source}"
        )
    return tuple(notes)


def _most_common(values: Sequence[float]) -> float:
    counts = Counter(values)
    return max(sorted(counts), key=lambda value: counts[value])
