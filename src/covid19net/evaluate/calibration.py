"""Whether probabilities mean what they say: of those given 0.7, do seven in ten have the disease?"""

from dataclasses import dataclass
import math

import numpy as np
from scipy.special import logit
from scipy.stats import rankdata

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, checked_probability, exact_proportion, proportion, quantile
from covid19net.evaluate.logistic import newton

BINS = 10
EXTREME = 1e-6  # probabilities nearer to 0 or 1 are moved here: their logit would be infinite
NO_SPREAD = 1e-12  # smaller differences of squared errors are rounding


@dataclass(frozen=True)
class Bin:
    """Patients of similar probability, as a point of a reliability diagram.

    Attributes:
        size: patients.
        positive: those among them with the disease.
        predicted: mean probability.
        observed: share with the disease, with Wilson's interval.
    """

    size: int
    positive: int
    predicted: float
    observed: Estimate


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be taken at their word.

    Attributes:
        brier: mean squared difference of probability and outcome; 0 is perfect, 0.25 what 0.5 for all gives.
        in_the_large: what must be added to every logit so that the mean probability is right; 0 is perfect,
            above 0 the probabilities are too low.
        slope: by what the logits must be multiplied (beside a free intercept); 1 is perfect, below 1 the
            probabilities are too extreme. None where no finite slope exists: the probabilities separate the
            classes, or nearly so, or are all the same.
        expected_error: mean distance of observed share and predicted probability over the bins, weighted by
            size (expected calibration error). Above 0 by chance alone in small samples.
        bins: by rising probability, of equal size but for ties, which stay together.
        moved: probabilities nearer to 0 or 1 than 1e-6, moved there for `in_the_large` and `slope` only.
    """

    brier: Estimate
    in_the_large: Estimate
    slope: Estimate | None
    expected_error: float
    bins: tuple[Bin, ...]
    moved: int


def calibrate(
    label: np.ndarray, probability: np.ndarray, *, bins: int = BINS, level: float = 0.95
) -> Calibration:
    """Measure the calibration of probabilities; it does not change them.

    Logistic recalibration after Cox, Biometrika 1958;45:562-565, in the terms of Van Calster et al., BMC Med
    2019;17:230. Intervals are normal, from the standard error; where all squared errors are alike, which
    shows none, that of the Brier score is the exact one of a proportion, which is wider than need be.

    Args:
        label: bool, axis (patient,).
        probability: of being positive, in [0, 1], axis (patient,).
        bins: of the reliability diagram, at most; fewer where there are fewer distinct probabilities.
        level: confidence of the intervals.

    Raises:
        InputError: a probability outside [0, 1], no bins; see `checked`.
    """
    label, probability = checked_probability(label, probability)
    if bins < 1:
        raise InputError(f"at least one bin is needed, got {bins}")
    inside = np.clip(probability, EXTREME, 1 - EXTREME)
    logits = logit(inside)
    diagram = _diagram(label, probability, bins, level)
    return Calibration(
        brier=_brier(label, probability, level),
        in_the_large=_fit(np.ones((label.size, 1)), label, logits, level),
        slope=_slope(label, logits, level),
        expected_error=sum(b.size * abs(b.observed.value - b.predicted) for b in diagram) / label.size,
        bins=diagram,
        moved=int((inside != probability).sum()),
    )


def _brier(label: np.ndarray, probability: np.ndarray, level: float) -> Estimate:
    error = (probability - label) ** 2
    value = float(error.mean())
    if np.ptp(error) < NO_SPREAD:
        return exact_proportion(value, error.size, level=level)
    half = quantile(level) * float(error.std(ddof=1)) / math.sqrt(error.size)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), level)


def _diagram(label: np.ndarray, probability: np.ndarray, bins: int, level: float) -> tuple[Bin, ...]:
    place = ((rankdata(probability) - 0.5) * bins / label.size).astype(int)
    return tuple(
        Bin(
            size=int(members.sum()),
            positive=int(label[members].sum()),
            predicted=float(probability[members].mean()),
            observed=proportion(int(label[members].sum()), int(members.sum()), level=level),
        )
        for members in (place == number for number in np.unique(place))
    )


def _slope(label: np.ndarray, logits: np.ndarray, level: float) -> Estimate | None:
    ill, well = logits[label], logits[~label]
    if ill.min() >= well.max() or ill.max() <= well.min():
        return None
    design = np.column_stack([logits, np.ones(label.size)])
    try:
        return _fit(design, label, np.zeros(label.size), level)
    except InputError:  # nearly separated
        return None


def _fit(design: np.ndarray, label: np.ndarray, offset: np.ndarray, level: float) -> Estimate:
    """First coefficient of a logistic regression whose likelihood has a finite maximum, as for `newton`."""
    coefficients, information = newton(design, label, offset)
    value, error = float(coefficients[0]), math.sqrt(np.linalg.inv(information)[0, 0])
    half = quantile(level) * error
    return Estimate(value, value - half, value + half, level)
