"""The diagnostic sections of a study's report: Table 2, Figures 3 and 6e, and what the paper leaves out."""

from collections.abc import Mapping

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate import Stratum, decision_curve, roc_curve
from covid19net.evaluate.audit import audit
from covid19net.evaluate.results import read_results
from covid19net.evaluate.space import principal_components
from covid19net.report.shelf import Shelf
from covid19net.report.study_page import FigurePart, ListPart, Paragraph, Part, Section
from covid19net.study import tables
from covid19net.study.diagnosis import Diagnosis, Measured
from covid19net.study.sets import StudySet

FEWEST_POINTS = 3  # patients of whom a plane can be drawn


def diagnosis_sections(diagnosis: Diagnosis, shelf: Shelf) -> list[Section]:
    """Performance, calibration, baseline and strata, each with its tables and figures."""
    plain = tables.audited_table(diagnosis)
    plain.write(shelf.folder / "tables")
    told = [
        doubt.in_words for doubt in audit(read_results(shelf.folder / "tables" / f"{plain.name}.csv").rows)
    ]
    performance: list[Part] = [
        shelf.table(tables.table_two(diagnosis)),
        _roc(diagnosis, shelf),
        _scores(diagnosis, shelf),
        shelf.table(tables.scores_table(diagnosis)),
        shelf.table(tables.thresholds_table(diagnosis)),
        Paragraph(
            "The set the network was trained on, if it is among these, judges it too kindly; the card of "
            "the weights says what they have seen. Youden's threshold is chosen on the training set and "
            "so judges that set too kindly."
        ),
        Paragraph(
            "Audit of this Table 2: no number is impossible or implausible."
            if not told
            else "Audit of this Table 2 found doubts:"
        ),
    ]
    performance += [ListPart(tuple(told))] if told else []
    performance += [ListPart(diagnosis.notes)] if diagnosis.notes else []
    return [
        Section("Diagnosis", tuple(performance)),
        Section("Calibration and clinical use", tuple(_use(diagnosis, shelf))),
        *_baseline(diagnosis, shelf),
        Section("Strata", tuple(_strata(diagnosis, shelf))),
    ]


def _roc(diagnosis: Diagnosis, shelf: Shelf) -> FigurePart:
    from covid19net.report.figure_diagnosis import roc_figure

    curves = [
        (name, roc_curve(m.part.label, m.part.probability), m.performance.auc)
        for name, m in diagnosis.sets.items()
    ]
    areas = "; ".join(f"{name}: AUC {tables.ratio(area)}" for name, _, area in curves)
    return shelf.figure(
        "figure-3-roc",
        roc_figure(curves, diagnosis.threshold, shelf.mark),
        f"Figure 3, ROC curves. Marks: the threshold {diagnosis.threshold:.4g}. Areas with 95 % DeLong "
        "intervals.",
        f"ROC curves of every set. {areas}.",
    )


def _scores(diagnosis: Diagnosis, shelf: Shelf) -> FigurePart:
    from covid19net.report.figure_diagnosis import score_figure

    sets = [(name, m.part.label, m.part.probability) for name, m in diagnosis.sets.items()]
    medians = "; ".join(
        f"{name}: median {m.performance.difference.positive.median:.2f} with COVID-19 and "
        f"{m.performance.difference.negative.median:.2f} with other pneumonia"
        for name, m in diagnosis.sets.items()
    )
    return shelf.figure(
        "figure-3-scores",
        score_figure(sets, diagnosis.threshold, shelf.mark),
        "Figure 3, scores of every patient by group. Bars: median and quartiles; p by the Mann-Whitney test.",
        f"Score distributions of both groups in every set. {medians}.",
    )


