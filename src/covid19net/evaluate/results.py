"""A table of published results as it was printed: every number keeps the digits it was given with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
import re
from statistics import median
from typing import Literal

from covid19net.errors import InputError
from covid19net.table import read_cells

EXAMPLE = Path(__file__).parent / "examples" / "wang2020-table2.csv"  # Table 2 of Wang et al. 2020
ALIASES = {
    "name": ("set", "name", "dataset", "data set", "cohort"),
    "n": ("n", "patients", "total"),
    "positive": ("positive", "positives", "covid", "covid-19"),
    "negative": ("negative", "negatives", "other", "controls"),
    "auc": ("auc", "auroc"),
    "auc_low": ("auc low", "auc lower"),
    "auc_high": ("auc high", "auc upper"),
    "accuracy": ("accuracy", "acc"),
    "sensitivity": ("sensitivity", "sens", "recall"),
    "specificity": ("specificity", "spec"),
    "ppv": ("ppv", "precision"),
    "npv": ("npv",),
    "prevalence": ("prevalence",),
}
COUNTS = ("n", "positive", "negative")
RATES = ("auc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "prevalence")
PERCENT_ABOVE = 1.5  # a median above it means percent; a single 1.2 is rather a wrong fraction
ABSENT = {"", "-", "–", "—", "na", "n/a", "nan"}  # noqa: RUF001 - dashes as printed
_COLUMN = {alias: column for column, aliases in ALIASES.items() for alias in aliases}
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)\s*%?"
_PERCENT = re.compile(r"[(\[]\s*%\s*[)\]]|%\s*$")  # of a header; "(95% CI)" says nothing of the unit
_ONE = re.compile(_NUMBER, re.ASCII)
_WITH_INTERVAL = re.compile(  # "0.90 (0.89-0.91)", "0.90 [95% CI: 0.89, 0.91]"
    rf"(?P<value>{_NUMBER})\s*[(\[]\s*(?:95\s*%\s*(?:CI)?\s*[:,]?\s*)?"
    rf"(?P<low>{_NUMBER})\s*(?:-|–|—|,|to)\s*(?P<high>{_NUMBER})\s*[)\]]",  # noqa: RUF001
    re.ASCII | re.IGNORECASE,
)


Severity = Literal["impossible", "implausible"]
Finding = tuple[str, Severity, str]  # column, severity, message


@dataclass(frozen=True)
class Printed:
    """A number as printed; it stands for everything that rounds to it.

    Attributes:
        text: as it stood there.
        value: rates as fractions.
        slack: half a unit of the last digit, in the unit of `value`: 78.93 percent has 0.00005.
        percent: whether it was printed in percent.
    """

    text: str
    value: float
    slack: float
    percent: bool = False

    @property
    def low(self) -> float:
        """The least that rounds to it."""
        return self.value - self.slack

    @property
    def high(self) -> float:
        """The most that rounds to it."""
        return self.value + self.slack

    def shown(self, exact: float) -> str:
        """Another number in the digits and unit of this one."""
        digits = len(self.text.rstrip("% ").partition(".")[2])
        return f"{exact * (100 if self.percent else 1):.{digits}f}"


@dataclass(frozen=True)
class ResultRow:
    """One row of results.

    Attributes:
        row: line of the table, the header being 1.
        name: of the set; may be empty.
        values: column -> number; limits of intervals as "auc_low" and "auc_high"; absent if not printed.
    """

    row: int
    name: str
    values: Mapping[str, Printed]

    @property
    def classes(self) -> tuple[int | None, int | None]:
        """Positives and negatives: as printed, else what n leaves."""
        n, positive, negative = (round(self.values[c].value) if c in self.values else None for c in COUNTS)
        if n is not None:
            positive = n - negative if positive is None and negative is not None else positive
            negative = n - positive if negative is None and positive is not None else negative
        return positive, negative


@dataclass(frozen=True)
class Results:
    """A table of results.

    Attributes:
        rows: at least one.
        ignored: columns nothing is known about.
    """

    rows: tuple[ResultRow, ...]
    ignored: tuple[str, ...]


def read_results(path: Path) -> Results:
    """Read a results table: CSV with one row for each set of patients.

    Columns, any of which may be absent: set (or name), n, positive, negative, auc, auc_low, auc_high,
    accuracy, sensitivity, specificity, ppv, npv, prevalence; capitals, "(%)" and usual short names do not
    matter. A rate may bring its interval: "0.90 (0.89-0.91)". Rates are fractions or percent, for each
    column: percent where a percent sign stands in it or its header, or where the median is above 1.5.

    Raises:
        InputError: no such file, not a table, no column or no row to look at, or cells that are no numbers:
            each named by row and column, in one message.
    """
    cells, comma = read_cells(path)
    header = [_column_of(name) for name in cells[0]]
    doubled = [name for name, count in Counter(filter(None, header)).items() if count > 1]
    if doubled:
        raise InputError(f"{path.name}: column {', '.join(doubled)} stands more than once")
    if not set(header) - {None, "name"}:
        raise InputError(f"{path.name}: no column of results; known are {', '.join(ALIASES)}")
    texts: list[tuple[int, dict[str, str]]] = []
    faults: list[str] = []
    for number, line in enumerate(cells[1:], start=2):
        if any(cell.strip() for cell in line):
            texts.append((number, _row(header, line, number, faults, comma=comma)))
    if faults:
        raise InputError(f"{path.name}: {'; '.join(faults)}")
    if not texts:
        raise InputError(f"{path.name}: the table has no rows")
    signs = {
        column for column, name in zip(header, cells[0], strict=True) if column and _PERCENT.search(name)
    }
    percent = _in_percent([row for _, row in texts], signs)
    rows = [
        ResultRow(
            number,
            row.pop("name", ""),
            {column: _printed(text, column in percent) for column, text in row.items()},
        )
        for number, row in texts
    ]
    unknown = [name.strip() for column, name in zip(header, cells[0], strict=True) if column is None]
    return Results(tuple(rows), tuple(filter(None, unknown)))


def triple(rate: str) -> tuple[str, str, str]:
    """Columns of a rate and of the limits of its interval, which share a unit."""
    return rate, f"{rate}_low", f"{rate}_high"


def _column_of(name: str) -> str | None:
    plain = re.sub(r"[(\[,].*|%", "", name).replace("_", " ").strip().lower()
    return _COLUMN.get(" ".join(plain.split()))


def _row(
    header: Sequence[str | None], line: Sequence[str], number: int, faults: list[str], *, comma: bool
) -> dict[str, str]:
    """Texts of the numbers of a row by column; what is no number is a fault."""
    found: dict[str, str] = {}
    if any(cell.strip() for cell in line[len(header) :]):
        faults.append(f"row {number}: more cells than the header has")
    for column, cell in zip(header, line, strict=False):
        text = cell.strip()
        if column is None or text.lower() in ABSENT:
            continue
        if column == "name":
            found["name"] = "".join(letter if letter.isprintable() else " " for letter in text)
            continue
        text = text.replace(",", ".") if comma else text
        interval = _WITH_INTERVAL.fullmatch(text) if column in RATES else None
        if interval:
            for part, name in zip(interval.groups(), triple(column), strict=True):
                found[name] = part.strip()
        elif _ONE.fullmatch(text):
            found[column] = text
        else:
            faults.append(f"row {number} column {column}: {text[:40]!r} is not a number")
    return found


def _in_percent(rows: Sequence[Mapping[str, str]], signs: set[str]) -> set[str]:
    percent: set[str] = set()
    for columns in map(triple, RATES):
        texts = [row[column] for row in rows for column in columns if column in row]
        signed = signs & set(columns) or any("%" in text for text in texts)
        if texts and (signed or median(float(text.rstrip("% ")) for text in texts) > PERCENT_ABOVE):
            percent |= set(columns)
    return percent


def _printed(text: str, percent: bool) -> Printed:
    digits = text.rstrip("% ")
    unit = 0.01 if percent else 1.0
    decimals = len(digits.partition(".")[2])
    return Printed(text, float(digits) * unit, 0.5 * 10.0**-decimals * unit, percent)
