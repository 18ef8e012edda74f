"""Numbers that cannot be, or hardly can, in a table of published results, with the arithmetic.

A number stands for everything that rounds to it. "impossible": no patients give these numbers together;
"implausible": some do, but hardly a score as one meets them. The interval of an AUC is taken for one of 95 %.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
import math

import numpy as np

from covid19net.evaluate.areas import at_point, own_interval, width
from covid19net.evaluate.results import COUNTS, Finding, Printed, ResultRow, Severity

TINY = 1e-9  # rounding of our own
MOST_TABLES = 1_000_000  # of true positives x true negatives that are tried
MOST_PEOPLE = 10**10  # more than there are
MOST_PATIENTS = 100_000  # of whom every division into classes is tried

WORDS = {"n": "number of patients", "positive": "positive patients", "negative": "negative patients"}
WORDS |= {"auc": "AUC", "ppv": "PPV", "npv": "NPV"}  # the other columns are words
LIMITS = {"low": "lower", "high": "upper"}
SHARES = {"accuracy": "({tp} + {tn})/{n}", "ppv": "{tp}/({tp} + {fp})", "npv": "{tn}/({tn} + {fn})"}


@dataclass(frozen=True)
class Doubt:
    """What is wrong with a number.

    Attributes:
        row: line of the table, the header being 1.
        name: of the row.
        column: where the number stands.
        severity: "impossible" or "implausible".
        message: what does not fit, with the arithmetic.
    """

    row: int
    name: str
    column: str
    severity: Severity
    message: str

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"row {self.row}{name}, {self.column}: {self.severity}: {self.message}"

    @property
    def in_words(self) -> str:
        """For readers who do not have the table: set and metric by name instead of row and column."""
        rate, _, limit = self.column.partition("_")
        metric = WORDS.get(rate, rate)
        metric = f"{LIMITS[limit]} limit of the {metric}" if limit else metric
        return f"{self.name or f'row {self.row}'}, {metric}: {self.severity}: {self.message}"


def audit(rows: Sequence[ResultRow]) -> tuple[Doubt, ...]:
    """Look for impossible and implausible numbers, row by row.

    Checked are: ranges; n against the classes; rates that no whole number of patients gives; accuracy against
    sensitivity, specificity and classes; predictive values and prevalence; the AUC against its interval and
    the operating point; and the width of that interval against what so many patients allow.

    Args:
        rows: of `read_results`; rows are independent of each other.

    Returns:
        Doubts in the order of the rows. None means only that no contradiction was found.
    """
    return tuple(
        Doubt(row.row, row.name, *finding)
        for row in rows
        for finding in (list(_ranges(row)) or [found for rule in RULES for found in rule(row)])
    )


def _ranges(row: ResultRow) -> Iterator[Finding]:
    """Values out of range; where there are any, no other rule makes sense."""
    for column, number in row.values.items():
        if column in COUNTS:
            if not 0 <= number.value <= MOST_PEOPLE or number.value != round(number.value):
                yield column, "impossible", f"{number.text} is not a number of patients"
        elif number.low > 1 or number.high < 0:
            top = "100 %" if number.percent else "1"
            yield column, "impossible", f"{number.text} does not lie between 0 and {top}"
    n, positive, negative = (row.values.get(c) for c in ("n", "positive", "negative"))
    for part, column in ((positive, "positive"), (negative, "negative")):
        if n and part and part.value > n.value:
            yield column, "impossible", f"{part.text} of {n.text} patients"


def _sum(row: ResultRow) -> Iterator[Finding]:
    if all(column in row.values for column in COUNTS):
        n, positive, negative = (round(row.values[c].value) for c in COUNTS)
        if positive + negative != n:
            yield "n", "impossible", f"{positive} + {negative} = {positive + negative}, not {n}"


def counts_of(rate: Printed, total: int) -> range:
    """Whole numbers whose share of the total rounds to the rate."""
    least = math.ceil(total * rate.low - TINY)
    most = math.floor(total * rate.high + TINY)
    return range(max(least, 0), min(most, total) + 1)


def _class_rates(row: ResultRow) -> Iterator[Finding]:
    """Sensitivity and specificity are shares of whole patients."""
    n = row.values.get("n")
    for column, total, other in zip(
        ("sensitivity", "specificity"), row.classes, reversed(row.classes), strict=True
    ):
        rate = row.values.get(column)
        if rate is None or not total or counts_of(rate, total):
            continue
        message = _neighbours(rate, total)
        rest = round(n.value) - other if n and other is not None else total
        if rest > 0 and rest != total and (fits := counts_of(rate, rest)):
            message += f"; {fits[0]}/{rest} does, and {rest} is what n leaves"
        yield column, "impossible", message


def _neighbours(rate: Printed, total: int) -> str:
    below = min(max(math.floor(rate.value * total), 0), total - 1)
    near = ", ".join(f"{k}/{total} = {rate.shown(k / total)}" for k in (below, below + 1))
    return f"no number of {total} patients gives {rate.text}: {near}"


def _span(row: ResultRow) -> Iterator[Finding]:
    """Accuracy is a weighted mean of sensitivity and specificity."""
    if not {"accuracy", "sensitivity", "specificity"} <= row.values.keys():
        return
    accuracy, sensitivity, specificity = (row.values[c] for c in ("accuracy", "sensitivity", "specificity"))
    least, most = min(sensitivity.low, specificity.low), max(sensitivity.high, specificity.high)
    if least - TINY <= accuracy.high and accuracy.low <= most + TINY:
        return
    side = "above" if accuracy.value > most else "below"
    message = (
        f"{accuracy.text} lies {side} both sensitivity ({sensitivity.text}) and specificity "
        f"({specificity.text}), of which it is the mean weighted by the classes"
    )
    positive, negative = row.classes
    if positive and negative:
        mean = (positive * sensitivity.value + negative * specificity.value) / (positive + negative)
        message += f": for {positive} and {negative} patients {accuracy.shown(mean)}"
    yield "accuracy", "impossible", message


def _rebuild(row: ResultRow) -> Iterator[Finding]:
    """Accuracy and predictive values must come from the same whole numbers as the other rates."""
    positive, negative = row.classes
    if not positive or not negative:
        return
    values = row.values
    true = counts_of(values["sensitivity"], positive) if "sensitivity" in values else range(positive + 1)
    right = counts_of(values["specificity"], negative) if "specificity" in values else range(negative + 1)
    if not 0 < len(true) * len(right) <= MOST_TABLES:
        return
    tp, tn = (grid.ravel() for grid in np.meshgrid(true, right, indexing="ij"))
    shares = {
        "accuracy": (tp + tn, np.full_like(tp, positive + negative)),
        "ppv": (tp, tp + negative - tn),
        "npv": (tn, tn + positive - tp),
    }
    exact = {
        column: np.where(total > 0, count / np.maximum(total, 1), np.inf)
        for column, (count, total) in shares.items()
        if column in values
    }
    fits = {column: _holds(values[column], found) for column, found in exact.items()}
    alone = [column for column, fit in fits.items() if not fit.any()]
    for column in alone:
        place = int(np.argmin(np.abs(exact[column] - values[column].value)))
        a, b = int(tp[place]), int(tn[place])
        counts = SHARES[column].format(tp=a, tn=b, fp=negative - b, fn=positive - a, n=positive + negative)
        nearest = f"{counts} = {values[column].shown(float(exact[column][place]))}"
        yield (
            column,
            "impossible",
            f"the other columns give {nearest} at the nearest, not {values[column].text}",
        )
    if len(fits) > 1 and not alone and not np.logical_and.reduce(list(fits.values())).any():
        together = ", ".join(f"{column} {values[column].text}" for column in fits)
        message = f"each can be had from {positive} and {negative} patients, but not together: {together}"
        yield list(fits)[-1], "impossible", message


def _holds(number: Printed, exact: np.ndarray) -> np.ndarray:
    found: np.ndarray = (exact >= number.low - TINY) & (exact <= number.high + TINY)
    return found


def _some_division(row: ResultRow) -> Iterator[Finding]:
    """Where only n is known: is there any division into classes that gives the three rates?"""
    names = ("n", "accuracy", "sensitivity", "specificity")
    if not set(names) <= row.values.keys() or row.classes != (None, None) or any(_span(row)):
        return
    n, accuracy, sensitivity, specificity = (row.values[name] for name in names)
    patients = round(n.value)
    if not 2 <= patients <= MOST_PATIENTS:
        return
    positive = np.arange(1, patients)
    least_true, most_true = _whole(sensitivity, positive)
    least_right, most_right = _whole(specificity, patients - positive)
    least, most = _whole(accuracy, np.full_like(positive, patients))
    fits = (least_true <= most_true) & (least_right <= most_right)
    fits &= np.maximum(least, least_true + least_right) <= np.minimum(most, most_true + most_right)
    if not fits.any():
        message = (
            f"no division of {patients} patients into classes gives accuracy {accuracy.text}, sensitivity "
            f"{sensitivity.text} and specificity {specificity.text}"
        )
        yield "accuracy", "impossible", message


def _whole(rate: Printed, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and most whole number whose share rounds to the rate; least above most where there is none."""
    least = np.maximum(np.ceil(total * rate.low - TINY), 0)
    return least, np.minimum(np.floor(total * rate.high + TINY), total)


