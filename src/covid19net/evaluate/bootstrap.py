"""An interval for any statistic of a sample, by drawing patients again."""

from collections.abc import Callable
import math

import numpy as np

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, checked
from covid19net.evaluate.roc import auc

DRAWS = 2000  # enough for the tails of a 95 % interval (Efron and Tibshirani 1993, section 14.3)


def bootstrap(
    label: np.ndarray,
    score: np.ndarray,
    statistic: Callable[[np.ndarray, np.ndarray], float],
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Estimate:
    """A statistic with its percentile interval; patients are drawn with replacement within each class.

    The interval has no width where drawing again cannot change the statistic, such as the AUC of separated
    classes: there `auc` knows better.

    Args:
        label: bool, axis (patient,).
        score: axis (patient,), or (patient, k) for a statistic of k scores, such as a difference of AUCs.
        statistic: function of label and score of a sample of the same size.
        rng: the only source of chance.
        draws: samples drawn.
        level: confidence of the interval.

    Raises:
        InputError: a statistic that is not finite in one of the samples, fewer than one draw; see `checked`.
    """
    score = np.asarray(score)
    for column in score.T if score.ndim == 2 else [score]:
        label, _ = checked(label, column)
    if draws < 1:
        raise InputError(f"at least one draw is needed, got {draws}")
    classes = np.flatnonzero(label), np.flatnonzero(~label)
    drawn = np.empty(draws)
    for i in range(draws):
        chosen = np.concatenate([rng.choice(members, members.size) for members in classes])
        drawn[i] = statistic(label[chosen], score[chosen])
        if not math.isfinite(drawn[i]):
            raise InputError(f"the statistic is {drawn[i]} in draw {i + 1} of {draws}: it has no interval")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(statistic(label, score)), float(low), float(high), level)


def bootstrap_auc(
    label: np.ndarray,
    score: np.ndarray,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
) -> Estimate:
    """The area under the ROC curve with its percentile interval; the same as `bootstrap`, but quick.

    A sample's area is counted on the scores of the first sample, which are sorted once: 0.25 s for 10 000
    patients and 2000 draws. Where drawing again changes nothing the interval is that of `auc`.

    Args:
        label: bool, axis (patient,).
        score: larger for positives, axis (patient,).
        rng: the only source of chance.
        draws: samples drawn.
        level: confidence of the interval.

    Raises:
        InputError: fewer than one draw; see `checked`.
    """
    whole = auc(label, score, level=level)
    label, score = checked(label, score)
    if draws < 1:
        raise InputError(f"at least one draw is needed, got {draws}")
    values, place = np.unique(score, return_inverse=True)
    ill, well = place[label], place[~label]
    drawn = np.empty(draws)
    for i in range(draws):
        negatives = np.bincount(well[rng.integers(0, well.size, well.size)], minlength=values.size)
        below = np.cumsum(negatives) - negatives / 2  # negatives below each value, ties counted half
        drawn[i] = below[ill[rng.integers(0, ill.size, ill.size)]].sum() / (ill.size * well.size)
    if np.ptp(drawn) == 0:
        return whole
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(whole.value, float(low), float(high), level)
