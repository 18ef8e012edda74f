"""One patient's way: the baseline hazard of a sample, and the probability of the event by day.

The cumulative baseline hazard is Efron's, which belongs to a partial likelihood with ties after Efron: tied
events leave the risk set one after another. Without ties it is Breslow's. The interval of one patient's curve
has the variance of Tsiatis (Ann Stat 1981;9:93-108) and Link (Biometrics 1984;40:601-610), as R's
survfit.coxph computes it, on the scale log(-log), so that it stays in [0, 1].
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome

LARGEST_PREDICTOR = 500.0  # of a patient: exp of more overflows


@dataclass(frozen=True, eq=False)
class Baseline:
    """The hazard of a sample by day, and what an interval needs of it; no value belongs to a patient.

    Attributes:
        day: days with an event, above 0, rising, (step,).
        hazard: cumulative hazard to the end of that day of a patient whose covariates are `centre`, (step,).
        variance: its variance for known coefficients: the cumulative sum of dN / S0^2, (step,).
        drift: cumulative sum of (mean covariates of those at risk - centre) dH, (step, covariate).
        centre: covariates for which `hazard` holds, (covariate,).
        horizon: last day with follow-up; nothing is claimed beyond it.

    Raises:
        InputError: arrays that do not fit each other, or are no cumulative hazard.
    """

    day: np.ndarray
    hazard: np.ndarray
    variance: np.ndarray
    drift: np.ndarray
    centre: np.ndarray
    horizon: float

    def __post_init__(self) -> None:
        shapes = [np.shape(a) for a in (self.hazard, self.variance, self.drift)]
        steps, count = len(self.day), len(self.centre)
        if not steps or shapes != [(steps,), (steps,), (steps, count)]:
            raise InputError(f"a baseline of {steps} days and {count} covariates cannot hold {shapes}")
        numbers = (self.day, self.hazard, self.variance, self.drift, self.centre, [self.horizon])
        if not all(np.isfinite(a).all() for a in numbers):
            raise InputError("a baseline holds numbers that are not finite")
        for name in ("day", "hazard", "variance"):
            if not (np.diff(getattr(self, name), prepend=0.0) > 0).all():
                raise InputError(f"{name} of a baseline must rise from above 0")
        if self.horizon < self.day[-1]:
            raise InputError(f"horizon {self.horizon:g} lies before the last event on day {self.day[-1]:g}")


class Cause(NamedTuple):
    """One way to leave: its baseline, and log hazard ratios for one unit of each covariate, (covariate,)."""

    baseline: Baseline
    coefficients: np.ndarray


@dataclass(frozen=True, eq=False)
class PatientCurve:
    """The probability that one patient has had the event by a day.

    Competing events count as censored in all but `with_competing`, as in the paper: the curve says when the
    event comes where nothing else ends the stay before it.

    Attributes:
        day: from 0, rising, (day,).
        probability: by the end of that day, (day,).
        low: lower limit of its interval, (day,).
        high: upper limit, (day,).
        level: confidence of the interval.
        median: day by which the event is as probable as not; None where follow-up does not reach so far.
        mean: expected days until the event within `horizon` (restricted mean).
        horizon: last day with follow-up in the sample; nothing is claimed beyond it.
        with_competing: probability that the event has come by that day and nothing else before it, (day,);
            None where the sample knows no competing event.
    """

    day: np.ndarray
    probability: np.ndarray
    low: np.ndarray
    high: np.ndarray
    level: float
    median: float | None
    mean: float
    horizon: float
    with_competing: np.ndarray | None = None

    @property
    def median_limits(self) -> tuple[float | None, float | None]:
        """Interval of the median: days on which the limits of the curve reach one half; None where not."""
        early, late = (self.day[limit >= 0.5] for limit in (self.high, self.low))
        return (float(early[0]) if early.size else None, float(late[0]) if late.size else None)


def baseline(
    outcome: Outcome, covariates: np.ndarray, coefficients: np.ndarray, *, centre: np.ndarray | None = None
) -> Baseline:
    """Estimate the baseline hazard of a Cox model in a sample: the one it was fitted on, or another.

    Args:
        outcome: follow-up; competing events count as censored.
        covariates: (patient, covariate), finite.
        coefficients: log hazard ratios for one unit of each covariate, (covariate,).
        centre: covariates for which the hazard is to hold, (covariate,); their mean where None.

    Raises:
        InputError: no event, covariates that do not fit, or a patient whose hazard is beyond all numbers.
    """
    outcome.check_events()
    x, beta = np.asarray(covariates, np.float64), np.asarray(coefficients, np.float64)
    if x.shape != (outcome.size, beta.size) or not np.isfinite(x).all():
        raise InputError(
            f"{outcome.size} patients and {beta.size} coefficients do not fit {x.shape} covariates"
        )
    middle = x.mean(0) if centre is None else np.asarray(centre, np.float64)
    predictor = (x - middle) @ beta
    if np.abs(predictor).max() > LARGEST_PREDICTOR:
        raise InputError(
            f"a patient's linear predictor is beyond {LARGEST_PREDICTOR:g}: covariates in other units?"
        )
    order = np.argsort(-outcome.time, kind="stable")
    time, event, weight = outcome.time[order], outcome.event[order], np.exp(predictor[order])
    sums = np.cumsum(np.column_stack([weight, weight[:, None] * (x[order] - middle)]), axis=0)
    day, place, tied = np.unique(time[event], return_inverse=True, return_counts=True)
    at_risk = sums[np.searchsorted(-time, -day, side="right") - 1]  # (step, 1 + covariate)
    of_events = np.zeros((day.size, 1 + beta.size))
    weighted = np.column_stack([weight, weight[:, None] * (x[order] - middle)])[event]
    np.add.at(of_events, place, weighted)
    step = np.repeat(np.arange(day.size), tied)  # one entry for each event, by rising day
    share = (np.arange(step.size) - np.searchsorted(step, step)) / tied[step]
    left = at_risk[step] - share[:, None] * of_events[step]
    ends = np.cumsum(tied) - 1
    return Baseline(
        day=day,
        hazard=np.cumsum(1 / left[:, 0])[ends],
        variance=np.cumsum(1 / left[:, 0] ** 2)[ends],
        drift=np.cumsum(left[:, 1:] / left[:, :1] ** 2, axis=0)[ends],
        centre=middle,
        horizon=float(time[0]),
    )


def hazard_at(found: Baseline, days: np.ndarray) -> np.ndarray:
    """Cumulative baseline hazard to the end of each of these days, (day,); 0 before the first event."""
    hazard: np.ndarray = np.append(0.0, found.hazard)[np.searchsorted(found.day, days, side="right")]
    return hazard


def patient_curve(
    found: Baseline,
    coefficients: np.ndarray,
    covariance: np.ndarray,
    x: np.ndarray,
    *,
    level: float = 0.95,
    days: np.ndarray | None = None,
) -> PatientCurve:
    """When the event is to be expected for one patient.

    Args:
        found: from `baseline`.
        coefficients: log hazard ratios for one unit of each covariate, (covariate,).
        covariance: of the coefficients, (covariate, covariate).
        x: the patient's covariates, (covariate,).
        level: confidence of the interval, which holds for each day by itself.
        days: at which the curve is wanted, rising, 0 to the horizon; where None: 0, every step, the horizon.

    Raises:
        InputError: covariates that do not fit or are not finite, days outside 0 to the horizon.
    """
    if not 0 < level < 1:
        raise InputError(f"a confidence level lies between 0 and 1, got {level:g}")
    distance = np.asarray(x, np.float64) - found.centre
    if not np.isfinite(distance).all():
        raise InputError("a covariate of the patient is NaN or infinite")
    steps = np.unique(np.concatenate([[0.0], found.day, [found.horizon]]))
    wanted = steps if days is None else np.asarray(days, np.float64)
    if not wanted.size or wanted[0] < 0 or wanted[-1] > found.horizon or (np.diff(wanted) <= 0).any():
        raise InputError(f"days must rise within 0 to {found.horizon:g}, where follow-up ends")
    predictor = float(np.clip(distance @ coefficients, -LARGEST_PREDICTOR, LARGEST_PREDICTOR))
    width = NormalDist().inv_cdf(0.5 + level / 2)  # of scipy only what is already loaded: analyze is quick
    low, middle, high = _limits(found, distance, covariance, width).T
    curves = [_by(found, wanted, log_hazard + predictor) for log_hazard in (low, middle, high)]
    everywhere = _by(found, steps, middle + predictor)
    reached = np.flatnonzero(everywhere >= 0.5)
    return PatientCurve(
        day=wanted,
        probability=curves[1],
        low=curves[0],
        high=curves[2],
        level=level,
        median=float(steps[reached[0]]) if reached.size else None,
        mean=float(((1 - everywhere[:-1]) * np.diff(steps)).sum()),
        horizon=found.horizon,
    )


def _limits(found: Baseline, distance: np.ndarray, covariance: np.ndarray, width: float) -> np.ndarray:
    """Log cumulative hazard relative to the patient's own exp(predictor): low, estimate, high; (step, 3)."""
    towards = found.hazard[:, None] * distance - found.drift  # how the hazard moves with the coefficients
    variance = found.variance + np.einsum("si,ij,sj->s", towards, covariance, towards)
    half = width * np.sqrt(variance) / found.hazard
    middle = np.log(found.hazard)
    return np.stack([middle - half, middle, middle + half], axis=1)


