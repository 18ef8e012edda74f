"""More than one way to leave: cumulative incidence after Aalen and Johansen, cause-specific Cox models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.prognosis.outcome import COMPETING, OF_INTEREST, Outcome
from covid19net.prognosis.partial import maximise, risk_sets

SURE = 1e-12  # a probability so near 1 is 1 but for rounding


@dataclass(frozen=True, eq=False)
class Incidence:
    """How probable it is that an event has come by a day, while others compete with it.

    Attributes:
        name: of group and event, as a legend says it.
        time: days at which it steps, from 0, rising, (step,).
        probability: of this event by that day, (step,); 0 at day 0.
        low: lower limit of its interval, (step,).
        high: upper limit, (step,).
        events: seen.
    """

    name: str
    time: np.ndarray
    probability: np.ndarray
    low: np.ndarray
    high: np.ndarray
    events: int


@dataclass(frozen=True)
class CauseRow:
    """One covariate in the Cox model of one cause.

    Attributes:
        cause: 1 the event of interest, 2 what competes with it.
        name: of the covariate.
        coefficient: log hazard ratio for one unit.
        hazard_ratio: with its interval.
        p: Wald's, two-sided.
        patients: in the model.
        events: of that cause.
    """

    cause: int
    name: str
    coefficient: float
    hazard_ratio: Estimate
    p: float
    patients: int
    events: int


def incidence(outcome: Outcome, cause: int, name: str, *, level: float = 0.95) -> Incidence:
    """The Aalen-Johansen estimate (Scand J Stat 1978;5:141-150) for one cause.

    The variance is Aalen's with Greenwood's increments (Marubini and Valsecchi, Analysing Survival Data,
    1995, chapter 10), the interval on the scale log(-log), which keeps it inside [0, 1] (Choudhury, Stat Med
    2002;21:1129-1144). Where all have had this event the upper limit is 1 and the lower one stays.

    Args:
        outcome: follow-up; all events of both causes count.
        cause: 1 or 2.
        name: for a legend.
        level: confidence of the interval, for each day.

    Raises:
        InputError: another cause.
    """
    if cause not in (OF_INTEREST, COMPETING):
        raise InputError(f"a cause is {OF_INTEREST} or {COMPETING}, not {cause}")
    day = np.unique(outcome.time[outcome.cause > 0])
    at_risk = outcome.size - np.searchsorted(np.sort(outcome.time), day, side="left")
    mine = _on(day, outcome.time[outcome.cause == cause])
    every = _on(day, outcome.time[outcome.cause > 0])
    staying = np.cumprod(1 - every / at_risk)
    before = np.append(1.0, staying[:-1])
    probability = np.cumsum(before * mine / at_risk)
    variance = _variance(at_risk, mine, every, before, probability)
    kept = mine > 0
    curve, error = probability[kept], np.sqrt(variance[kept])
    sure = curve > 1 - SURE  # the last patient's event: no variance is known
    inside = np.where(sure, 0.5, curve)
    spread = quantile(level) * error / np.abs(inside * np.log(inside))
    low, high = (np.append(0.0, inside ** np.exp(side * spread)) for side in (1, -1))
    if sure.any():
        low[-1], high[-1] = low[-2], 1.0
    return Incidence(
        name,
        np.append(0.0, day[kept]),
        np.append(0.0, curve),
        low,
        high,
        int(mine.sum()),
    )


def _on(day: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return np.bincount(np.searchsorted(day, seen), minlength=day.size)


def _variance(
    at_risk: np.ndarray, mine: np.ndarray, every: np.ndarray, before: np.ndarray, probability: np.ndarray
) -> np.ndarray:
    """Of the cumulative incidence on each day: three sums whose summands hold the day's own incidence."""
    left = at_risk - every
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.where(left > 0, every / (at_risk * left), 0.0)
    binomial = before**2 * mine * (at_risk - mine) / at_risk**3
    crossed = before * mine / at_risk**2
    # sum over s <= t of (F(t) - F(s))^2 g(s) + b(s) - 2 (F(t) - F(s)) c(s), expanded in F(t)
    g0, g1, g2 = (np.cumsum(greenwood * probability**k) for k in (0, 1, 2))
    c0, c1 = (np.cumsum(crossed * probability**k) for k in (0, 1))
    total = probability**2 * g0 - 2 * probability * g1 + g2 + np.cumsum(binomial)
    variance: np.ndarray = np.maximum(total - 2 * (probability * c0 - c1), 0.0)
    return variance


def cause_specific(
    outcome: Outcome, covariates: np.ndarray, names: Sequence[str], *, level: float = 0.95
) -> tuple[CauseRow, ...]:
    """Cox models of both causes, the other one censored (Prentice et al., Biometrics 1978;34:541-554).

    Args:
        outcome: follow-up with events of both causes.
        covariates: (patient, covariate).
        names: of the covariates.
        level: confidence of the intervals.

    Raises:
        InputError: a cause with fewer events than covariates, or a model that cannot be fitted.
    """
    rows: list[CauseRow] = []
    for cause in (OF_INTEREST, COMPETING):
        events = int((outcome.cause == cause).sum())
        if events < len(names):
            word = "competing events" if cause == COMPETING else "events"
            raise InputError(f"{events} {word} are too few for {len(names)} covariates")
        own = Outcome(outcome.time, np.where(outcome.cause == cause, OF_INTEREST, 0))
        fit = maximise(risk_sets(own, covariates))
        errors = np.sqrt(np.diag(fit.covariance))
        for name, value, error in zip(names, fit.coefficients.tolist(), errors.tolist(), strict=True):
            low, high = (float(np.exp(value + side * quantile(level) * error)) for side in (-1, 1))
            ratio = Estimate(float(np.exp(value)), low, high, level)
            p = float(2 * norm.sf(abs(value) / error))
            rows.append(CauseRow(cause, name, value, ratio, p, outcome.size, events))
    return tuple(rows)
