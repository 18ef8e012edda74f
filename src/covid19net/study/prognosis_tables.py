"""Tables of the prognostic half of a study."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from covid19net.prognosis.competing import CauseRow
from covid19net.prognosis.cox import HazardRatio
from covid19net.prognosis.groups import WaitingCurve, mean_wait
from covid19net.prognosis.optimism import Optimism
from covid19net.prognosis.outcome import COMPETING
from covid19net.study.grades import Grade
from covid19net.study.judged import BOTH, COMPETITORS
from covid19net.study.prognosis import EndPointStudy, word_of
from covid19net.study.published import FIGURE_4, SELECTED, SOURCE
from covid19net.study.tables import p_value, ratio
from covid19net.table import INDENT, Table

TITLES = {"age": "age", "sex_male": "sex, male", "comorbidity": "any comorbidity"}
UNITLESS = ("sex_male", "comorbidity")
MOST_UNIVARIABLE = 15  # rows on the page; all are in results.json
DISCHARGE = "discharge"  # the paper's end point, the only one with printed numbers
SELECTED_HERE = (
    "The covariates were selected on these patients: p and intervals are too small and too narrow."
)
COUNTED = 6  # days at which the numbers at risk are given, as in the paper's figure


def title_of(name: str) -> str:
    """A covariate in words."""
    return TITLES.get(name, f"DL feature {name[1:]}")


def label_of(row: HazardRatio | CauseRow) -> str:
    """A covariate with the unit of its hazard ratio."""
    if row.name in UNITLESS:
        return title_of(row.name)
    unit = f"{row.per:g} years" if row.name == "age" else f"sd ({row.per:.3g})"
    return f"{title_of(row.name)}, per {unit}"


def selection_table(study: EndPointStudy) -> Table:
    """The path of the selection, step by step."""
    selection = study.selection
    shown = p_value if selection.procedure.criterion == "p" else "{:.2f}".format
    rows = [("0", "no covariate", shown(selection.null), "", "")]
    rows += [
        (
            str(step.number),
            f"{step.move.action} {title_of(step.move.name)}",
            shown(step.move.criterion),
            p_value(step.move.p),
            f"{step.runner_up.action} {title_of(step.runner_up.name)}" if step.runner_up else "",
        )
        for step in selection.steps
    ]
    count = len(selection.names)
    notes = [f"{count} covariate{'s' * (count != 1)} selected."]
    if study.end_point == DISCHARGE:
        notes = [f"{notes[0][:-1]}; the paper's selection chose {SELECTED}."]
    notes += [f"Not offered: {title_of(lost.name)}: {lost.reason}." for lost in selection.dropped]
    criterion = selection.procedure.criterion.upper()
    header = ("step", "change", criterion, "p, likelihood ratio", "next best")
    title = f"Selection of covariates, {study.word}"
    return Table(f"selection-{study.end_point}", title, header, tuple(rows), tuple(notes))


def cox_rows(study: EndPointStudy) -> Table:
    """The multivariate Cox model."""
    table = study.table
    assert table is not None
    rows = tuple(
        (
            label_of(r),
            f"{r.coefficient * r.per:.3f}",
            ratio(r.hazard_ratio),
            p_value(r.p),
            p_value(r.proportional_p),
        )
        for r in table.rows
    )
    direction = "below 1: a longer stay" if study.end_point == "discharge" else "above 1: a worse course"
    notes = (
        f"{table.patients} patients, {table.events} events; AIC {table.aic:.1f}; p of the whole model "
        f"{p_value(table.p)}; concordance {ratio(table.concordance)} on the same patients.",
        f"A hazard ratio {direction}. DL features per standard deviation.",
        SELECTED_HERE,
        "Proportional hazards by scaled Schoenfeld residuals: small p speaks against; all together "
        f"{p_value(table.proportional_p)}.",
    )
    header = ("", "log hazard ratio", "hazard ratio (95 % CI)", "p", "p, proportional hazards")
    return Table(f"cox-{study.end_point}", f"Multivariate Cox model, {study.word}", header, rows, notes)


def univariable_table(study: EndPointStudy) -> Table:
    """Each covariate alone, the clearest first, clinical ones always."""
    assert study.univariable is not None
    rows = sorted(study.univariable.rows, key=lambda row: (row.name not in TITLES, row.p))
    shown = rows[: MOST_UNIVARIABLE + len(TITLES)]
    cells = tuple((label_of(r), ratio(r.hazard_ratio), p_value(r.p)) for r in shown)
    notes = (
        [f"{len(rows) - len(shown)} DL features with larger p are in results.json."]
        if len(rows) > len(shown)
        else []
    )
    notes += ["Not corrected for the number of tests."]
    name = f"univariable-{study.end_point}"
    header = ("", "hazard ratio (95 % CI)", "p")
    return Table(name, f"Each covariate alone, {study.word}", header, cells, tuple(notes))


def groups_table(study: EndPointStudy) -> Table:
    """Risk groups in every set; for discharge with what the paper printed."""
    rows: list[tuple[str, ...]] = []
    for name, judged in study.sets.items():
        p = p_value(judged.test.p) if judged.test else "NA"
        rows.append((name, "", "", "", "", p))
        horizon = min(float(curve.times[-1]) for curve in judged.curves)
        for curve in judged.curves:
            counts = str(curve.patients), str(curve.events)
            mean = mean_wait(curve, horizon)
            waiting = f"{mean.value:.1f} ({mean.low:.1f} to {mean.high:.1f}) of {horizon:g}"
            rows.append((f"{INDENT}{curve.name} risk", *counts, _median(curve), waiting, ""))
    assert study.model is not None
    notes = [
        f"High risk: at or above the training set's median risk ({study.model.cut:.3f}); the same cut in "
        "every set.",
        "The groups of the training set are judged by the patients that made them (resubstitution): their "
        "difference is too large.",
        "Mean: restricted to the last day on which both groups are followed, given after it.",
    ]
    header: tuple[str, ...] = (
        "", "patients", "events", "median days (95 % CI)", "mean days (95 % CI)", "p, log-rank",
    )  # fmt: skip
    if study.end_point == DISCHARGE:
        header = (*header, "published")
        rows = [(*row, cell) for row, cell in zip(rows, _published(study), strict=True)]
        notes.append(
            f"Published: {SOURCE}, log-rank p and patients of each group; its training set too is "
            "judged by resubstitution."
        )
    return Table(f"groups-{study.end_point}", f"Risk groups, {study.word}", header, tuple(rows), tuple(notes))


def _published(study: EndPointStudy) -> Iterator[str]:
    """What the paper printed for each row of the groups."""
    for name, judged in study.sets.items():
        printed = FIGURE_4.get(name)
        yield f"p {printed.p}" if printed else ""
        for curve in judged.curves:
            yield str(getattr(printed, curve.name)[0]) if printed else ""


def _median(curve: WaitingCurve) -> str:
    if curve.median is None:
        return "not reached"
    low, high = (f"{v:.1f}" if v is not None else "NA" for v in (curve.median_low, curve.median_high))
    return f"{curve.median:.1f} ({low} to {high})"


def at_risk_table(study: EndPointStudy) -> Table | None:
    """Numbers at risk beside those of the paper's Figure 4; None where no set has its name."""
    days = np.arange(COUNTED) * 10.0
    rows: list[tuple[str, ...]] = []
    for name, judged in study.sets.items():
        if name in FIGURE_4:
            for curve in judged.curves:
                own = (str(n) for n in curve.at_risk(days))
                printed = " ".join(str(n) for n in getattr(FIGURE_4[name], curve.name))
                rows.append((f"{name}, {curve.name} risk", *own, printed))
    if not rows:
        return None
    header = ("", *(f"day {day:g}" for day in days), "published")
    notes = ("Still followed just before each day. Published: at the six times of the paper's figure.",)
    return Table("at-risk", "Numbers at risk", header, tuple(rows), notes)


