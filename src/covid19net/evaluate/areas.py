"""What an area under the ROC curve can be: beside its interval, its operating point, and so many patients."""

from collections.abc import Iterator
import math

import numpy as np
from scipy.special import expit, logit

from covid19net.evaluate.estimate import quantile
from covid19net.evaluate.results import RATES, Finding, Printed, ResultRow, Severity, triple

# Below this share of the width of Hanley and McNeil an interval is implausible. Binormal scores of equal
# spread have 0.79 or more for areas up to 0.9 and classes of 20 and 80 to 80 and 20; above 0.9 the formula is
# too wide for them (0.55 at 0.99), and only the smallest width of any score is compared with. A score with
# few levels can be narrower too.
NARROW = 0.75
NARROW_UP_TO = 0.9
TINY = 1e-9  # rounding of our own
SPLITS = 19  # divisions of n into classes that are tried where the classes are not known


def own_interval(row: ResultRow) -> Iterator[Finding]:
    """A rate lies inside its own interval."""
    for column in RATES:
        rate, low, high = (row.values.get(c) for c in triple(column))
        if low and high and low.low > high.high:
            message = f"the lower limit {low.text} lies above the upper {high.text}"
            yield f"{column}_low", "impossible", message
        elif rate and low and rate.high < low.low:
            yield column, "impossible", f"{rate.text} lies below its own interval, from {low.text}"
        elif rate and high and rate.low > high.high:
            yield column, "impossible", f"{rate.text} lies above its own interval, to {high.text}"


def at_point(row: ResultRow) -> Iterator[Finding]:
    """What the curve through the operating point can enclose."""
    if not {"auc", "sensitivity", "specificity"} <= row.values.keys():
        return
    area, sens, spec = (row.values[c] for c in ("auc", "sensitivity", "specificity"))
    least = max(sens.low, 0) * max(spec.low, 0)
    most = 1 - (1 - min(sens.high, 1)) * (1 - min(spec.high, 1))
    point = f"through sensitivity {sens.text} and specificity {spec.text}"
    if area.high < least - TINY:
        message = f"every curve {point} has at least {area.shown(sens.value * spec.value)} (their product)"
        yield "auc", "impossible", f"{message}, not {area.text}"
    elif area.low > most + TINY:
        top = area.shown(1 - (1 - sens.value) * (1 - spec.value))
        yield "auc", "impossible", f"every curve {point} has at most {top}, not {area.text}"
    elif area.high < (sens.low + spec.low) / 2 - TINY:
        mean = area.shown((sens.value + spec.value) / 2)
        message = f"a concave curve {point} has at least {mean} (their mean), not {area.text}"
        yield "auc", "implausible", message


def width(row: ResultRow) -> Iterator[Finding]:
    """The interval of the AUC against what so many patients allow."""
    area, low, high = (row.values.get(c) for c in ("auc", "auc_low", "auc_high"))
    if not (area and low and high) or low.low > high.high:
        return
    n = row.values.get("n")
    found = narrowness(area, low, high, row.classes, None if n is None else round(n.value))
    if found is not None:
        yield "auc_low", *found


def hanley_mcneil(area: float, positive: int, negative: int) -> float:
    """Standard error of an area by the formula of Hanley and McNeil, Radiology 1982;143:29-36."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    return math.sqrt(variance / (positive * negative))


def smallest_error(area: float, positive: int, negative: int) -> float:
    """The smallest standard error that any score can have, ties or not.

    DeLong's variance (1988) is that of the positives' placements over their number plus that of the
    negatives' over theirs. It is least for three levels of the score: a share 1 - d of the positives above
    everybody, a share 1 - t of the negatives below everybody, and all others tied, with d t / 2 = 1 - area:
    then it is (1 - area) / 2 x ((d - d t) / negatives + (t - d t) / positives), and d is chosen best. No
    other score was found below it by numerical search over up to eight levels; without ties the smallest is
    larger (Birnbaum and Klose, Ann Math Stat 1957;28:933-945).
    """
    product = 2 * min(area, 1 - area)  # d t; a score and its negative have one error
    if product <= 0:
        return 0.0
    of_positives = min(max(math.sqrt(product * negative / positive), product), 1.0)
    of_negatives = product / of_positives
    spread = (of_positives - product) / negative + (of_negatives - product) / positive
    return math.sqrt(product / 4 * max(spread, 0.0))


def interval_width(area: float, error: float) -> float:
    """Width of the 95 % interval: of the plain one cut off at 0 and 1, or of that on the logit's scale."""
    half = quantile(0.95) * error
    plain = min(1.0, area + half) - max(0.0, area - half)
    if not 0 < area < 1:
        return plain
    ends = expit(logit(area) + np.array([-half, half]) / (area * (1 - area)))
    return min(plain, float(ends[1] - ends[0]))


def narrowness(
    area: Printed, low: Printed, high: Printed, classes: tuple[int | None, int | None], n: int | None
) -> tuple[Severity, str] | None:
    """Severity and message where an interval, taken for one of 95 %, is too narrow; None where it is not.

    Everything is taken in favour of the table: the widest interval that its digits leave open, the area that
    rounds to the printed one and has the narrowest, and the best division of n where the classes are unknown.
    """
    splits = _splits(classes, n)
    if not splits:
        return None
    widest = (high.high - low.low) / 2
    best = min(max(area.high, 1 - area.low), 1.0)  # symmetric about a half
    smallest, split = min((interval_width(best, smallest_error(best, *s)) / 2, s) for s in splits)
    patients = f"{split[0]} and {split[1]} patients" if None not in classes else f"{n} patients at best"
    printed = f"{low.text}-{high.text} is at most {_shown(widest)} to either side with rounding"
    if widest < smallest - 1e-6:
        message = f"a 95 % interval of {patients} has at least {_shown(smallest)}, whatever the score"
        return "impossible", f"{printed}; {message} ({_formula(area.value, split)})"
    expected = min(interval_width(area.value, hanley_mcneil(area.value, *s)) / 2 for s in splits)
    if 0.5 <= area.value <= NARROW_UP_TO and widest < NARROW * expected:
        return (
            "implausible",
            f"{printed}, hardly a 95 % interval of {patients} ({_formula(area.value, split)})",
        )
    return None


def _formula(area: float, split: tuple[int, int]) -> str:
    half = quantile(0.95) * hanley_mcneil(area, *split)
    return f"Hanley-McNeil: {_shown(half)}, {max(area - half, 0):.2f}-{min(area + half, 1):.2f}"


def _shown(value: float) -> str:
    return f"{value:.3f}"


def _splits(classes: tuple[int | None, int | None], n: int | None) -> list[tuple[int, int]]:
    positive, negative = classes
    if positive is not None and negative is not None:
        return [(positive, negative)] if positive > 0 and negative > 0 else []
    if n is None or n < 2:
        return []
    found = np.linspace(1, n - 1, SPLITS).round().astype(int)
    return [(int(p), n - int(p)) for p in dict.fromkeys(found.tolist())]
