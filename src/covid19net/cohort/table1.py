"""Table 1 of Wang et al. 2020, of any manifest: who the patients of each set are."""

from collections.abc import Callable, Sequence
from statistics import mean, stdev

from covid19net.cohort.bands import limits
from covid19net.cohort.follow_up import FEWEST_DAYS
from covid19net.cohort.manifest import COMORBIDITIES, Patient, Value
from covid19net.cohort.missing import any_comorbidity
from covid19net.errors import InputError
from covid19net.table import INDENT, Table

TYPES = ("bacterial", "mycoplasma", "viral", "fungal")  # the paper's order; others follow by name
UNNAMED = "type not known"
NOT_RECORDED = "NA"
ALL, NO_SET = "all patients", "no set"
TITLES = {
    "copd": "COPD",
    "tuberculosis": "pulmonary tuberculosis",
    "kidney": "chronic kidney disease",
    "liver": "chronic liver disease",
    "cerebrovascular": "cerebrovascular disease",
    "cardiovascular": "cardiovascular disease",
}
NOTES = (
    "Count (share of those known); mean ± standard deviation; NA: not recorded in this set.",
    "Follow-up: patients without a day of follow-up count as not followed.",
)

Sets = dict[str, list[Patient]]


def table_one(patients: Sequence[Patient]) -> Table:
    """Describe the patients of each set.

    Columns are the sets in the order of the manifest with their size; rows are those of the paper: region
    (centre), type of pneumonia, sex, age (bands where it is known so), comorbidities, follow-up
    of more than 5 days, and the EGFR status where the manifest holds any. Shares are of the patients of whom
    it is known, and those of whom it is not are counted beside them.

    Raises:
        InputError: no patients.
    """
    if not patients:
        raise InputError("no patients: there is no table 1")
    sets = _sets(patients)
    rows = [
        ("region", *(_regions(members) for members in sets.values())),
        *_pneumonia(patients, sets),
        *_status(sets),
        _heading("sex", sets),
        _counted("male", sets, _is(_value("sex"), "M")),
        _counted("female", sets, _is(_value("sex"), "F")),
        ("age, years", *(_age(members) for members in sets.values())),
        *_bands(patients, sets),
        _heading("comorbidity", sets),
        _counted("any", sets, any_comorbidity),
        *(_counted(TITLES.get(name, name), sets, _comorbid(name)) for name in COMORBIDITIES),
        ("follow-up > 5 days", *(_followed(members) for members in sets.values())),
    ]
    header = ("", *(f"{name} (n = {len(members)})" for name, members in sets.items()))
    synthetic = sum(bool(p.values.get("synthetic")) for p in patients)
    made = (f"{synthetic} of {len(patients)} patients are synthetic: no real persons.",) if synthetic else ()
    return Table("table-1", "Table 1. Patients", header, tuple(rows), NOTES + made)


def _sets(patients: Sequence[Patient]) -> Sets:
    named = any("set" in patient.values for patient in patients)
    sets: Sets = {}
    for patient in patients:
        sets.setdefault(str(patient.values.get("set", NO_SET if named else ALL)), []).append(patient)
    return sets


def _regions(members: Sequence[Patient]) -> str:
    found = dict.fromkeys(str(p.values["centre"]) for p in members if "centre" in p.values)
    without = sum("centre" not in p.values for p in members)
    if not found:
        return NOT_RECORDED
    return ", ".join(found) + (f" ({without} of {len(members)} unknown)" if without else "")


def _heading(name: str, sets: Sets) -> tuple[str, ...]:
    return (name, *("" for _ in sets))


def _value(column: str) -> Callable[[Patient], Value | None]:
    return lambda patient: patient.values.get(column)


def _is(of: Callable[[Patient], Value | None], wanted: str) -> Callable[[Patient], bool | None]:
    def same(patient: Patient) -> bool | None:
        value = of(patient)
        return None if value is None else value == wanted

    return same


def _comorbid(name: str) -> Callable[[Patient], bool | None]:
    return lambda patient: None if name not in patient.values else bool(patient.values[name])


def _counted(name: str, sets: Sets, has: Callable[[Patient], bool | None]) -> tuple[str, ...]:
    """A row of counts, a part of the heading above it."""
    return (INDENT + name, *(_share([has(p) for p in members]) for members in sets.values()))


def _share(found: Sequence[bool | None]) -> str:
    known = [value for value in found if value is not None]
    if not known:
        return NOT_RECORDED
    unknown = len(found) - len(known)
    share = f"{100 * sum(known) / len(known):.1f}%"
    return f"{sum(known)} ({share}{_unknown(unknown, len(found))})"


def _unknown(count: int, total: int) -> str:
    return f"; {count} of {total} unknown" if count else ""


def _pneumonia(patients: Sequence[Patient], sets: Sets) -> list[tuple[str, ...]]:
    """Rows of the types that occur; a patient with another pneumonia may have no type."""
    found = {_type(p) for p in patients} - {None, "COVID-19"}
    others = [t for t in TYPES if t in found] + sorted(t for t in found if t and t not in (*TYPES, UNNAMED))
    names = ["COVID-19", *others, *([UNNAMED] if UNNAMED in found else [])]
    return [_heading("type of pneumonia", sets), *(_counted(name, sets, _is(_type, name)) for name in names)]


def _type(patient: Patient) -> str | None:
    """Type as the table shows it; None where the manifest holds neither label nor type."""
    label, kind = patient.values.get("label"), patient.values.get("type")
    if label == "covid" or (label is None and str(kind).lower() in ("covid", "covid-19")):
        return "COVID-19"
    return UNNAMED if kind is None and label is not None else None if kind is None else str(kind)


def _status(sets: Sets) -> list[tuple[str, ...]]:
    """EGFR status, of cohorts that hold an auxiliary set."""
    if not any("egfr" in p.values for members in sets.values() for p in members):
        return []
    statuses = (("mutant", "mutant"), ("wild", "wild type"))
    rows = [_counted(title, sets, _is(_value("egfr"), name)) for name, title in statuses]
    return [_heading("EGFR", sets), *rows]


def _age(members: Sequence[Patient]) -> str:
    known = [float(str(p.values["age"])) for p in members if "age" in p.values]
    if not known:
        return NOT_RECORDED
    spread = f" ± {stdev(known):.1f}" if len(known) > 1 else ""
    missing = len(members) - len(known)
    return f"{mean(known):.1f}{spread}" + (f" ({missing} of {len(members)} unknown)" if missing else "")


def _bands(patients: Sequence[Patient], sets: Sets) -> list[tuple[str, ...]]:
    """Ages that are known as bands, of cohorts that hold any; they stay bands."""
    names = sorted({str(p.values["age_band"]) for p in patients if "age_band" in p.values}, key=limits)
    if not names:
        return []
    rows = [_counted(name, sets, _is(_value("age_band"), name)) for name in names]
    return [_heading("age band, years", sets), *rows]


def _followed(members: Sequence[Patient]) -> str:
    days = [float(str(p.values["days"])) for p in members if "days" in p.values]
    if not days:
        return NOT_RECORDED
    return _share([n < len(days) and days[n] > FEWEST_DAYS for n in range(len(members))])
