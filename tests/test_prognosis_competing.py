"""Cumulative incidence and cause-specific models, against lifelines and hand calculations."""

from lifelines import AalenJohansenFitter, CoxPHFitter, KaplanMeierFitter
import numpy as np
import pandas as pd
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.competing import cause_specific, incidence
from covid19net.prognosis.outcome import Outcome
from tests.prognostic_models import NAMES, sample


def untied(size: int = 80) -> Outcome:
    """No two on a day, and the last one censored: lifelines gives no limits where the risk set empties."""
    cause = np.random.default_rng(5).choice([0, 1, 2], size, p=[0.3, 0.5, 0.2])
    return Outcome(np.arange(size) + 1.0, np.where(np.arange(size) == size - 1, 0, cause))


def at(curve, day: float) -> tuple[float, float, float]:
    step = np.searchsorted(curve.time, day, side="right") - 1
    return float(curve.probability[step]), float(curve.low[step]), float(curve.high[step])


@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")  # lifelines, before the first event
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("cause", [1, 2])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_the_incidence_and_its_interval_are_those_of_lifelines(cause, level):
    outcome = untied()
    curve = incidence(outcome, cause, "all", level=level)
    theirs = AalenJohansenFitter(alpha=1 - level).fit(outcome.time, outcome.cause, cause)
    assert curve.events == (outcome.cause == cause).sum() == curve.time.size - 1
    density = theirs.cumulative_density_.iloc[:, 0].loc[curve.time]
    np.testing.assert_allclose(curve.probability, density, rtol=1e-9)
    limits = np.sort(theirs.confidence_interval_.loc[curve.time[1:]].to_numpy(), axis=1)
    np.testing.assert_allclose(curve.low[1:], limits[:, 0], rtol=1e-7)
    np.testing.assert_allclose(curve.high[1:], limits[:, 1], rtol=1e-7)
    assert (curve.time[0], curve.probability[0], curve.low[0], curve.high[0]) == (0, 0, 0, 0)


def test_the_incidence_with_ties_worked_out_by_hand():
    """Ten patients. Day 2: two events, one competing, one censored. Day 4: six at risk, one of each event.
    Day 6: four at risk, two competing, one censored. Day 7: the last one has the event.

    Staying: 0.7, then 0.7 x 4/6, then that x 2/4, then 0.
    """
    time = np.array([2.0, 2, 2, 2, 4, 4, 6, 6, 6, 7])
    outcome = Outcome(time, np.array([1, 1, 2, 0, 1, 2, 2, 2, 0, 1]))
    ours, other = (incidence(outcome, cause, "all") for cause in (1, 2))
    steps = [0.2, 0.7 * 1 / 6, 0.7 * 4 / 6 * 2 / 4]
    assert ours.time.tolist() == [0, 2, 4, 7]
    np.testing.assert_allclose(ours.probability, np.cumsum([0, *steps]), rtol=1e-12)
    assert other.time.tolist() == [0, 2, 4, 6]
    np.testing.assert_allclose(
        other.probability, np.cumsum([0, 0.1, 0.7 * 1 / 6, 0.7 * 4 / 6 * 2 / 4]), rtol=1e-12
    )
    assert (ours.events, other.events) == (4, 4)
    assert at(ours, 7)[0] + at(other, 7)[0] == pytest.approx(1)  # nobody is left
    assert 0 < ours.low[-1] < ours.probability[-1] < ours.high[-1] < 1


@pytest.mark.parametrize("cause", [1, 2])
def test_without_censoring_the_interval_is_that_of_a_proportion(cause):
    """Then the estimate is the share of patients with that event by that day, its variance p (1 - p) / n,
    ties or not, to the last day, when the risk set empties.
    """
    rng = np.random.default_rng(1)
    outcome = Outcome(rng.integers(1, 8, 30).astype(float), rng.integers(1, 3, 30))
    curve = incidence(outcome, cause, "all")
    share = np.array([((outcome.cause == cause) & (outcome.time <= day)).mean() for day in curve.time])
    np.testing.assert_allclose(curve.probability, share, rtol=1e-12, atol=1e-15)
    p = share[1:]
    spread = 1.959964 * np.sqrt(p * (1 - p) / 30) / np.abs(p * np.log(p))
    np.testing.assert_allclose(curve.low[1:], p ** np.exp(spread), rtol=1e-6)
    np.testing.assert_allclose(curve.high[1:], p ** np.exp(-spread), rtol=1e-6)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_incidences_sum_to_what_all_causes_together_leave(seed):
    outcome, _ = sample(seed, 200)
    both = [incidence(outcome, cause, "all") for cause in (1, 2)]
    left = KaplanMeierFitter().fit(outcome.time, outcome.cause > 0)
    for day in np.unique(outcome.time):
        together = sum(at(curve, day)[0] for curve in both)
        assert together == pytest.approx(1 - float(left.predict(day)), abs=1e-12)


