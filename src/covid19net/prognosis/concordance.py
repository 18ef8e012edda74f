"""How well a predictor ranks patients by their time to the event.

A predictor here is a log hazard: high values mean an early event. A predictor of a late event goes in with a
minus sign. A competing event counts as censored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
import math

import numpy as np
from scipy.stats import norm

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.evaluate.roc import NO_VARIANCE, AucComparison, area_interval, compare_independent_aucs
from covid19net.prognosis.outcome import Outcome


@dataclass(frozen=True)
class TimedAuc:
    """How well a predictor tells who has had the event by a day from who has not.

    Attributes:
        day: of the question.
        auc: 1 where everybody with an event by that day had a higher predictor than everybody without.
        cases: patients with an event by that day.
        controls: patients followed beyond that day without one; those censored before are neither.
    """

    day: float
    auc: Estimate
    cases: int
    controls: int


def concordance(outcome: Outcome, predictor: np.ndarray, *, level: float = 0.95) -> Estimate:
    """Harrell's C: the share of comparable pairs in which the higher predictor has the earlier event.

    Two patients are comparable when one had the event while the other was still followed; a patient censored
    on the day of the event counts as followed longer, two events on one day are not compared. Ties of the
    predictor count half (Harrell et al., JAMA 1982;247:2543-2546). The standard error is the infinitesimal
    jackknife, as in R's survival::concordance (Therneau and Atkinson, vignette "Concordance"); the interval
    is symmetric on the scale of the logit, and exact where the sample shows no variance, as for `auc`.

    Args:
        outcome: follow-up.
        predictor: log hazard, high = early event, axis (patient,).
        level: confidence of the interval.

    Raises:
        InputError: no event, no comparable pair (with the counts), or a predictor that is not one finite
            number a patient.
    """
    value, influence = _influence(outcome, checked_predictor(outcome, predictor))
    return area_interval(value, _variance(influence), _disjoint_pairs(outcome), level)


def standard_error(outcome: Outcome, predictor: np.ndarray) -> float:
    """Infinitesimal jackknife standard error of `concordance`; 0 where all pairs agree or all are tied."""
    return math.sqrt(_variance(_influence(outcome, checked_predictor(outcome, predictor))[1]))


def compare_concordance(
    outcome: Outcome, first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> AucComparison:
    """Compare Harrell's C of two predictors of the same patients, paired.

    The standard error of the difference is the infinitesimal jackknife; interval and test are normal, so the
    interval excludes 0 exactly when p is below 1 - level. Where the difference shows no variance (both rank
    everybody alike) interval and test are those for independent samples, which are wider.

    Args:
        outcome: follow-up.
        first: log hazard, high = early event, axis (patient,).
        second: another, of the same patients in the same order.
        level: confidence of the intervals.

    Raises:
        InputError: see `concordance`.
    """
    areas = concordance(outcome, first, level=level), concordance(outcome, second, level=level)
    ours = _influence(outcome, checked_predictor(outcome, first))[1]
    theirs = _influence(outcome, checked_predictor(outcome, second))[1]
    error = math.sqrt(_variance(ours - theirs))
    if error == 0:
        return compare_independent_aucs(*areas)
    value, half = areas[0].value - areas[1].value, quantile(level) * error
    difference = Estimate(value, max(-1.0, value - half), min(1.0, value + half), level)
    return AucComparison(*areas, difference, value / error, float(2 * norm.sf(abs(value / error))))


def time_dependent_auc(
    training: Outcome, outcome: Outcome, predictor: np.ndarray, days: Sequence[float], *, level: float = 0.95
) -> tuple[TimedAuc, ...]:
    """Area under the cumulative/dynamic ROC curve at given days.

    Cases are patients with an event by the day, controls those followed beyond it. So that early censoring
    does not bias the area, a case counts as much as the inverse of the probability of not being censored
    before its event (Uno et al., J Am Stat Assoc 2007;102:527-537), by Kaplan and Meier from the training
    sample. The interval takes those weights as known and is built from the influence of each patient, on the
    scale of the logit; with equal weights it is DeLong's but for n instead of n - 1.

    Args:
        training: follow-up from which the censoring is estimated; may be `outcome`.
        outcome: follow-up of the patients with the predictor.
        predictor: log hazard, high = early event, axis (patient,) of `outcome`.
        days: at least one; every one needs cases and controls.
        level: confidence of the intervals.

    Raises:
        InputError: a day without cases or controls (with the counts), or events after the day on which the
            last training patient was censored.
    """
    predictor = checked_predictor(outcome, predictor)
    if not len(days):
        raise InputError("no day is given at which to measure")
    return tuple(_auc_at(float(day), training, outcome, predictor, level) for day in days)


def checked_predictor(outcome: Outcome, predictor: np.ndarray) -> np.ndarray:
    """A predictor as float64, one finite number a patient.

    Raises:
        InputError: it is not.
    """
    predictor = np.asarray(predictor)
    if predictor.shape != (outcome.size,):
        raise InputError(f"{outcome.size} patients need as many predictors, got {predictor.shape}")
    if predictor.dtype.kind not in "bfiu" or not np.isfinite(predictor).all():
        raise InputError("a predictor is no number, NaN or infinite")
    return predictor.astype(np.float64)


def _influence(outcome: Outcome, predictor: np.ndarray) -> tuple[float, np.ndarray]:
    """C, and its derivative by the weight of each patient, (patient,)."""
    outcome.check_events()
    order = np.lexsort((~outcome.event, outcome.time))  # by rising time, events first
    time, event, x = outcome.time[order], outcome.event[order], predictor[order]
    places = np.flatnonzero(event)
    tied = np.searchsorted(time[places], time[places], side="right") - np.searchsorted(
        time[places], time[places], side="left"
    )
    first = np.searchsorted(time, time[places], side="left") + tied  # of those followed longer
    pairs = np.bincount(first, minlength=x.size + 1)[: x.size].cumsum().astype(np.float64)
    pairs[places] += x.size - first
    agree = np.zeros(x.size)
    for place, start in zip(places, first, strict=True):
        later = x[start:]
        credit = (x[place] > later) + 0.5 * (x[place] == later)
        agree[start:] += credit
        agree[place] += credit.sum()
    total = pairs.sum() / 2
    if not total:
        raise InputError(
            f"no comparable pair: no one of {x.size} was followed beyond one of {tied.size} events"
        )
    value = float(agree.sum() / 2 / total)
    influence = np.empty(x.size)
    influence[order] = (agree - value * pairs) / total
    return value, influence


def _variance(influence: np.ndarray) -> float:
    variance = float(influence @ influence)
    return variance if variance > NO_VARIANCE else 0.0


def _disjoint_pairs(outcome: Outcome) -> int:
    """Comparable pairs that share no patient; as many as going back in time leaves."""
    free = pairs = 0
    for time in np.unique(outcome.time)[::-1]:
        here = outcome.time == time
        events = int(outcome.event[here].sum())
        free += int(here.sum()) - events  # censored on that day: followed longer than its events
        matched = min(events, free)
        pairs += matched
        free += events - 2 * matched
    return max(pairs, 1)


def uncensored(training: Outcome, time: np.ndarray) -> np.ndarray:
    """Probability of not being censored up to and including a time, by Kaplan and Meier; events come first.

    Args:
        training: follow-up of the sample that tells about censoring.
        time: days, any shape.
    """
    days = np.unique(training.time)
    at_risk = training.size - np.searchsorted(np.sort(training.time), days, side="left")
    events = np.bincount(np.searchsorted(days, training.time), training.event, days.size)
    leaving = np.bincount(np.searchsorted(days, training.time), ~training.event, days.size)
    left = np.append(1.0, np.cumprod(1 - leaving / np.maximum(at_risk - events, 1)))
    probability: np.ndarray = left[np.searchsorted(days, time, side="right")]
    return probability


def _auc_at(day: float, training: Outcome, outcome: Outcome, predictor: np.ndarray, level: float) -> TimedAuc:
    case, control = outcome.event & (outcome.time <= day), outcome.time > day
    counts = int(case.sum()), int(control.sum())
    if not all(counts):
        raise InputError(
            f"day {day:g} has {counts[0]} patients with the event and {counts[1]} followed beyond it"
        )
    probability = uncensored(training, outcome.time[case])
    if (probability <= 0).any():
        raise InputError(f"day {day:g}: no training patient is followed as long as an event before that day")
    weight = 1 / probability
    weight /= weight.sum()
    ill, well = predictor[case], predictor[control]
    sorted_well = np.sort(well)
    below = np.searchsorted(sorted_well, ill, "left") + np.searchsorted(sorted_well, ill, "right")
    placed = below / (2 * well.size)  # of each case: share of controls below it
    order = np.argsort(ill)
    share = np.append(0.0, np.cumsum(weight[order]))
    under = (
        share[np.searchsorted(ill[order], well, "left")] + share[np.searchsorted(ill[order], well, "right")]
    )
    value = min(1.0, max(0.0, float(weight @ placed)))
    influence = np.append(weight * (placed - value), (1 - under / 2 - value) / well.size)
    return TimedAuc(day, area_interval(value, _variance(influence), min(counts), level), *counts)