def _use(diagnosis: Diagnosis, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_diagnosis import calibration_figure, decision_figure

    found = [(name, m.performance.calibration) for name, m in diagnosis.sets.items()]
    known = [(name, calibration) for name, calibration in found if calibration is not None]
    parts: list[Part] = [
        shelf.table(tables.calibration_table(diagnosis)),
        shelf.figure(
            "calibration",
            calibration_figure(known, shelf.mark),
            "Reliability: observed share of COVID-19 against the predicted probability, with Wilson "
            "intervals.",
            f"Reliability diagrams of {', '.join(name for name, _ in known)}.",
        ),
    ]
    stems = tables.stems(diagnosis.sets)
    for name, measured in diagnosis.sets.items():
        curve = measured.decision
        models, note = [("network", curve.net_benefit)], ""
        if measured.baseline_probability is not None:
            simple = decision_curve(measured.part.label, measured.baseline_probability, curve.threshold)
            models.append(("density baseline", simple.net_benefit))
            note = f" The density baseline was fitted on the training set{_itself(measured, diagnosis)}."
        parts.append(
            shelf.figure(
                f"decision-{stems[name]}",
                decision_figure(curve.threshold, models, curve.treat_all, shelf.mark),
                f"Decision curves, {name}: net benefit of acting on the score, on everybody, and on nobody."
                + note,
                f"Net benefit by threshold probability in {name}.",
            )
        )
    return parts


def _itself(measured: Measured, diagnosis: Diagnosis) -> str:
    """Where a set is judged by a model that it made, or that a set made of which it is a part."""
    training = next(iter(diagnosis.sets))
    own = training in (measured.part.name, measured.part.derived_from)
    return ", which it judges too kindly" if own else ""


def _baseline(diagnosis: Diagnosis, shelf: Shelf) -> list[Section]:
    table = tables.baseline_table(diagnosis)
    if table is None:
        return []
    text = (
        "Density statistics of the lungs with logistic regression, the simplest model that could do. In "
        "this field such baselines often tie with deep models; a network that does not beat it has not "
        "shown that it sees more."
    )
    return [Section("A simple baseline", (Paragraph(text), shelf.table(table)))]


def _strata(diagnosis: Diagnosis, shelf: Shelf) -> list[Part]:
    from covid19net.report.figure_forest import stratum_figure

    text = (
        "Every metric by centre, type of pneumonia, slice thickness, kernel, vendor, sex, age and "
        "severity, as far as the manifest holds them. A score that works in one stratum only may have "
        "learned the stratum."
    )
    parts: list[Part] = [Paragraph(text)]
    stems = tables.stems(diagnosis.sets)
    for name, measured in diagnosis.sets.items():
        if measured.strata:
            parts.append(shelf.table(tables.strata_table(name, measured, stems[name])))
            parts.append(
                shelf.figure(
                    f"strata-{stems[name]}",
                    stratum_figure(_grouped(measured), measured.performance.auc, shelf.mark),
                    f"AUC by stratum, {name}. Dashed: all patients.",
                    f"Forest plot of the AUC in every stratum of {name}.",
                )
            )
    return parts


def _grouped(measured: Measured) -> list[tuple[str, list[Stratum]]]:
    groups: dict[str, list[Stratum]] = {}
    for one in measured.strata:
        area = one.performance.auc if one.performance else None
        stratum = Stratum(one.value, one.positive, one.negative, area)
        groups.setdefault(one.covariate, []).append(stratum)
    return list(groups.items())


def space_section(sets: Mapping[str, StudySet], shelf: Shelf) -> list[Section]:
    """Figure 6e: principal components of the 64 features of everybody with a label."""
    from covid19net.report.figure_space import pca_figure

    labelled = [part.labelled() for part in sets.values()]
    labelled = [part for part in labelled if part.patients]
    count = sum(len(part.patients) for part in labelled)
    if count < FEWEST_POINTS:
        return []
    try:
        space = principal_components(np.concatenate([part.features for part in labelled]))
    except InputError as fault:  # a network that gives everybody the same features
        return [Section("Feature space", (Paragraph(f"Not drawn: {fault}."),))]
    label = np.concatenate([part.label for part in labelled])
    classes = np.where(label, "COVID-19", "other pneumonia").tolist()
    shares = " and ".join(f"{100 * share:.1f} %" for share in space.shares)
    figure = shelf.figure(
        "figure-6e-features",
        pca_figure(space, classes, shelf.mark),
        f"Figure 6e, the 64 DL features of {count} patients in the plane of their first two principal "
        f"components, which hold {shares} of the variance.",
        "Principal components of the DL features, COVID-19 against other pneumonia.",
    )
    return [Section("Feature space", (figure,))]
