"""Risk groups: the cut, their Kaplan-Meier curves with numbers at risk, and the log-rank test.

A competing event counts as censored here, as in the paper; `competing` counts it as what it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import pinvh
from scipy.stats import chi2

from covid19net.errors import InputError
from covid19net.evaluate.estimate import Estimate, quantile
from covid19net.prognosis.outcome import Outcome

LOW, HIGH = "low", "high"


@dataclass(frozen=True, eq=False)
class WaitingCurve:
    """The Kaplan-Meier estimate of one group: the probability that the event has not come yet.

    Attributes:
        name: of the group.
        time: days at which the estimate steps, from 0, rising, (step,).
        waiting: probability after each step, (step,); 1 at day 0.
        low: lower limit of its interval, (step,).
        high: upper limit, (step,).
        censored: days on which somebody was last seen without the event, rising, one for each (patient,).
        times: follow-up of every patient in days, rising, (patient,); for the numbers at risk.
        patients: in the group.
        events: seen among them.
        median: day by which half have had the event; None where the curve does not fall that far.
        median_low: lower limit of its interval (Brookmeyer and Crowley 1982); None likewise.
        median_high: upper limit; None likewise.
        level: confidence of the intervals.
    """

    name: str
    time: np.ndarray
    waiting: np.ndarray
    low: np.ndarray
    high: np.ndarray
    censored: np.ndarray
    times: np.ndarray
    patients: int
    events: int
    median: float | None
    median_low: float | None = None
    median_high: float | None = None
    level: float = 0.95

    def at_risk(self, days: np.ndarray) -> np.ndarray:
        """How many were still followed just before each of these days: int, (day,)."""
        return self.patients - np.searchsorted(self.times, days, side="left")


@dataclass(frozen=True)
class GroupTest:
    """A test of groups, such as Gray's.

    Attributes:
        statistic: chi squared.
        df: groups less one, of those followed to the first event.
        p: that groups alike would differ so much.
    """

    statistic: float
    df: int
    p: float


@dataclass(frozen=True)
class LogRank(GroupTest):
    """The log-rank test of groups.

    Attributes:
        observed: group -> events seen.
        expected: group -> events expected if all had the same hazard.
    """

    observed: dict[str, int]
    expected: dict[str, float]


def median_cut(risk: np.ndarray) -> float:
    """The median risk of the training set: who is at it or above is at high risk.

    Of an odd number the middle patient is so at high risk: the paper's 301 give 150 low and 151 high.

    Raises:
        InputError: no patients, or a risk that is not finite.
    """
    risk = np.asarray(risk, np.float64)
    if not risk.size or not np.isfinite(risk).all():
        raise InputError(f"no median of {risk.size} risks: they must be finite")
    return float(np.median(risk))


def split(risk: np.ndarray, cut: float) -> np.ndarray:
    """Risk group of each patient: "high" at or above the cut, else "low", (patient,).

    Raises:
        InputError: a risk that is not finite: it belongs to neither group.
    """
    risk = np.asarray(risk, np.float64)
    if not np.isfinite(risk).all():
        raise InputError(f"{(~np.isfinite(risk)).sum()} of {risk.size} risks are not finite")
    return np.where(risk >= cut, HIGH, LOW)


@dataclass(frozen=True, eq=False)
class Steps:
    """Counts on the days on which something happened; every array has the axis (day,).

    Attributes:
        day: rising.
        at_risk: still followed just before.
        events: of interest on that day.
    """

    day: np.ndarray
    at_risk: np.ndarray
    events: np.ndarray


def steps_of(outcome: Outcome) -> Steps:
    """Days on which an event of interest happened."""
    day, events = np.unique(outcome.time[outcome.event], return_counts=True)
    at_risk = outcome.size - np.searchsorted(np.sort(outcome.time), day, side="left")
    return Steps(day, at_risk, events)


def waiting_curve(outcome: Outcome, name: str, *, level: float = 0.95) -> WaitingCurve:
    """Kaplan and Meier's estimate (1958) with Greenwood's variance on the scale log(-log).

    That scale keeps the limits inside [0, 1]; R's default is the log scale, whose upper limit it cuts at 1.
    Where the last patient followed has the event, no variance is known, and R gives no limits: here the lower
    one is 0 and the upper one stays, for the curve cannot have risen.

    Args:
        outcome: follow-up of the group; may hold no event.
        name: of the group.
        level: confidence of the intervals, each for one day.
    """
    steps = steps_of(outcome)
    waiting = np.cumprod(1 - steps.events / steps.at_risk)
    left = steps.at_risk - steps.events
    with np.errstate(divide="ignore", invalid="ignore"):
        greenwood = np.cumsum(steps.events / (steps.at_risk * left))
        spread = quantile(level) * np.sqrt(greenwood) / np.abs(np.log(waiting))
        low, high = waiting ** np.exp(spread), waiting ** np.exp(-spread)
    waiting, low, high = (np.append(1.0, values) for values in (waiting, low, high))
    if left.size and left[-1] == 0:
        low[-1], high[-1] = 0.0, high[-2]
    time = np.append(0.0, steps.day)
    return WaitingCurve(
        name=name,
        time=time,
        waiting=waiting,
        low=low,
        high=high,
        censored=np.sort(outcome.time[~outcome.event]),
        times=np.sort(outcome.time),
        patients=outcome.size,
        events=int(outcome.event.sum()),
        median=_reached(time, waiting),
        median_low=_reached(time, low),
        median_high=_reached(time, high),
        level=level,
    )


def _reached(time: np.ndarray, probability: np.ndarray) -> float | None:
    """First day with a probability of at most one half; the middle of the step where it is exactly that."""
    below = np.flatnonzero(probability <= 0.5 + 1e-12)
    if not below.size:
        return None
    first = int(below[0])
    if abs(probability[first] - 0.5) < 1e-12 and first + 1 < time.size:
        return float((time[first] + time[first + 1]) / 2)
    return float(time[first])


def mean_wait(curve: WaitingCurve, horizon: float, *, level: float = 0.95) -> Estimate:
    """Expected days without the event up to a horizon (restricted mean), the area under the curve.

    Source of the variance: Klein and Moeschberger, Survival Analysis, 2nd ed., equation 4.5.2.

    Args:
        curve: of the group.
        horizon: day, above 0, not after the last follow-up unless all have had the event by then.
        level: confidence of the interval.

    Raises:
        InputError: a horizon beyond the follow-up.
    """
    if horizon <= 0 or (horizon > curve.times[-1] and curve.waiting[-1] > 0):
        raise InputError(
            f"{curve.name}: follow-up ends on day {curve.times[-1]:g}, before the horizon {horizon:g}"
        )
    inside = curve.time < horizon
    time, waiting = curve.time[inside], curve.waiting[inside]
    areas = waiting * np.diff(np.append(time, horizon))
    after = areas[::-1].cumsum()[::-1][1:]  # area beyond each event
    at_risk = curve.at_risk(time[1:])
    events = np.rint(at_risk * (1 - waiting[1:] / waiting[:-1]))
    left = at_risk - events
    terms = np.where(left > 0, after**2 * events / (at_risk * np.maximum(left, 1)), 0.0)
    value, half = float(areas.sum()), quantile(level) * float(np.sqrt(terms.sum()))
    return Estimate(value, max(0.0, value - half), min(horizon, value + half), level)


def median_wait(curve: WaitingCurve) -> Estimate | None:
    """The median with its interval; None where the curve or one of its limits does not fall to one half."""
    if curve.median is None or curve.median_low is None or curve.median_high is None:
        return None
    return Estimate(curve.median, curve.median_low, curve.median_high, curve.level)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First less second, of two medians or two means of groups that share no patient.

    The limits are put together from theirs (Zou and Donner, Stat Med 2008;27:1693-1702).

    Raises:
        InputError: intervals of different levels.
    """
    if first.level != second.level:
        raise InputError(f"intervals of one level are needed, got {first.level:g} and {second.level:g}")
    value = first.value - second.value
    below = np.hypot(first.value - first.low, second.high - second.value)
    above = np.hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, value - float(below), value + float(above), first.level)