def concordance_table(study: EndPointStudy) -> Table:
    """How well risk ranks the patients, beside simpler and penalised models."""
    rows = [
        (
            f"{name} (resubstitution)" if place == 0 else name,
            ratio(judged.selected_concordance),
            ratio(judged.clinical_concordance),
            ratio(judged.ridge_concordance),
            ratio(judged.slope),
        )
        for place, (name, judged) in enumerate(study.sets.items())
    ]
    assert study.ridge is not None
    notes = (
        "Harrell's concordance: 0.5 is chance. Clinical: Cox model of age, sex and comorbidity. "
        f"Penalised: ridge on all covariates (penalty {study.ridge.ridge:.3g}, cross-validated). All made "
        "on the training set.",
        "Slope of the predictor that made the groups: 1 where the coefficients hold, below 1 where they "
        "are too strong.",
    )
    header = ("", "selected model", "clinical alone", "penalised", "slope")
    title = f"Concordance, {study.word}"
    return Table(f"concordance-{study.end_point}", title, header, tuple(rows), notes)


def grades_table(end_point: str, found: Mapping[str, Sequence[Grade]]) -> Table:
    """Risk groups within mild and severe patients."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name, grades in found.items():
        rows.append((name, "", "", "", "", ""))
        for grade in grades:
            low, high = (next((c for c in grade.curves if c.name == g), None) for g in ("low", "high"))
            medians = [_median(curve) if curve else "nobody" for curve in (low, high)]
            p = p_value(grade.test.p) if grade.test else "NA"
            if grade.reason:
                notes.append(f"{name}, {grade.name}: {grade.reason}.")
            low_median, high_median = medians
            size, ranked = str(grade.patients), ratio(grade.concordance)
            rows.append((f"{INDENT}{grade.name}", size, low_median, high_median, p, ranked))
    header = ("", "patients", "low risk, median days", "high risk, median days", "p, log-rank", "concordance")
    title = f"Mild and severe apart, {word_of(end_point)}"
    return Table(f"grades-{end_point}", title, header, tuple(rows), tuple(notes))


def competing_table(study: EndPointStudy) -> Table:
    """How many of each group had the event and what competes, and Gray's test between the groups."""
    rows: list[tuple[str, ...]] = []
    words = study.word, COMPETITORS.get(study.end_point, BOTH)
    for name, judged in study.sets.items():
        if not judged.incidences:
            continue
        tests = (p_value(test.p) if test else "NA" for test in (judged.test, judged.gray))
        rows.append((name, "", "", "", *tests))
        events = {one.name: str(one.events) for one in judged.incidences}
        for curve in judged.curves:
            counts = (events.get(f"{curve.name} risk, {word}", "0") for word in words)
            rows.append((f"{INDENT}{curve.name} risk", str(curve.patients), *counts, "", ""))
    header = ("", "patients", *words, "p, log-rank", "p, Gray")
    notes = (
        "Log-rank: the event's hazard among those still waiting. Gray: how many had the event where others "
        "prevent it.",
    )
    title = f"Risk groups with competing events, {study.word}"
    return Table(f"competing-{study.end_point}", title, header, tuple(rows), notes)


