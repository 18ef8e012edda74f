"""Tables 1 to 2 and their companions, from the results, beside what the paper printed."""

from covid19net.evaluate import Estimate, OperatingPoint
from covid19net.study.diagnosis import Diagnosis, Measured
from covid19net.study.published import SOURCE, TABLE_2, Printed
from covid19net.table import INDENT, Table

SMALLEST_P = 1e-4
LONGEST_SLUG = 40  # letters of a set's name in a file name; of any alphabet, below 255 bytes
DASH = "–"  # noqa: RUF001 - an en dash between the limits of an interval


def ratio(estimate: Estimate | None) -> str:
    """A fraction or ratio with its interval; empty cells say that there is none."""
    if estimate is None:
        return "NA"
    dash = " to " if estimate.low < 0 else DASH
    return f"{estimate.value:.2f} ({estimate.low:.2f}{dash}{estimate.high:.2f})"


def percent(estimate: Estimate | None) -> str:
    """A fraction as percent with its interval."""
    if estimate is None:
        return "NA"
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} ({low:.1f}{DASH}{high:.1f})"


def p_value(p: float | None) -> str:
    """A p value as journals print it."""
    if p is None:
        return "NA"
    if p < SMALLEST_P:
        return "< 0.0001"
    return f"{p:.4f}" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def table_two(diagnosis: Diagnosis) -> Table:
    """Table 2 of the paper: performance in every set, each with the published row below it."""
    rows: list[tuple[str, ...]] = []
    for name, measured in diagnosis.sets.items():
        rows.append((name, *_measures(measured)))
        if name in TABLE_2:
            rows.append((f"{INDENT}published", *_printed(TABLE_2[name])))
    header = (
        "", "COVID-19 / other", "AUC", "accuracy, %", "sensitivity, %", "specificity, %", "PPV, %", "NPV, %",
    )  # fmt: skip
    notes = (
        f"Positive above {diagnosis.threshold:.4g} ({diagnosis.threshold_origin}). 95 % intervals: AUC by "
        "DeLong on the logit scale, proportions by Wilson.",
        f"Published: {SOURCE}, as printed; the patients and weights were others.",
        "The printed accuracy of validation 2-viral is impossible, and the printed AUC intervals are "
        "narrower than their numbers of patients can give: see the audit.",
    )
    return Table("table-2", "Table 2. Diagnosis", header, tuple(rows), notes)


def _measures(measured: Measured) -> tuple[str, ...]:
    found, point = measured.performance, measured.performance.point
    shares = (point.accuracy, point.sensitivity, point.specificity, point.ppv, point.npv)
    return f"{found.positive} / {found.negative}", ratio(found.auc), *map(percent, shares)


def _printed(printed: Printed) -> tuple[str, ...]:
    interval = f"{printed.auc_low:.2f}{DASH}{printed.auc_high:.2f}"
    shares = (printed.accuracy, printed.sensitivity, printed.specificity)
    return "", f"{printed.auc:.2f} ({interval})", *(f"{100 * value:.2f}" for value in shares), "", ""


def scores_table(diagnosis: Diagnosis) -> Table:
    """How the groups score, and the bootstrap interval of the AUC beside DeLong's."""
    rows = []
    for name, measured in diagnosis.sets.items():
        found = measured.performance
        groups = [
            f"{g.median:.2f} ({g.lower:.2f}{DASH}{g.upper:.2f})"
            for g in (found.difference.positive, found.difference.negative)
        ]
        rows.append(
            (name, *groups, p_value(found.difference.p), ratio(found.auc), ratio(found.auc_bootstrap))
        )
    header = (
        "", "score, COVID-19", "score, other", "p, Mann-Whitney", "AUC, DeLong", "AUC, bootstrap",
    )  # fmt: skip
    notes = ("Scores: median (quartiles). The paper printed p < 0.0001 for every set.",)
    return Table("scores", "Scores of the groups", header, tuple(rows), notes)


def thresholds_table(diagnosis: Diagnosis) -> Table:
    """What every threshold at hand gives, in every set."""
    rows = []
    for name, measured in diagnosis.sets.items():
        rows.append((name, "", "", "", ""))
        for origin, point in measured.points.items():
            rows.append((f"{INDENT}{origin}", f"{point.threshold:.4g}", *_point(point)))
    header = ("", "threshold", "accuracy, %", "sensitivity, %", "specificity, %")
    notes = (
        "youden: of the training set; card: of the weights; released: of the authors' test (probability > "
        "0.8).",
    )
    return Table("thresholds", "Other thresholds", header, tuple(rows), notes)