def by_group(outcome: Outcome, group: np.ndarray, *, level: float = 0.95) -> tuple[WaitingCurve, ...]:
    """A curve of each group: "low" before "high", else by name."""
    return tuple(waiting_curve(part, name, level=level) for name, part in parts(outcome, group))


def parts(outcome: Outcome, group: np.ndarray) -> Iterator[tuple[str, Outcome]]:
    """Each group with its follow-up.

    Raises:
        InputError: not one group a patient.
    """
    group = np.asarray(group)
    if group.shape != outcome.time.shape:
        raise InputError(f"one group a patient is needed, got {group.size} for {outcome.size}")
    order = {LOW: 0, HIGH: 1}
    for name in sorted(set(group.tolist()), key=lambda n: (order.get(n, 2), n)):
        yield str(name), outcome[group == name]


def logrank(outcome: Outcome, group: np.ndarray) -> LogRank:
    """Test whether groups have the same hazard (Mantel 1966; Peto and Peto 1972), as R's survdiff.

    A group that nobody is left in when the first event comes has no say and takes no degree of freedom.

    Args:
        outcome: follow-up.
        group: name of each patient's group, (patient,).

    Raises:
        InputError: one group only, no event, groups never followed together, or not one group a patient.
    """
    named = list(parts(outcome, group))
    if len(named) < 2:
        raise InputError(f"two groups are needed, found {outcome.size} patients in {named[0][0]!r} alone")
    outcome.check_events()
    whole = steps_of(outcome)
    counts = [_counts(part, whole.day) for _, part in named]
    at_risk, events = np.array([c[0] for c in counts], float), np.array([c[1] for c in counts], float)
    share = at_risk / whole.at_risk
    expected = (share * whole.events).sum(1)
    rest = np.maximum(whole.at_risk - 1, 1)
    weight = whole.events * (whole.at_risk - whole.events) / rest
    covariance = np.diag((share * weight).sum(1)) - (share * weight) @ share.T
    inner = np.flatnonzero(expected)[:-1]  # their differences sum to 0: the last one follows
    covariance = covariance[np.ix_(inner, inner)]
    if not covariance.any():
        raise InputError("the groups are never followed at the same time: they cannot be compared")
    apart = (events.sum(1) - expected)[inner]
    statistic = float(apart @ pinvh(covariance) @ apart)
    names = [name for name, _ in named]
    return LogRank(
        statistic,
        inner.size,
        float(chi2.sf(statistic, inner.size)),
        dict(zip(names, events.sum(1).astype(int).tolist(), strict=True)),
        dict(zip(names, expected.tolist(), strict=True)),
    )


def _counts(part: Outcome, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many of a group are followed just before each day, and how many have the event on it."""
    at_risk = part.size - np.searchsorted(np.sort(part.time), days, side="left")
    seen = part.time[part.event]
    events = np.bincount(np.searchsorted(days, seen), minlength=days.size)
    return at_risk, events
