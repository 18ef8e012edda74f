"""Decision curves: would treating by the score do more good than treating all, or nobody?"""

from dataclasses import dataclass

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.estimate import checked_probability, exact_proportion, quantile

THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit at thresholds of the probability; every array has the axis (threshold,).

    Net benefit is in true positives a patient: 0.1 is worth as much as finding ten of 100 patients, all of
    them ill, and calling no healthy one ill. Treating nobody has 0.

    Attributes:
        threshold: probability from which one would treat; t says that one missed patient is as bad as
            (1 - t) / t needless treatments.
        net_benefit: of treating those whose probability is larger.
        low: lower limit of its interval.
        high: upper limit.
        treat_all: of treating everybody.
        treat_all_low: lower limit of its interval.
        treat_all_high: upper limit.
        level: confidence of the intervals, each for one threshold.
    """

    threshold: np.ndarray
    net_benefit: np.ndarray
    low: np.ndarray
    high: np.ndarray
    treat_all: np.ndarray
    treat_all_low: np.ndarray
    treat_all_high: np.ndarray
    level: float

    @property
    def treat_none(self) -> np.ndarray:
        """Net benefit of treating nobody: 0 everywhere."""
        return np.zeros_like(self.threshold)


def decision_curve(
    label: np.ndarray,
    probability: np.ndarray,
    thresholds: np.ndarray | None = None,
    *,
    level: float = 0.95,
) -> DecisionCurve:
    """Net benefit of treating by a probability (Vickers and Elkin, Med Decis Making 2006;26:565-574).

    It holds for the share of positives in this sample. The intervals are normal, from the spread of the
    patients' own contributions: 1 for a true positive, minus the odds of the threshold for a false one, 0 for
    who is not treated. Where nobody is treated the limits are those of 0 of n patients treated rightly or
    needlessly (Clopper and Pearson).

    Args:
        label: bool, axis (patient,).
        probability: of being positive, in [0, 1], axis (patient,).
        thresholds: in (0, 1), axis (threshold,); None for 0.01, 0.02 to 0.99. A probability equal to one is
            not treated, as in `operating_point`.
        level: confidence of the intervals.

    Raises:
        InputError: a probability outside [0, 1], a threshold outside (0, 1), no thresholds; see `checked`.
    """
    label, probability = checked_probability(label, probability)
    given = THRESHOLDS if thresholds is None else thresholds
    points = np.atleast_1d(np.asarray(given, np.float64))
    if points.ndim != 1 or not points.size or not ((points > 0) & (points < 1)).all():
        raise InputError("thresholds must lie between 0 and 1, both excluded, and there must be one at least")
    odds = points / (1 - points)
    order = np.argsort(probability, kind="stable")
    called = label.size - np.searchsorted(probability[order], points, side="right")
    positives_above = np.append(np.cumsum(label[order][::-1])[::-1], 0)
    true = positives_above[label.size - called]
    ours = _benefit(true, called - true, odds, label.size, level)
    everybody = np.full(points.size, int(label.sum()))
    theirs = _benefit(everybody, label.size - everybody, odds, label.size, level)
    return DecisionCurve(points, *ours, *theirs, level)


def _benefit(
    true: np.ndarray, false: np.ndarray, odds: np.ndarray, patients: int, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net benefit and its limits, from the counts of those treated."""
    value = (true - odds * false) / patients
    square = (true + odds**2 * false) / patients  # mean of the squared contributions
    spread = np.sqrt(np.maximum(square - value**2, 0) / max(patients - 1, 1))
    half = quantile(level) * spread
    rare = exact_proportion(0.0, patients, level=level).high
    nobody = true + false == 0
    low = np.where(nobody, -odds * rare, value - half)
    high = np.where(nobody, rare, value + half)
    return value, np.maximum(low, -odds), np.minimum(high, 1.0)
