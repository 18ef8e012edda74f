"""The ROC curve, the area under it with DeLong's variance, and comparisons of areas."""

from dataclasses import dataclass
import math
from typing import Literal

import numpy as np
from scipy.special import expit, logit
from scipy.stats import mannwhitneyu, norm, rankdata

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, checked, exact_proportion, quantile

NO_VARIANCE = 1e-26  # a smaller one is rounding: placements are multiples of 1 / (2 n)

Interval = Literal["logit", "wald"]


@dataclass(frozen=True)
class AucComparison:
    """Two areas under ROC curves and the test that they are equal.

    Attributes:
        first: area of the first score.
        second: area of the second score.
        difference: first minus second, limits in [-1, 1].
        z: difference in standard errors.
        p: two-sided, of the hypothesis of no difference.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    z: float
    p: float


@dataclass(frozen=True)
class RankTest:
    """Mann and Whitney's test that the scores of two groups have one distribution.

    Attributes:
        u: pairs in which the positive scores higher, ties counted half.
        p: two-sided.
    """

    u: float
    p: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Points of a ROC curve from (0, 0) to (1, 1), axis (point,): one more than there are distinct scores.

    Attributes:
        threshold: positive when the score is larger; falling, the last one minus infinity.
        false_positive_rate: 1 - specificity at each threshold.
        sensitivity: at each threshold.
    """

    threshold: np.ndarray
    false_positive_rate: np.ndarray
    sensitivity: np.ndarray


