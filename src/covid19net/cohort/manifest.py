"""The manifest: a CSV with one row a patient, checked whole before anything is computed.

Excel's habits are accepted (byte-order mark, CRLF, semicolons with decimal commas, UTF-16). Faults are
refused, each with its row and column, all at once; nothing that is missing is filled in here.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from covid19net.cohort.bands import OLDEST, band
from covid19net.errors import InputError
from covid19net.table import csv_text, read_cells, write_whole

COMORBIDITIES = (  # of the paper's Table 1
    "diabetes",
    "hypertension",
    "cerebrovascular",
    "cardiovascular",
    "malignancy",
    "copd",
    "tuberculosis",
    "kidney",
    "liver",
)
YES, NO = {"1", "yes", "y", "true"}, {"0", "no", "n", "false"}
MISSING = {"", "na", "n/a", "nan", "none", "null"}
THICKEST = 20.0  # mm; of a slice
LONGEST = 3650.0  # days of follow-up; more is a date in the wrong column
FAULTS_SHOWN = 20

Value = str | float | bool | Path


@dataclass(frozen=True)
class Patient:
    """One row of the manifest; what the table does not hold is absent from `values`.

    Attributes:
        patient_id: unique in the manifest.
        row: line of the table, the header being 1.
        values: column -> checked value: paths absolute, age in years, days from diagnosis to discharge, death
            or the last day seen (icu_days and ventilated_days: to these events), slice thickness in mm, label
            "covid" or "other", egfr "mutant" or "wild", sex "F" or "M", severity "mild" or "severe", age_band
            such as "60-74", centre, set, type, kernel, vendor, source, collection, licence, year, contrast,
            choice and object_kind as text, the rest yes or no.
    """

    patient_id: str
    row: int
    values: Mapping[str, Value] = field(default_factory=dict)


def _one_of(*allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        found = {a.lower(): a for a in allowed}.get(text.lower())
        if found is None:
            raise ValueError(f"{text!r} is not one of {', '.join(allowed)}")
        return found

    return check


def _number(low: float, high: float) -> Callable[[str], float]:
    def check(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not low <= value <= high:
            raise ValueError(f"{text} does not lie between {low:g} and {high:g}")
        return value

    return check


def _yes_or_no(text: str) -> bool:
    if text.lower() not in YES | NO:
        raise ValueError(f"{text!r} is neither yes nor no (1/0, yes/no, true/false)")
    return text.lower() in YES


COLUMNS: dict[str, Callable[[str], Value]] = {
    "patient_id": str,
    "scan": str,
    "lungs": str,
    "centre": str,
    "set": str,
    "label": _one_of("covid", "other"),
    "type": str,
    "egfr": _one_of("mutant", "wild"),
    "age": _number(0, OLDEST),
    "age_band": band,
    "sex": _one_of("F", "M"),
    "comorbidity": _yes_or_no,
    **dict.fromkeys(COMORBIDITIES, _yes_or_no),
    "days": _number(0, LONGEST),
    "discharged": _yes_or_no,
    "died": _yes_or_no,
    "icu": _yes_or_no,
    "icu_days": _number(0, LONGEST),
    "ventilated": _yes_or_no,
    "ventilated_days": _number(0, LONGEST),
    "severity": _one_of("mild", "severe"),
    "thickness": _number(0.1, THICKEST),
    "kernel": str,
    "vendor": str,
    "source": str,
    "collection": str,
    "licence": str,
    "choice": str,
    "lung_object": str,
    "object_kind": str,
    "year": str,
    "contrast": str,
    "synthetic": _yes_or_no,
}
PATHS = {"scan", "lungs", "lung_object"}
DECIMALS = {"age", "days", "icu_days", "ventilated_days", "thickness"}


def read_manifest(
    path: Path,
    *,
    needs: Collection[str] = ("patient_id", "scan"),
    may: Collection[str] = (),
    scans: bool = True,
) -> list[Patient]:
    """Read a manifest and check every cell.

    Args:
        path: CSV; paths in it are relative to its own folder. Columns not known here are left alone.
        needs: columns that must be there and filled in every row. One not known here holds yes or no.
        may: columns not known here that hold yes, no or nothing.
        scans: whether scans and masks are to be read: then a path to nothing is a fault.

    Returns:
        One patient for each row.

    Raises:
        InputError: no such file, not a table, or faults: each named by row and column, in one message.
    """
    rows, comma = read_cells(path)
    header = [name.strip().lower() for name in rows[0]]
    wanted = {"patient_id", *(name.lower() for name in needs)}
    columns = {**dict.fromkeys((*wanted, *(name.lower() for name in may)), _yes_or_no), **COLUMNS}
    faults = [f"column {name} is missing" for name in sorted(wanted - set(header))]
    faults += [f"column {name} stands {n} times" for name, n in Counter(header).items() if name and n > 1]
    if faults:
        raise InputError(f"{path.name}: {'; '.join(faults)}")
    patients = []
    for number, cells in enumerate(rows[1:], start=2):
        if any(cell.strip() for cell in cells):
            values = checked_row(dict(zip(header, cells, strict=False)), columns, wanted, comma=comma)
            faults += surplus(header, cells, number)
            faults += [f"row {number} column {column}: {fault}" for column, fault in values.faults]
            faults += contradictions(values.good, number)
            faults += _place(values, path.parent, number, scans=scans)
            patients.append(Patient(str(values.good.get("patient_id", "")), number, values.good))
    faults += _doubles(patients)
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        count = f"{len(faults)} fault{'s' * (len(faults) > 1)}"
        raise InputError(f"{path.name}: {count}: {'; '.join(faults[:FAULTS_SHOWN])}{more}")
    if not patients:
        raise InputError(f"{path.name}: the table has no rows")
    return patients


def unknown_columns(path: Path) -> list[str]:
    """Columns of a manifest that no part of the program knows, as written: a wrong name hides there.

    Raises:
        InputError: no such file, or not a table.
    """
    names = [name.strip() for name in read_cells(path)[0][0]]
    return [name for name in names if name and name.lower() not in COLUMNS]


@dataclass
class CheckedRow:
    """Cells of one row.

    Attributes:
        good: column -> checked value; what is missing is absent.
        faults: column, and what is wrong with its cell.
    """

    good: dict[str, Value] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)


def checked_row(
    cells: Mapping[str, str],
    columns: Mapping[str, Callable[[str], Value]],
    wanted: Collection[str],
    *,
    comma: bool,
) -> CheckedRow:
    """Check the cells of one row; text of an identifier is not repeated in a fault.

    Args:
        cells: column -> text.
        columns: column -> check that gives the value, or a ValueError.
        wanted: columns that must be filled in.
        comma: numbers may have decimal commas.
    """
    checked = CheckedRow()
    for column, check in columns.items():
        text = cells.get(column, "").strip()
        if text.lower() in MISSING:
            if column in wanted:
                checked.faults.append((column, "is empty"))
            continue
        if comma and column in DECIMALS:
            text = text.replace(",", ".")
        try:
            checked.good[column] = check(text)
        except ValueError as error:
            checked.faults.append((column, str(error)))
    return checked


def surplus(header: Sequence[str], cells: Sequence[str], row: int) -> list[str]:
    """Cells beyond the header: a stray delimiter, such as a decimal comma, has moved all that follow it."""
    if any(cell.strip() for cell in cells[len(header) :]):
        return [f"row {row}: {len(cells)} cells under {len(header)} columns; is a comma in a number or text?"]
    return []


def contradictions(values: Mapping[str, Value], row: int) -> list[str]:
    """No comorbidity, but one of them; gone home, and dead: neither is believed."""
    faults = []
    named = [name for name in COMORBIDITIES if values.get(name)]
    if named and values.get("comorbidity") is False:
        faults.append(f"row {row} column comorbidity: no, but {', '.join(named)} yes")
    if values.get("discharged") and values.get("died"):
        faults.append(f"row {row}: both discharged and died")
    return faults


def _place(checked: CheckedRow, folder: Path, row: int, *, scans: bool) -> list[str]:
    """Make paths absolute; a path to nothing is a fault where scans are to be read."""
    faults = []
    for column in sorted(PATHS & checked.good.keys()):
        place = folder / str(checked.good[column])
        if scans and not place.exists():
            faults.append(f"row {row} column {column}: no such file or folder")
        checked.good[column] = place
    return faults


def _doubles(patients: Sequence[Patient]) -> list[str]:
    """One patient in two rows, or one scan for two patients: it would stand on both sides of a split."""
    rows: dict[tuple[str, str], list[int]] = {}
    for patient in patients:
        if patient.patient_id:
            rows.setdefault(("patient_id", patient.patient_id), []).append(patient.row)
        if "scan" in patient.values:
            place = Path(str(patient.values["scan"])).resolve()
            rows.setdefault(("scan", str(place)), []).append(patient.row)
    return [
        f"patient_id {name} stands in rows {', '.join(map(str, found))}"
        if column == "patient_id"
        else f"column scan: rows {', '.join(map(str, found))} name the same scan"
        for (column, name), found in rows.items()
        if len(found) > 1
    ]


def check_two_classes(patients: Sequence[Patient], column: str = "label") -> None:
    """Refuse a table from which nothing can be learned.

    Raises:
        InputError: a class has no patient, with the counts.
    """
    counts = Counter(str(patient.values[column]) for patient in patients if column in patient.values)
    if len(counts) < 2:
        found = ", ".join(f"{n} {name}" for name, n in counts.items()) or "no value"
        raise InputError(f"column {column}: two classes are needed, found {found}")


def check_survival(patients: Sequence[Patient]) -> None:
    """Refuse follow-up from which no hazard can be estimated.

    Raises:
        InputError: days or discharged missing, or nobody was discharged.
    """
    without = [p.row for p in patients if not {"days", "discharged"} <= p.values.keys()]
    if without:
        rows = ", ".join(map(str, without[:FAULTS_SHOWN]))
        raise InputError(f"columns days and discharged: not filled in row {rows}")
    if not any(p.values["discharged"] for p in patients):
        raise InputError(f"column discharged: none of {len(patients)} patients was discharged: no event")


def write_table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as CSV, whole or not at all; the items of lists are joined with spaces, None is empty.

    Text that a spreadsheet would take for a formula gets an apostrophe, which `read_manifest` takes off.

    Raises:
        InputError: the file cannot be written.
        ResourceError: the disk is full.
    """
    return write_whole(path, csv_text(list(rows)))