def _by(found: Baseline, days: np.ndarray, log_hazard: np.ndarray) -> np.ndarray:
    """Probability of the event by each day, from the log cumulative hazard at each step."""
    hazard = np.exp(np.clip(log_hazard, None, LARGEST_PREDICTOR))
    chance: np.ndarray = -np.expm1(-np.append(0.0, hazard)[np.searchsorted(found.day, days, side="right")])
    return chance


def cumulative_incidence(days: np.ndarray, x: np.ndarray, event: Cause, competing: Cause) -> np.ndarray:
    """Probability that the event has come by a day while another one competes: F(t) = sum of S(u-) dH(u).

    S is the probability that neither has come. What leaves S on a day is shared between both events as their
    hazards are, so that F, its counterpart and S always add up to 1.

    Args:
        days: rising, (day,).
        x: the patient's covariates, (covariate,).
        event: of interest.
        competing: the other, both from one sample.

    Returns:
        In [0, 1], (day,).
    """
    steps = np.union1d(event.baseline.day, competing.baseline.day)
    grown = []
    for cause in (event, competing):
        predictor = float((np.asarray(x, np.float64) - cause.baseline.centre) @ cause.coefficients)
        ratio = np.exp(np.clip(predictor, -LARGEST_PREDICTOR, LARGEST_PREDICTOR))
        grown.append(np.diff(hazard_at(cause.baseline, steps) * ratio, prepend=0.0))
    both = grown[0] + grown[1]
    neither = np.exp(-np.cumsum(both))
    leaving = -np.diff(neither, prepend=1.0)
    chance: np.ndarray = np.append(0.0, np.cumsum(leaving * grown[0] / both))
    return chance[np.searchsorted(steps, days, side="right")]