def placements(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each score stands among those of the other class; the mean of either is the AUC.

    By the mid-ranks of Sun and Xu, IEEE Signal Process Lett 2014;21:1389-1393.

    Returns:
        For each positive the share of negatives below it, axis (positive,); for each negative the share of
        positives above it, axis (negative,). Ties count half.
    """
    ill, well = score[label], score[~label]
    rank = rankdata(np.concatenate([ill, well]))
    below = (rank[: ill.size] - rankdata(ill)) / well.size
    above = 1 - (rank[ill.size :] - rankdata(well)) / ill.size
    return below, above


def variance_of_mean(of_positives: np.ndarray, of_negatives: np.ndarray) -> float:
    """DeLong's variance of the mean placement; 0 where it cannot be seen: one in a class, or all alike."""
    if min(of_positives.size, of_negatives.size) < 2:
        return 0.0
    variance = of_positives.var(ddof=1) / of_positives.size + of_negatives.var(ddof=1) / of_negatives.size
    return float(variance) if variance > NO_VARIANCE else 0.0


def area_interval(
    value: float, variance: float, pairs: float, level: float, interval: Interval = "logit"
) -> Estimate:
    """An area with the interval described at `auc`.

    Args:
        value: area, in [0, 1].
        variance: 0 where the sample does not show it.
        pairs: disjoint pairs of a positive and a negative in the sample.
        level: confidence of the interval.
        interval: on the scale of the logit, or plain and cut off at 0 and 1.
    """
    if variance == 0 or value in (0, 1):
        return exact_proportion(value, pairs, level=level)
    half = quantile(level) * math.sqrt(variance)
    if interval == "wald":
        return Estimate(value, max(0.0, value - half), min(1.0, value + half), level)
    half /= value * (1 - value)
    low, high = expit(logit(value) + np.array([-half, half]))
    return Estimate(value, float(low), float(high), level)


def auc(
    label: np.ndarray, score: np.ndarray, *, level: float = 0.95, interval: Interval = "logit"
) -> Estimate:
    """Area under the ROC curve: the share of pairs in which the positive scores higher, ties counted half.

    The variance is DeLong's (DeLong, DeLong and Clarke-Pearson, Biometrics 1988;44:837-845). The interval is
    symmetric on the scale of the logit (Pepe 2003, section 5.2): it stays inside (0, 1) and keeps its
    promise where the plain one does not. In 3000 normal samples of 10 and 10 patients with a true area of
    0.9, 97 % of the logit intervals and 81 % of the plain ones held it; of 30 and 30, 95 % and 91 %.

    Where the sample shows no variance (classes perfectly separated, all scores equal, or one patient in a
    class) the interval is the exact one of Clopper and Pearson for k independent pairs, k the size of the
    smaller class. For separated classes that is a bound for any distribution: k disjoint pairs are all in
    order with probability AUC^k, and the whole sample no more often. Five and five patients: 0.48 to 1.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        level: confidence of the interval.
        interval: "wald" gives the plain interval cut off at 0 and 1, as other programs print it.

    Raises:
        InputError: see `checked`.
    """
    label, score = checked(label, score)
    below, above = placements(label, score)
    pairs = min(below.size, above.size)
    return area_interval(float(below.mean()), variance_of_mean(below, above), pairs, level, interval)


def compare_aucs(
    label: np.ndarray, first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> AucComparison:
    """Compare two scores of the same patients by the paired test of DeLong (1988).

    The interval of the difference is plain, so it excludes 0 exactly when p is below 1 - level. Where the
    difference shows no variance (both scores rank everybody alike, or a class has one patient), interval and
    test are those of `compare_independent_aucs`, which are wider.

    Args:
        label: bool, axis (patient,).
        first: scores, axis (patient,).
        second: scores of the same patients in the same order.
        level: confidence of the intervals.

    Raises:
        InputError: see `checked`.
    """
    areas = auc(label, first, level=level), auc(label, second, level=level)
    ours, theirs = placements(*checked(label, first)), placements(*checked(label, second))
    variance = variance_of_mean(ours[0] - theirs[0], ours[1] - theirs[1])
    if variance == 0:
        return compare_independent_aucs(*areas)
    value, error = areas[0].value - areas[1].value, math.sqrt(variance)
    half = quantile(level) * error
    difference = Estimate(value, max(-1.0, value - half), min(1.0, value + half), level)
    return AucComparison(*areas, difference, value / error, _two_sided(value / error))


def compare_independent_aucs(first: Estimate, second: Estimate) -> AucComparison:
    """Compare two areas from samples that share no patient.

    The interval of the difference is put together from those of the areas, which keeps their asymmetry (Zou
    and Donner, Stat Med 2008;27:1693-1702); the standard error of the test is the one this interval implies
    on the side of 0.

    Args:
        first: area with its interval.
        second: area of other patients, its interval of the same level.

    Raises:
        InputError: intervals of different levels, or without width.
    """
    if first.level != second.level:
        raise InputError(f"intervals of one level are needed, got {first.level:g} and {second.level:g}")
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    if below + above == 0:
        raise InputError("areas whose intervals have no width cannot be compared")
    difference = Estimate(value, max(-1.0, value - below), min(1.0, value + above), first.level)
    z = value / (below if value > 0 else above) * quantile(first.level) if value else 0.0
    return AucComparison(first, second, difference, z, _two_sided(z))


def _two_sided(z: float) -> float:
    return float(2 * norm.sf(abs(z)))


def mann_whitney(label: np.ndarray, score: np.ndarray) -> RankTest:
    """Test whether positives and negatives score alike: exact up to 8 in a group without ties, else normal.

    Raises:
        InputError: see `checked`.
    """
    label, score = checked(label, score)
    if np.ptp(score) == 0:
        return RankTest(label.sum() * (~label).sum() / 2, 1.0)
    found = mannwhitneyu(score[label], score[~label], alternative="two-sided")
    return RankTest(float(found.statistic), float(found.pvalue))


def counts_above(label: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds of a ROC curve, and the positives and negatives that score above each, axis (point,)."""
    values, place = np.unique(-score, return_inverse=True)
    threshold = np.append(-values, -np.inf)
    true = np.cumsum(np.bincount(place[label], minlength=values.size))
    false = np.cumsum(np.bincount(place[~label], minlength=values.size))
    return threshold, np.append(0, true), np.append(0, false)


def roc_curve(label: np.ndarray, score: np.ndarray) -> RocCurve:
    """The empirical ROC curve; its trapezoids add up to `auc`.

    Raises:
        InputError: see `checked`.
    """
    label, score = checked(label, score)
    threshold, true, false = counts_above(label, score)
    return RocCurve(threshold, false / false[-1], true / true[-1])
