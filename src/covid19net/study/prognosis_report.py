"""The prognostic sections of a study's report: Figure 4 and what stands behind and beside it."""

from dataclasses import replace

import numpy as np

from covid19net.cohort import FEWEST_DAYS
from covid19net.prognosis.groups import LogRank, WaitingCurve
from covid19net.prognosis.outcome import END_POINTS
from covid19net.report.shelf import Shelf
from covid19net.report.study_page import Banner, ListPart, Paragraph, Part, Section
from covid19net.study import prognosis_tables as tables
from covid19net.study.grades import grades_of
from covid19net.study.prognosis import EndPointStudy
from covid19net.study.tables import p_value, ratio

WAITING = {
    "discharge": "Probability of still being in hospital",
    "death": "Probability of being alive",
    "icu": "Probability of no intensive care yet",
    "ventilation": "Probability of no ventilation yet",
}
ONLY_LONGER = (
    f"Only patients followed for more than {FEWEST_DAYS:g} days count, as in the paper. Who died or left "
    "earlier is missing, and those who count could do neither in that time (immortal time): all figures hold "
    "for patients who stay so long, not for everybody from the diagnosis on."
)
SHORTLY = f"Of those followed for more than {FEWEST_DAYS:g} days."  # below each figure
NO_OPTIMISM = (
    "How much the training set flatters itself (optimism) was not estimated here: that is done for "
    "discharge, with a model of selected covariates and --draws above 0. Its concordance is too large, by "
    "an unknown amount."
)
SIDES = {True: ("better course", "worse course"), False: ("longer stay", "shorter stay")}


def prognosis_sections(study: EndPointStudy, shelf: Shelf) -> list[Section]:
    """Selection and model, risk groups, how well they predict, and what competes."""
    name = study.word
    warning = study.support.warning
    made: list[Part] = [Banner(f"{name}: {warning}.", "warning")] if warning else []
    made.append(shelf.table(tables.selection_table(study)))
    if study.model is None:
        made += [ListPart(study.notes)] if study.notes else []
        return [Section(f"Prognosis: {name}", tuple(made))]
    made += _model(study, shelf)
    groups = [*_groups(study, shelf), *_grades(study, shelf)]
    sections = [
        Section(f"Prognosis: {name}", tuple(made)),
        Section(f"Risk groups: {name}", tuple(groups)),
        Section(f"Discrimination: {name}", tuple(_discrimination(study, shelf))),
    ]
    competing = _competing(study, shelf)
    if competing:
        sections.append(Section(f"Competing events: {name}", tuple(competing)))
    return sections


