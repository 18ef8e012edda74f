"""More than one way to leave: cumulative incidence, Gray's test of it in groups, cause-specific models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import pinvh
from scipy.stats import chi2, norm

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.prognosis.cox import LARGEST_LOG
from covid19net.prognosis.groups import GroupTest, parts
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
        hazard_ratio: for `per` units, with its interval.
        p: Wald's, two-sided.
        patients: in the model.
        events: of that cause.
        per: units of the covariate.
    """

    cause: int
    name: str
    coefficient: float
    hazard_ratio: Estimate
    p: float
    patients: int
    events: int
    per: float = 1.0


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
    _check_cause(cause)
    day = np.unique(outcome.time[outcome.cause > 0])
    at_risk, mine, other = _counts(outcome, cause, day)
    every = mine + other
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


def incidence_by_group(
    outcome: Outcome, group: np.ndarray, cause: int, *, level: float = 0.95
) -> tuple[Incidence, ...]:
    """The incidence of one cause in each group, in the order of `groups.by_group`; see `incidence`."""
    return tuple(incidence(part, cause, name, level=level) for name, part in parts(outcome, group))


def _check_cause(cause: int) -> None:
    if cause not in (OF_INTEREST, COMPETING):
        raise InputError(f"a cause is {OF_INTEREST} or {COMPETING}, not {cause}")


def _counts(outcome: Outcome, cause: int, day: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many are followed just before each day, have this event on it, and have the other one."""
    at_risk = outcome.size - np.searchsorted(np.sort(outcome.time), day, side="left")
    mine, other = (
        np.bincount(np.searchsorted(day, outcome.time[outcome.cause == one]), minlength=day.size)
        for one in (cause, OF_INTEREST + COMPETING - cause)
    )
    return at_risk, mine, other


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


def gray_test(outcome: Outcome, group: np.ndarray, cause: int = OF_INTEREST) -> GroupTest:
    """Test whether the cumulative incidence of one cause is the same in all groups.

    Source: Gray, Ann Stat 1988;16:1141-1154; with weight 1 (rho = 0) and corrected for ties, as R's
    cmprsk::cuminc. The log-rank test asks for the hazard of an event among those still there, this one for
    how many have had it: a group in which many die is discharged less often, even at the same hazard.

    Args:
        outcome: follow-up; all events of both causes count.
        group: name of each patient's group, (patient,).
        cause: 1 or 2.

    Raises:
        InputError: another cause, no event of it, one group only, not one group a patient, no two groups
            followed when it comes, three and more so different that one has all its events long before, or
            a handful of patients with nearly all events on the same days.
    """
    _check_cause(cause)
    named = list(parts(outcome, group))
    if len(named) < 2:
        raise InputError(f"two groups are needed, found {outcome.size} patients in {named[0][0]!r} alone")
    if not (outcome.cause == cause).any():
        raise InputError(f"no event of cause {cause} among {outcome.size} patients")
    day = np.unique(outcome.time[outcome.cause > 0])
    counts = np.array([_counts(part, cause, day) for _, part in named], float)
    together = (counts[:, 0] > 0).sum(0) > 1  # later days say nothing about a difference
    if not counts[:, 1, together].any():
        raise InputError("no event while two groups are followed: they cannot be compared")
    apart, expected, covariance = _gray_score(*counts[:, :, together].transpose(1, 0, 2))
    inner = np.flatnonzero(expected)[:-1]  # their differences sum to 0: the last one follows
    covariance = covariance[np.ix_(inner, inner)]
    if np.linalg.eigvalsh(covariance)[0] < -SURE:  # the correction for ties took more than there is
        raise InputError(f"too many events on the same days for a test of {outcome.size} patients")
    statistic = float(apart[inner] @ pinvh(covariance) @ apart[inner])
    return GroupTest(statistic, inner.size, float(chi2.sf(statistic, inner.size)))


def _gray_score(
    at_risk: np.ndarray, mine: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events less those expected, the expected ones, and the covariance of the former; arrays (group, day).

    With S a group's probability of no event, F its incidence and F0 the pooled one: the events of a group
    are compared with its part of the sum of R = at_risk (1 - F) / S. The variance comes from martingales: an
    event of group r at u moves the score of group k at once, by a(u), and what is expected later through
    1 - F, by c(u), the integral of a dF0 / (1 - F0) beyond u.
    """
    staying = np.cumprod(1 - _share(mine + other, at_risk), 1)
    before = np.column_stack([np.ones(len(mine)), staying[:, :-1]])
    weight = _share(at_risk, before)
    total, events = weight.sum(0), mine.sum(0)
    own = before * _share(mine, at_risk)
    risk = weight * (1 - np.cumsum(own, 1) + own)
    expected = risk / risk.sum(0) * events
    pooled = np.cumsum(events / total)
    if (pooled[:-1] > 1 - SURE).any():
        raise InputError("one group had all its events long before the others: compare two groups at a time")
    free = 1 - pooled
    at_once = np.eye(len(mine))[:, :, None] * weight - weight[:, None] * weight / total
    steps = at_once * (events / total / np.append(1.0, free[:-1]))
    later = steps[..., ::-1].cumsum(2)[..., ::-1] - steps
    ratio = _share(free, staying)
    by_mine = at_once + np.where(staying > 0, 1 - ratio, 1.0) * later
    by_other = ratio * later
    of_mine = _share(before * events / total, at_risk) * _untied(events, total * before)
    of_other = other * _share(before, at_risk) ** 2 * _untied(other, at_risk)
    covariance = sum(
        np.einsum("krt,lrt,rt->kl", moved, moved, variance)
        for moved, variance in ((by_mine, of_mine), (by_other, of_other))
    )
    return (mine - expected).sum(1), expected.sum(1), np.asarray(covariance)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """A quotient that is 0 where nobody is left."""
    result: np.ndarray = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return result


def _untied(events: np.ndarray, out_of: np.ndarray) -> np.ndarray:
    """What events on the same day leave of a variance: they are drawn without replacement."""
    result: np.ndarray = np.where(events > 1, 1 - (events - 1) / np.where(out_of > 1, out_of - 1, 1.0), 1.0)
    return result


def cause_specific(
    outcome: Outcome,
    covariates: np.ndarray,
    names: Sequence[str],
    *,
    level: float = 0.95,
    per: Mapping[str, float] | None = None,
) -> tuple[CauseRow, ...]:
    """Cox models of both causes, the other one censored (Prentice et al., Biometrics 1978;34:541-554).

    Args:
        outcome: follow-up with events of both causes.
        covariates: (patient, covariate).
        names: of the covariates.
        level: confidence of the intervals.
        per: units of a covariate for which its hazard ratio is given, such as age: 10; 1 where absent.

    Raises:
        InputError: a cause with fewer events than covariates, a model that cannot be fitted, or a hazard
            ratio without a finite interval.
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
            unit = (per or {}).get(name, 1.0)
            half = quantile(level) * error
            if (abs(value) + half) * unit > LARGEST_LOG:
                raise InputError(f"{name}: the hazard ratio of {unit:g} units has no finite interval")
            middle, low, high = (float(np.exp(unit * (value + side * half))) for side in (0, -1, 1))
            p = float(2 * norm.sf(abs(value) / error))
            ratio = Estimate(middle, low, high, level)
            rows.append(CauseRow(cause, name, value, ratio, p, outcome.size, events, unit))
    return tuple(rows)