def _point(point: OperatingPoint) -> tuple[str, str, str]:
    return percent(point.accuracy), percent(point.sensitivity), percent(point.specificity)


def calibration_table(diagnosis: Diagnosis) -> Table:
    """Whether the probabilities mean what they say."""
    rows = []
    for name, measured in diagnosis.sets.items():
        found = measured.performance.calibration
        if found is not None:
            slope = "none" if found.slope is None else ratio(found.slope)
            large, brier = ratio(found.in_the_large), ratio(found.brier)
            rows.append((name, brier, large, slope, f"{found.expected_error:.3f}"))
    header = ("", "Brier score", "intercept", "slope", "expected error")
    notes = ("Perfect: intercept 0, slope 1. Intercept: what must be added to every logit (slope 1).",)
    return Table("calibration", "Calibration", header, tuple(rows), notes)


def baseline_table(diagnosis: Diagnosis) -> Table | None:
    """The network beside logistic regression on density statistics; None without a baseline."""
    if diagnosis.baseline is None:
        return None
    rows = [
        (
            name,
            ratio(measured.performance.auc),
            ratio(measured.baseline.auc if measured.baseline else None),
            ratio(measured.comparison.difference if measured.comparison else None),
            p_value(measured.comparison.p if measured.comparison else None),
        )
        for name, measured in diagnosis.sets.items()
    ]
    header = ("", "AUC, network", "AUC, density", "difference", "p, DeLong")
    notes = (
        f"Baseline: logistic regression (ridge {diagnosis.baseline.ridge:g}) on "
        f"{', '.join(diagnosis.baseline.names)}, fitted on the training set; its training AUC is "
        "resubstitution.",
    )
    return Table("baseline", "A simple baseline beside the network", header, tuple(rows), notes)


def strata_table(name: str, measured: Measured) -> Table:
    """Performance in every stratum of one set."""
    rows, covariate = [], ""
    for stratum in measured.strata:
        if stratum.covariate != covariate:
            covariate = stratum.covariate
            rows.append((covariate, "", "", "", "", "", ""))
        found = stratum.performance
        calibration = found.calibration if found else None
        rows.append(
            (
                f"{INDENT}{stratum.value}",
                f"{stratum.positive} / {stratum.negative}",
                ratio(found.auc) if found else stratum.reason,
                percent(found.point.accuracy) if found else "",
                percent(stratum.sensitivity),
                percent(stratum.specificity),
                ratio(calibration.brier) if calibration else "",
            )
        )
    header = ("", "COVID-19 / other", "AUC", "accuracy, %", "sensitivity, %", "specificity, %", "Brier score")
    notes = (
        "Types of other pneumonia are each compared with all COVID-19 patients, severity grades of "
        "COVID-19 with all others.",
    )
    return Table(f"strata-{slug(name)}", f"Strata: {name}", header, tuple(rows), notes)


def slug(name: str) -> str:
    """A set's name as part of a file name."""
    kept = "".join(letter if letter.isalnum() else "-" for letter in name.lower())
    return "-".join(filter(None, kept.split("-")))[:LONGEST_SLUG].rstrip("-") or "set"


AUDITED = ("set", "n", "positive", "negative", "auc", "auc_low", "auc_high")
SHARES = ("accuracy", "sensitivity", "specificity", "ppv", "npv")


def audited_table(diagnosis: Diagnosis) -> Table:
    """The results as `covid19net audit` reads them, percent with two decimals."""
    rows = []
    for name, measured in diagnosis.sets.items():
        found = measured.performance
        counts = (found.positive + found.negative, found.positive, found.negative)
        area = (found.auc.value, found.auc.low, found.auc.high)
        shares = [getattr(found.point, share) for share in SHARES]
        rows.append(
            (
                name,
                *map(str, counts),
                *(f"{value:.2f}" for value in area),
                *("" if share is None else f"{100 * share.value:.2f} %" for share in shares),
            )
        )
    return Table("results", "Results in plain columns", (*AUDITED, *SHARES), tuple(rows))
