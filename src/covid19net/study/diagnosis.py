"""The diagnostic half of a study: every set measured at one threshold, beside a simple baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from covid19net.cohort import strata_of
from covid19net.density import NAMES
from covid19net.errors import InputError
from covid19net.evaluate import (
    AucComparison,
    DecisionCurve,
    Logistic,
    OperatingPoint,
    Performance,
    StratumPerformance,
    compare_aucs,
    decision_curve,
    fit_logistic,
    operating_point,
    performance,
    performance_by,
    youden_threshold,
)
from covid19net.study.published import RELEASED_THRESHOLD
from covid19net.study.sets import CARD, RELEASED, YOUDEN, Options, StudySet


@dataclass(frozen=True, eq=False)
class Measured:
    """One set with both classes.

    Attributes:
        part: its labelled patients.
        performance: of the network at the study's threshold.
        points: of the network at the other thresholds, by their name.
        decision: its decision curve.
        baseline: performance of the baseline at its own Youden threshold; None without one.
        comparison: AUC of the network minus that of the baseline; None without one.
        baseline_probability: what the baseline says, (patient,); None without one.
        strata: performance of the network by centre, type, slices, kernel, vendor, sex, age, severity.
    """

    part: StudySet
    performance: Performance
    points: Mapping[str, OperatingPoint]
    decision: DecisionCurve
    baseline: Performance | None = None
    comparison: AucComparison | None = None
    baseline_probability: np.ndarray | None = None
    strata: tuple[StratumPerformance, ...] = ()


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The diagnostic half of a study.

    Attributes:
        threshold: above it a scan is called positive.
        threshold_origin: where it comes from, in words.
        thresholds: name -> value of all that are reported.
        sets: name -> measured set, the training set first, "-viral" sets after their own.
        baseline: logistic regression on density statistics; None where they are not known.
        notes: what could not be done, and why.
    """

    threshold: float
    threshold_origin: str
    thresholds: Mapping[str, float]
    sets: Mapping[str, Measured]
    baseline: Logistic | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)


def study_diagnosis(
    sets: Mapping[str, StudySet], options: Options, card_threshold: float | None = None
) -> Diagnosis | str:
    """Measure every set with both classes.

    Args:
        sets: from `study_sets`, the training set first.
        options: of the study.
        card_threshold: of the weights, where they are known.

    Returns:
        The results, or why there are none.

    Raises:
        InputError: "card" is asked for and the card holds none.
    """
    labelled = {name: part.labelled() for name, part in sets.items()}
    labelled = {name: part for name, part in labelled.items() if part.patients}
    if not labelled:
        return "diagnosis: no patient has a label"
    notes, whole = [], {}
    for name, part in labelled.items():
        if 0 < part.label.sum() < part.label.size:
            whole[name] = part
            viral = part.viral()
            if viral is not None and viral.name not in labelled:  # the manifest may hold it as a set
                whole[viral.name] = viral
        else:
            only = "COVID-19" if part.label.all() else "other pneumonia"
            notes.append(f"{name}: {part.label.size} patients with {only} only; no diagnosis to judge")
    if not whole:
        return f"diagnosis: two classes are needed in one set at least; {'; '.join(notes)}"
    thresholds = _thresholds(whole.get(options.training), card_threshold)
    if options.threshold == YOUDEN and YOUDEN not in thresholds:  # the default must not cost the prognosis
        others = ", ".join(thresholds)
        return (
            f"diagnosis: threshold {YOUDEN!r} needs both classes in the set {options.training!r}; choose "
            f"{others} or a number (--threshold); {'; '.join(notes)}"
        )
    threshold, origin = _chosen(options.threshold, thresholds, options.training)
    baseline = _baseline(whole.get(options.training))
    if baseline is None:
        notes.append("no baseline: it needs density statistics and both classes in the training set")
    own = _own_threshold(baseline, whole.get(options.training))
    measured = {name: _measure(part, threshold, thresholds, baseline, own) for name, part in whole.items()}
    return Diagnosis(threshold, origin, thresholds, measured, baseline, tuple(notes))


def _thresholds(training: StudySet | None, card: float | None) -> dict[str, float]:
    found = {} if training is None else {YOUDEN: youden_threshold(training.label, training.probability)}
    if card is not None:
        found[CARD] = card
    return found | {RELEASED: RELEASED_THRESHOLD}


def _chosen(wanted: str | float, thresholds: Mapping[str, float], training: str) -> tuple[float, str]:
    if isinstance(wanted, float):
        return wanted, "given"
    if wanted not in thresholds:
        known = ", ".join(thresholds)
        raise InputError(
            f"threshold {wanted!r} cannot be had from this manifest: there are {known}, or a number"
        )
    words = {
        YOUDEN: f"largest sum of sensitivity and specificity in the set {training!r}",
        CARD: "of the weights' card",
        RELEASED: "of the authors' released test",
    }
    return thresholds[wanted], words[wanted]


def _baseline(training: StudySet | None) -> Logistic | None:
    if training is None or training.density is None:
        return None
    return fit_logistic(training.label, training.density, NAMES)


def _own_threshold(baseline: Logistic | None, training: StudySet | None) -> float:
    if baseline is None or training is None or training.density is None:
        return 0.5
    return youden_threshold(training.label, baseline.probability(training.density))


def _measure(
    part: StudySet,
    threshold: float,
    thresholds: Mapping[str, float],
    baseline: Logistic | None,
    own_threshold: float,
) -> Measured:
    label, score = part.label, part.probability
    # A part that is derived from a set, "-viral", has the set's own strata.
    strata = strata_of(part.patients) if part.derived_from is None else {}
    simple = comparison = said = None
    if baseline is not None and part.density is not None:
        said = baseline.probability(part.density)
        simple = performance(label, said, own_threshold)
        comparison = compare_aucs(label, score, said)
    return Measured(
        part,
        performance(label, score, threshold),
        {name: operating_point(label, score, value) for name, value in thresholds.items()},
        decision_curve(label, score),
        simple,
        comparison,
        said,
        performance_by(label, score, threshold, strata),
    )
