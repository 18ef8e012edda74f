"""What a threshold gives: the four counts, and the proportions made of them."""

from dataclasses import dataclass
import math

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, checked, proportion
from covid19net.evaluate.roc import counts_above


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives: positive when the score is larger. Fractions with Wilson's intervals.

    Attributes:
        threshold: on the scale of the score.
        true_positive: positives called positive.
        false_negative: positives called negative.
        true_negative: negatives called negative.
        false_positive: negatives called positive.
        sensitivity: share of the positives called positive.
        specificity: share of the negatives called negative.
        accuracy: share of all called rightly.
        ppv: share of the called positive that are; None when nobody was called positive. Like `npv` and
            `accuracy` it holds for the share of positives in this sample, not for another.
        npv: share of the called negative that are; None when nobody was called negative.
    """

    threshold: float
    true_positive: int
    false_negative: int
    true_negative: int
    false_positive: int
    sensitivity: Estimate
    specificity: Estimate
    accuracy: Estimate
    ppv: Estimate | None
    npv: Estimate | None


def operating_point(
    label: np.ndarray, score: np.ndarray, threshold: float, *, level: float = 0.95
) -> OperatingPoint:
    """Call every score above the threshold positive, and count.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        threshold: on the scale of the score; a score equal to it is called negative.
        level: confidence of the intervals.

    Raises:
        InputError: a threshold that is NaN; see `checked`.
    """
    label, score = checked(label, score)
    if math.isnan(threshold):
        raise InputError("the threshold is NaN")
    called = score > threshold
    tp, fn = int((called & label).sum()), int((~called & label).sum())
    tn, fp = int((~called & ~label).sum()), int((called & ~label).sum())
    return OperatingPoint(
        threshold=float(threshold),
        true_positive=tp,
        false_negative=fn,
        true_negative=tn,
        false_positive=fp,
        sensitivity=proportion(tp, tp + fn, level=level),
        specificity=proportion(tn, tn + fp, level=level),
        accuracy=proportion(tp + tn, label.size, level=level),
        ppv=proportion(tp, tp + fp, level=level) if tp + fp else None,
        npv=proportion(tn, tn + fn, level=level) if tn + fn else None,
    )


def youden_threshold(label: np.ndarray, score: np.ndarray) -> float:
    """The threshold with the largest sum of sensitivity and specificity (Youden, Cancer 1950;3:32-35).

    It lies halfway between two neighbouring scores; among equally good ones the highest. It belongs to the
    patients it was chosen on: measured on these, sensitivity and specificity come out too good. When no
    threshold is better than chance it is the highest score, above which nobody is called positive.

    Raises:
        InputError: see `checked`.
    """
    label, score = checked(label, score)
    threshold, true, false = counts_above(label, score)
    best = int(np.argmax(true * false[-1] - false * true[-1]))  # integers: ties stay ties
    if best == 0:
        return float(threshold[0])
    below, above = float(threshold[best]), float(threshold[best - 1])
    return min(below / 2 + above / 2, math.nextafter(above, -math.inf))