def _prevalence(row: ResultRow) -> Iterator[Finding]:
    """Prevalence against the classes; and what it implies where the classes are not known."""
    prevalence = row.values.get("prevalence")
    if prevalence is None:
        return
    positive, negative = row.classes
    if positive is not None and negative is not None:
        share = positive / max(positive + negative, 1)
        if not _holds(prevalence, np.array(share)):
            exact = f"{positive}/{positive + negative} = {prevalence.shown(share)}"
            yield "prevalence", "impossible", f"{exact}, not {prevalence.text}"
        return
    if not {"sensitivity", "specificity"} <= row.values.keys():
        return
    inputs = (prevalence, row.values["sensitivity"], row.values["specificity"])
    for column, formula in IMPLIED.items():
        number = row.values.get(column)
        if number is None:
            continue
        ends = [formula(*corner) for corner in product(*((max(x.low, 0), min(x.high, 1)) for x in inputs))]
        if number.high < min(ends) - TINY or number.low > max(ends) + TINY:
            exact = number.shown(formula(*(x.value for x in inputs)))
            message = (
                f"prevalence {inputs[0].text}, sensitivity {inputs[1].text} and specificity {inputs[2].text} "
                f"give {exact}, not {number.text}"
            )
            yield column, "impossible", message


def _share(part: float, rest: float) -> float:
    return part / (part + rest) if part + rest else 0.5


# From prevalence, sensitivity and specificity. Each is monotone in each of the three, so that its extremes
# lie at the corners of what the printed digits leave open.
IMPLIED: dict[str, Callable[[float, float, float], float]] = {
    "accuracy": lambda p, sens, spec: p * sens + (1 - p) * spec,
    "ppv": lambda p, sens, spec: _share(p * sens, (1 - p) * (1 - spec)),
    "npv": lambda p, sens, spec: _share((1 - p) * spec, p * (1 - sens)),
}


RULES: tuple[Callable[[ResultRow], Iterator[Finding]], ...] = (
    _sum,
    _class_rates,
    _span,
    _rebuild,
    _some_division,
    _prevalence,
    own_interval,
    at_point,
    width,
)
