"""Tables of the prognostic half of a study."""

from collections.abc import Mapping

import numpy as np

from covid19net.prognosis.cox import CoxTable, HazardRatio
from covid19net.prognosis.optimism import Optimism
from covid19net.prognosis.outcome import END_POINTS
from covid19net.prognosis.stepwise import Selection
from covid19net.study.grades import Grade
from covid19net.study.prognosis import EndPointStudy, Judged
from covid19net.study.published import FIGURE_4, SELECTED
from covid19net.study.tables import p_value, percent, ratio
from covid19net.table import INDENT, Table

TITLES = {"age": "age", "sex": "sex, male", "comorbidity": "any comorbidity"}
MOST_UNIVARIABLE = 15  # rows on the page; the others are in results.json


def title_of(name: str) -> str:
    """A covariate in words."""
    return TITLES.get(name, f"DL feature {name[1:]}")


def _label(row: HazardRatio) -> str:
    unit = {"age": f"per {row.per:g} years"}.get(row.name, f"per {row.per:.3g} (1 sd)")
    return title_of(row.name) if row.name in ("sex", "comorbidity") else f"{title_of(row.name)}, {unit}"


def selection_table(study: EndPointStudy) -> Table:
    """The path of the selection, step by step."""
    selection = study.selection
    rows = [("0", "start", f"{selection.start_criterion:.2f}", "", "")]
    rows += [
        (
            str(step.number),
            f"{step.action}{title_of(step.name)}",
            f"{step.criterion:.2f}",
            p_value(step.p),
            title_of(step.runner_up) if step.runner_up else "",
        )
        for step in selection.steps
    ]
    notes = [f"{len(selection.names)} covariates selected; the paper's selection chose {SELECTED}."]
    notes += [f"Left out before: {title_of(lost.name)}: {lost.reason}" for lost in selection.dropped]
    name = f"selection-{study.end_point}"
    header = ("step", "change", selection.procedure.criterion.upper(), "p, likelihood ratio", "runner-up")
    return Table(name, f"Selection, {study.end_point}", header, tuple(rows), tuple(notes))


def cox_rows(study: EndPointStudy) -> Table:
    """The multivariate Cox model."""
    table = study.table
    assert table is not None
    rows = tuple(
        (
            _label(row),
            f"{row.coefficient:.3f}",
            ratio(row.hazard_ratio),
            p_value(row.p),
            p_value(row.proportional_p),
        )
        for row in table.rows
    )
    good = (
        "a ratio below 1 is a longer stay"
        if study.end_point == "discharge"
        else "a ratio above 1 is a worse course"
    )
    notes = (
        f"{table.patients} patients, {table.events} events; likelihood-ratio p {p_value(table.likelihood_ratio_p)}; "
        f"AIC {table.aic:.1f}; {good}.",
        "p and intervals do not know of the selection: they are too small and too narrow.",
        "Proportional hazards: p of the test on scaled Schoenfeld residuals; small values speak against.",
    )
    header = ("", "log hazard ratio", "hazard ratio (95 % CI)", "p", "p, proportional hazards")
    return Table(f"cox-{study.end_point}", f"Multivariate Cox model, {study.end_point}", header, rows, notes)


def groups_table(study: EndPointStudy) -> Table:
    """Risk groups in every set, with what the paper printed."""
    rows = []
    for name, judged in study.sets.items():
        printed = FIGURE_4.get(name) if study.end_point == "discharge" else None
        p = p_value(judged.test.p) if judged.test else "NA"
        rows.append((name, "", "", "", "", p, printed.p if printed else ""))
        for curve in judged.curves:
            at_risk = "" if printed is None else str(getattr(printed, curve.name)[0])
            median = "not reached" if curve.median is None else f"{curve.median:.1f}"
            rows.append(
                (
                    f"{INDENT}{curve.name} risk",
                    str(curve.patients),
                    str(curve.events),
                    median,
                    _mean(curve),
                    "",
                    at_risk,
                )
            )
    assert study.model is not None
    notes = (
        f"High risk: at or above the median risk of the training set ({study.model.cut:.3f}), the same cut in every set.",
        "Training: the groups were made from the same patients (resubstitution); their difference is too large, as is the "
        "paper's.",
    )
    header = ("", "patients", "events", "median, days", "mean to the last day", "p, log-rank", "published")
    return Table(f"groups-{study.end_point}", f"Risk groups, {study.end_point}", header, tuple(rows), notes)


def _mean(curve: object) -> str:
    time, waiting = np.asarray(getattr(curve, "time")), np.asarray(getattr(curve, "waiting"))
    end = float(getattr(curve, "times")[-1])
    steps = np.diff(np.append(time, end).clip(max=end))
    return f"{float((steps * waiting).sum()):.1f}"