def test_nothing_competing_gives_one_less_kaplan_meier():
    """And Greenwood's variance: the squared curve by the sum of d / (n (n - d)) = 1/42, 1/30, 1/12, 1/6."""
    time, event = np.array([1.0, 2, 2, 3, 5, 5, 8]), np.array([1, 1, 0, 1, 0, 1, 0])
    theirs = KaplanMeierFitter().fit(time, event)
    curve = incidence(Outcome(time, event), 1, "all")
    left = theirs.predict(curve.time[1:]).to_numpy()
    p = 1 - left
    np.testing.assert_allclose(curve.probability[1:], p, atol=1e-12)
    error = left * np.sqrt(np.cumsum([1 / 42, 1 / 30, 1 / 12, 1 / 6]))
    spread = 1.959964 * error / np.abs(p * np.log(p))
    np.testing.assert_allclose(curve.low[1:], p ** np.exp(spread), rtol=1e-6)


def test_the_event_of_the_last_patient_makes_nobody_certain():
    curve = incidence(Outcome(np.array([5.0]), np.array([1])), 1, "all")
    assert (curve.probability[-1], curve.low[-1], curve.high[-1]) == (1, 0, 1)
    time = np.arange(1.0, 12)  # eleven steps of 1 / 11 sum to 1 but for rounding
    curve = incidence(Outcome(time, np.ones(11)), 1, "all")
    assert curve.probability[-1] == pytest.approx(1)
    assert 0.5 < curve.low[-2] == curve.low[-1] < 1
    assert curve.high[-1] == 1


def test_an_event_that_never_came_has_a_flat_curve():
    for cause in ([0, 0], [1, 0]):
        curve = incidence(Outcome(np.array([3.0, 4]), np.array(cause)), 2, "all")
        assert (curve.time.tolist(), curve.probability.tolist(), curve.events) == ([0], [0], 0)
        assert (curve.low.tolist(), curve.high.tolist()) == ([0], [0])


def test_counting_competing_events_as_censored_says_too_much():
    outcome, _ = sample(1, 300)
    naive = KaplanMeierFitter().fit(outcome.time, outcome.event)
    assert at(incidence(outcome, 1, "all"), 30)[0] < 1 - float(naive.predict(30)) - 0.02


@pytest.mark.parametrize("cause", [0, 3, -1])
def test_another_cause_is_refused(cause):
    with pytest.raises(InputError, match=f"a cause is 1 or 2, not {cause}"):
        incidence(untied(), cause, "all")


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_cause_specific_models_are_those_of_lifelines(level):
    outcome, x = sample(1, 300)
    rows = cause_specific(outcome, x, NAMES, level=level)
    assert [(row.cause, row.name) for row in rows] == [(c, name) for c in (1, 2) for name in NAMES]
    for cause in (1, 2):
        event = outcome.cause == cause
        frame = pd.DataFrame(x, columns=list(NAMES)).assign(t=outcome.time, e=event)
        theirs = CoxPHFitter(alpha=1 - level).fit(frame, "t", "e").summary
        mine = [row for row in rows if row.cause == cause]
        assert {(row.patients, row.events) for row in mine} == {(300, int(event.sum()))}
        np.testing.assert_allclose([row.coefficient for row in mine], theirs["coef"], rtol=1e-4)
        np.testing.assert_allclose([row.hazard_ratio.value for row in mine], theirs["exp(coef)"], rtol=1e-4)
        ends = [(row.hazard_ratio.low, row.hazard_ratio.high) for row in mine]
        np.testing.assert_allclose(ends, theirs.filter(regex=r"exp\(coef\) \w+ \d").to_numpy(), rtol=1e-3)
        np.testing.assert_allclose([row.p for row in mine], theirs["p"], rtol=1e-2)
        assert {row.hazard_ratio.level for row in mine} == {level}


def test_too_few_events_of_a_cause_are_refused():
    outcome, x = sample(1, 300)
    few = np.where(np.cumsum(outcome.cause == 2) <= 2, outcome.cause, outcome.cause % 2)
    with pytest.raises(InputError, match="2 competing events are too few for 3 covariates"):
        cause_specific(Outcome(outcome.time, few), x, NAMES)
    none = np.where(outcome.cause == 1, 0, outcome.cause)
    with pytest.raises(InputError, match="0 events are too few for 3 covariates"):
        cause_specific(Outcome(outcome.time, none), x, NAMES)


def test_collinear_covariates_are_refused():
    outcome, x = sample(1, 300)
    with pytest.raises(InputError, match="collinear"):
        cause_specific(outcome, x[:, [0, 0]], NAMES[:2])