def causes_table(study: EndPointStudy) -> Table:
    """Cause-specific Cox models."""
    words = {COMPETING: "competing event"}
    rows, cause = [], 0
    for row in study.causes:
        if row.cause != cause:
            cause = row.cause
            title = words.get(cause, study.word)
            rows.append((f"{title} ({row.events} of {row.patients})", "", "", ""))
        name, log_ratio = f"{INDENT}{label_of(row)}", f"{row.coefficient * row.per:.3f}"
        rows.append((name, log_ratio, ratio(row.hazard_ratio), p_value(row.p)))
    header = ("", "log hazard ratio", "hazard ratio (95 % CI)", "p")
    notes = ("Each cause with the other one censored, on the training set.", SELECTED_HERE)
    title = f"Cause-specific Cox models, {study.word}"
    return Table(f"causes-{study.end_point}", title, header, tuple(rows), notes)


def optimism_table(found: Optimism, end_point: str) -> Table:
    """What is left of the training concordance on new patients."""
    slope = "none" if found.slope is None else f"{found.slope:.2f} (sd {found.slope_spread:.2f})"
    rows = (
        ("concordance as it looks (resubstitution)", ratio(found.apparent)),
        ("optimism", f"{found.optimism:.3f} (sd {found.spread:.3f})"),
        ("concordance to expect in new patients", f"{found.corrected:.2f}"),
        ("slope to expect in new patients", slope),
        ("draws", str(found.draws)),
        (f"{INDENT}without any covariate", str(found.empty)),
        (f"{INDENT}without a model", str(sum(found.failed.values()))),
    )
    notes = (
        "Selection and fit were repeated in every draw. The paper's training curves and AUC are of the "
        "kind in the first row.",
        *(f"{count} draws: {reason}." for reason, count in found.failed.items()),
    )
    title = f"Optimism of the whole procedure, {word_of(end_point)}"
    return Table(f"optimism-{end_point}", title, ("", ""), rows, notes)
