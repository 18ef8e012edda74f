"""All that is said of a score in one sample, and again in every stratum of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.bootstrap import bootstrap_auc
from covid19net.evaluate.calibration import Calibration, calibrate
from covid19net.evaluate.estimate import Estimate, checked, proportion
from covid19net.evaluate.operating import OperatingPoint, operating_point
from covid19net.evaluate.roc import auc, mann_whitney
from covid19net.evaluate.strata import named

# Covariates that describe the disease of one class: each value is compared with all of the other class, as
# the paper's "validation 2-viral" is.
OF_ONE_CLASS: dict[str, Literal["positive", "negative"]] = {"type": "negative", "severity": "positive"}


@dataclass(frozen=True)
class Spread:
    """Where the middle half of a group's scores lies: lower quartile, median and upper quartile."""

    lower: float
    median: float
    upper: float


@dataclass(frozen=True)
class GroupDifference:
    """Whether the two classes score differently.

    Attributes:
        p: two-sided, of Mann and Whitney's test.
        positive: scores of the positives.
        negative: scores of the negatives.
    """

    p: float
    positive: Spread
    negative: Spread


@dataclass(frozen=True)
class Performance:
    """How good a score is in a sample of both classes.

    Attributes:
        positive: patients with the disease.
        negative: patients without.
        auc: with DeLong's interval, see `auc`.
        auc_bootstrap: with the interval of `bootstrap_auc`.
        point: what the threshold gives, with Wilson's intervals.
        difference: of the classes' scores.
        calibration: None where the score is no probability.
    """

    positive: int
    negative: int
    auc: Estimate
    auc_bootstrap: Estimate
    point: OperatingPoint
    difference: GroupDifference
    calibration: Calibration | None


@dataclass(frozen=True)
class StratumPerformance:
    """What can be said of a score among the patients who share a value of a covariate.

    Attributes:
        covariate: such as "centre".
        value: such as "Wuhan".
        positive: patients with the disease.
        negative: patients without.
        performance: None where one class is absent.
        sensitivity: share of the positives above the threshold; None without positives.
        specificity: share of the negatives not above it; None without negatives.
        reason: why there is no AUC; empty where there is.
    """

    covariate: str
    value: str
    positive: int
    negative: int
    performance: Performance | None
    sensitivity: Estimate | None
    specificity: Estimate | None
    reason: str


def performance(
    label: np.ndarray,
    score: np.ndarray,
    threshold: float,
    *,
    probability: bool = True,
    seed: int = 0,
    level: float = 0.95,
) -> Performance:
    """Measure a score.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        threshold: positive when the score is larger.
        probability: whether the score is the probability of being positive, in [0, 1]: then calibration is
            measured.
        seed: of the bootstrap; one sample has one interval, in whatever order samples are measured.
        level: confidence of all intervals.

    Raises:
        InputError: a probability outside [0, 1], a threshold that is NaN; one class only, with the counts,
            and whatever else `checked` refuses.
    """
    label, score = checked(label, score)
    test = mann_whitney(label, score)
    return Performance(
        positive=int(label.sum()),
        negative=int((~label).sum()),
        auc=auc(label, score, level=level),
        auc_bootstrap=bootstrap_auc(label, score, np.random.default_rng(seed), level=level),
        point=operating_point(label, score, threshold, level=level),
        difference=GroupDifference(test.p, _spread(score[label]), _spread(score[~label])),
        calibration=calibrate(label, score, level=level) if probability else None,
    )


def _spread(score: np.ndarray) -> Spread:
    lower, median, upper = np.quantile(score, [0.25, 0.5, 0.75])
    return Spread(float(lower), float(median), float(upper))


def performance_by(
    label: np.ndarray,
    score: np.ndarray,
    threshold: float,
    strata: Mapping[str, Sequence[object] | np.ndarray],
    *,
    probability: bool = True,
    level: float = 0.95,
) -> tuple[StratumPerformance, ...]:
    """Measure a score in every stratum of every covariate.

    The covariate "type" is one of the negatives: each type of other pneumonia is compared with all positives
    (the paper's "2-viral"). "severity" is one of the positives: each grade is compared with all negatives.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        threshold: positive when the score is larger.
        strata: covariate -> the value of each patient, never missing, as `covid19net.cohort.strata_of` gives.
        probability: as for `performance`.
        level: confidence of all intervals.

    Returns:
        By covariate in the order given, then by value.

    Raises:
        InputError: a missing stratum, or not one for each patient; see `performance`.
    """
    operating_point(label, score, threshold)  # refuses what is no sample and no threshold
    label, score = checked(label, score)
    found = []
    for covariate, values in strata.items():
        for value, chosen in _members(covariate, values, label):
            sample = label[chosen], score[chosen]
            found.append(_in_stratum(covariate, value, sample, threshold, probability, level))
    return tuple(found)


def _members(
    covariate: str, values: Sequence[object] | np.ndarray, label: np.ndarray
) -> Iterator[tuple[str, np.ndarray]]:
    """Each value of a covariate, and whether a patient is compared there, bool, axis (patient,)."""
    try:
        names, place = named(values, label.size)
    except InputError as error:
        raise InputError(f"{covariate}: {error}") from error
    owner = OF_ONE_CLASS.get(covariate)
    own = np.ones_like(label) if owner is None else label if owner == "positive" else ~label
    for number, name in enumerate(names):
        chosen = (place == number) & own
        if chosen.any():
            yield name, chosen | ~own


def _in_stratum(
    covariate: str,
    value: str,
    sample: tuple[np.ndarray, np.ndarray],
    threshold: float,
    probability: bool,
    level: float,
) -> StratumPerformance:
    label, score = sample
    called = score > threshold
    positive, negative = int(label.sum()), int((~label).sum())
    reason = "" if positive and negative else f"no {'negative' if positive else 'positive'} patient"
    return StratumPerformance(
        covariate,
        value,
        positive,
        negative,
        performance=None
        if reason
        else performance(label, score, threshold, probability=probability, level=level),
        sensitivity=proportion(int(called[label].sum()), positive, level=level) if positive else None,
        specificity=proportion(int((~called)[~label].sum()), negative, level=level) if negative else None,
        reason=reason,
    )