def _model(study: EndPointStudy, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_forest import hazard_figure

    notes: list[Part] = [ListPart(study.notes)] if study.notes else []
    if study.table is None:
        return [shelf.table(tables.univariable_table(study)), *notes]
    rows = [(tables.label_of(row), row.hazard_ratio, row.p) for row in study.table.rows]
    said = "; ".join(f"{label} {ratio(value)}" for label, value, _ in rows)
    figure = shelf.figure(
        f"hazard-ratios-{study.end_point}",
        hazard_figure(rows, shelf.mark, sides=SIDES[END_POINTS[study.end_point].adverse]),
        f"Hazard ratios of the multivariate Cox model, {study.word}.",
        f"Forest plot of hazard ratios: {said}.",
    )
    parts: list[Part] = [
        shelf.table(tables.cox_rows(study)),
        figure,
        shelf.table(tables.univariable_table(study)),
    ]
    return parts + notes


def _groups(study: EndPointStudy, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_survival import waiting_figure

    panels = [(name, _named(judged.curves), _tested(judged.test)) for name, judged in study.sets.items()]
    paper = study.end_point == tables.DISCHARGE
    counted = "counts as such, as in the paper" if paper else "counts as such"
    figure = shelf.figure(
        "figure-4-groups" if paper else f"groups-{study.end_point}",
        waiting_figure(panels, mark=shelf.mark, y_label=WAITING[study.end_point]),
        f"{'Figure 4, ' if paper else ''}Kaplan-Meier curves of the risk groups, {study.word}. Ticks: "
        f"last seen without the event; a competing event {counted}. Below: numbers at risk. "
        f"{SHORTLY} The training set judges itself too kindly.",
        f"Kaplan-Meier curves of low and high risk in {', '.join(study.sets)}.",
    )
    parts: list[Part] = [Paragraph(ONLY_LONGER), figure, shelf.table(tables.groups_table(study))]
    if paper:
        published = tables.at_risk_table(study)
        parts += [shelf.table(published)] if published else []
    notes = [
        f"{name}: {note}"
        for name, judged in study.sets.items()
        for note in (*judged.followed.notes, *judged.notes)
    ]
    return parts + ([ListPart(tuple(dict.fromkeys(notes)))] if notes else [])


def _named(curves: tuple[WaitingCurve, ...]) -> list[WaitingCurve]:
    """Curves with the names a legend needs."""
    return [replace(curve, name=f"{curve.name} risk") for curve in curves]


def _tested(test: LogRank | None) -> str:
    if test is None:
        return "no test"
    said = p_value(test.p)
    return f"log-rank p {said}" if said.startswith("<") else f"log-rank p = {said}"


def _grades(study: EndPointStudy, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_survival import waiting_figure

    assert study.model is not None
    found = {name: grades_of(judged, study.model.sign) for name, judged in study.sets.items()}
    found = {name: grades for name, grades in found.items() if grades}
    if not found:
        return []
    panels = [
        (f"{name}, {grade.name}", _named(grade.curves), _tested(grade.test))
        for name, grades in found.items()
        for grade in grades
        if grade.curves
    ]
    parts: list[Part] = [
        Paragraph("Mild and severe COVID-19 apart, which the paper names among its limits."),
        shelf.table(tables.grades_table(study.end_point, found)),
    ]
    if panels:
        parts.append(
            shelf.figure(
                f"grades-{study.end_point}",
                waiting_figure(panels, mark=shelf.mark, y_label=WAITING[study.end_point]),
                f"Risk groups among mild and severe patients, {study.word}. {SHORTLY}",
                f"Kaplan-Meier curves of low and high risk in {', '.join(title for title, _, _ in panels)}.",
            )
        )
    return parts


def _discrimination(study: EndPointStudy, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_forest import selection_figure
    from covid19net.report.figure_survival import timed_auc_figure

    parts: list[Part] = [shelf.table(tables.concordance_table(study))]
    curves = [
        (name, np.array([one.day for one in judged.timed]), [one.auc for one in judged.timed])
        for name, judged in study.sets.items()
        if judged.timed
    ]
    if curves:
        parts.append(
            shelf.figure(
                f"timed-auc-{study.end_point}",
                timed_auc_figure(curves, shelf.mark),
                "Cumulative/dynamic AUC: who has had the event by a day against who has not, censoring "
                f"weighted. {SHORTLY} The training set judges itself too kindly.",
                f"AUC by day in {', '.join(name for name, _, _ in curves)}.",
            )
        )
    if study.optimism is None:
        parts.append(Paragraph(NO_OPTIMISM))
    else:
        parts += [shelf.table(tables.optimism_table(study.optimism, study.end_point))]
        shares = [
            (tables.title_of(name), share) for name, share in study.optimism.selected.items() if share > 0
        ]
        chosen = [tables.title_of(name) for name in study.selection.names]
        parts.append(
            shelf.figure(
                f"selection-{study.end_point}",
                selection_figure(shares, shelf.mark, chosen=chosen),
                "How often the bootstrap chose each covariate: a selection that changes from sample to "
                "sample says little about single covariates.",
                "Bars: share of bootstrap draws that selected each covariate.",
            )
        )
    return parts


def _competing(study: EndPointStudy, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_survival import incidence_figure

    panels = [(name, judged.incidences) for name, judged in study.sets.items() if judged.incidences]
    if not panels:
        return []
    text = (
        "Whoever dies is never discharged. Counted as censored, as above and in the paper, they are "
        "treated as if they could still be; here both events compete."
        if study.end_point == "discharge"
        else "Discharge and death end the waiting for this event; here they compete with it."
    )
    parts: list[Part] = [
        Paragraph(text),
        shelf.figure(
            f"incidence-{study.end_point}",
            incidence_figure(panels, shelf.mark),
            f"Cumulative incidence after Aalen and Johansen by risk group, {study.word}. {SHORTLY}",
            "Cumulative incidence of the event and of what competes in "
            f"{', '.join(name for name, _ in panels)}.",
        ),
    ]
    parts.append(shelf.table(tables.competing_table(study)))
    if study.causes:
        parts.append(shelf.table(tables.causes_table(study)))
    return parts
