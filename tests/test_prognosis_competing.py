"""Cumulative incidence, Gray's test and cause-specific models, against other programs and by hand."""

from lifelines import AalenJohansenFitter, CoxPHFitter, KaplanMeierFitter
import numpy as np
import pandas as pd
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.competing import cause_specific, gray_test, incidence, incidence_by_group
from covid19net.prognosis.groups import logrank
from covid19net.prognosis.outcome import Outcome
from tests.prognostic_models import NAMES, sample

# 177 patients with a stem cell transplant for acute leukaemia, the data set bmtcrr of Scrucca et al., Bone
# Marrow Transplant 2010;45:1388-1395: months, then 1 relapse or 2 death (0 neither), L for ALL or M for AML,
# and the phase: remission 1, 2 or 3, or R for relapse.
TRANSPLANTS = """
0.67:2LR 9.5:1M2 131.77:0L3 24.03:2L2 1.47:2L2 2.23:2LR 124.83:0L1 10.53:2L1 123.9:0L1 2:1LR 1.7:2LR
6.33:2MR 2.3:2M2 3.57:1LR 0.4:2LR 0.87:2L2 121.1:0L3 5.27:2M1 7.5:2L1 6.3:2M2 6.13:1L3 2.8:2L2 5.37:1L3
2.87:1L2 10.9:2M2 3.07:1LR 1.7:1LR 114.7:0MR 1.8:1LR 114.1:0MR 35:1M2 112.93:0MR 3.63:2L2 112.23:0LR
1.67:1LR 7.63:2MR 7.53:1L2 110.37:0M2 20.93:2MR 6.03:2L1 2.83:2M3 9.63:2M2 3.17:2MR 9.97:2MR 5.7:1M1
106.13:0M1 2.53:1LR 4.2:1MR 9.17:2M2 8.73:2M2 85.1:0M2 4.8:2MR 3.57:2MR 8:2L1 82.6:0L1 81.67:0M1 6:2L1
6.2:1M2 3.47:2MR 4.23:1LR 1:2M2 7.47:2L1 6.1:2MR 77:0M1 76.03:0M2 28.53:1M2 1.97:2MR 13.07:1LR 1.43:2LR
72.93:0L2 71.83:0LR 67.8:0M3 8.17:2L2 7.57:1LR 2.4:1LR 70.2:0M1 3.03:1MR 5.87:1MR 68.83:0M2 1.1:2LR
9.13:1MR 6.07:1MR 3.3:2L1 59.17:0M2 1.23:1LR 58.23:0M2 58:0M1 56.6:0L2 3.6:2MR 1.6:1MR 5.63:1M1 4.4:2M2
13.8:2MR 49.27:0M1 9.2:2M3 8.63:1L1 6.7:2MR 1.1:1LR 5.43:2LR 45.3:0L1 12.57:1MR 43.67:0L1 11.8:2M1
43.2:0M2 4.17:2L1 6.63:1MR 42.5:0M1 1.87:1M1 1.23:2M1 41.3:0M1 3.9:2M1 4.57:2M1 4.4:2M3 3.7:2M1 3.4:2MR
20.83:1L1 8.6:2M2 1.3:1MR 0.37:2LR 0.27:2L1 35.5:0L2 35.5:0M1 4.07:1L3 7.93:1L1 17.23:1L2 3.43:2L3 2:2M1
8.8:2MR 32.63:0MR 12.17:2L2 7.2:2MR 9:2M2 6:1M1 29.9:0M2 29.2:0L2 28.7:0M1 42.17:1MR 0.13:2M3 3.63:1L1
12.27:1MR 26.13:0M1 4.73:1M1 3.93:2MR 24.77:0L2 2.03:1MR 6.6:2L1 9.43:1LR 5:1M2 1.87:1LR 5.6:1MR 19.9:0LR
1.2:1MR 5.23:2MR 3.5:2M2 2.8:2MR 1.47:2MR 7.63:1LR 2.23:1L2 0.87:2MR 7.2:2MR 3.23:2LR 3.57:2M2 4.57:2M1
1.77:2MR 16.83:0L2 16.6:0M1 16.13:0L1 2.7:2L2 10.3:1LR 15.17:0M1 7:1M2 2.53:1MR 14.5:0M2 2.3:1MR 10.2:0M1
9.97:0M3 7.63:1MR
"""


def transplants() -> tuple[Outcome, np.ndarray, np.ndarray]:
    """Follow-up, disease and phase."""
    months, rest = zip(*(word.split(":") for word in TRANSPLANTS.split()), strict=True)
    cause, disease, phase = zip(*rest, strict=True)
    outcome = Outcome(np.array(months, float), np.array(cause, int))
    return outcome, np.array(disease), np.array(phase)


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


def test_grays_test_is_the_one_of_cmprsk():
    """cuminc(bmtcrr$ftime, bmtcrr$Status, bmtcrr$D) prints these; many share a day."""
    outcome, disease, _ = transplants()
    assert [int((outcome.cause == cause).sum()) for cause in (0, 1, 2)] == [46, 56, 75]
    for cause, statistic, p in ((1, 2.8623325, 0.09067592), (2, 0.4481279, 0.50322531)):
        test = gray_test(outcome, disease, cause)
        assert test.statistic == pytest.approx(statistic, abs=5e-8)
        assert test.p == pytest.approx(p, abs=5e-9)
        assert test.df == 1
    assert gray_test(outcome, disease) == gray_test(outcome, disease, 1)


def test_grays_test_of_four_groups_is_the_one_of_comprisk():
    """comprisk 0.8.0, written from Gray's paper."""
    outcome, _, phase = transplants()
    for cause, statistic, p in (
        (1, 14.35854971392939, 0.00245558768784),
        (2, 0.58943892598141, 0.898845776733),
    ):
        test = gray_test(outcome, phase, cause)
        assert test.statistic == pytest.approx(statistic, rel=1e-10)
        assert test.p == pytest.approx(p, rel=1e-9)
        assert test.df == 3


def test_grays_test_knows_neither_order_nor_names_nor_the_scale_of_time():
    outcome, disease, phase = transplants()
    order = np.random.default_rng(1).permutation(outcome.size)
    renamed = np.array([{"1": "z", "2": "low", "3": "high", "R": "a"}[name] for name in phase])
    shuffled = Outcome(outcome.time[order] ** 2, outcome.cause[order])
    assert gray_test(shuffled, renamed[order]).statistic == pytest.approx(gray_test(outcome, phase).statistic)
    early = Outcome(np.append(outcome.time, 0.01), np.append(outcome.cause, 0))  # left before the first event
    test = gray_test(early, np.append(disease, "none"))
    assert (test.df, test.statistic) == (1, pytest.approx(gray_test(outcome, disease).statistic))


def test_without_competing_events_grays_test_is_close_to_the_logrank_test():
    """Where there is no effect: observed and expected are the same, the variances are nearly."""
    outcome, _ = sample(1, 1000)
    alone = Outcome(outcome.time, np.where(outcome.cause == 2, 0, outcome.cause))
    group = np.where(np.arange(1000) % 3 == 0, "third", "rest")
    test = logrank(alone, group)
    assert test.statistic > 0.4
    assert gray_test(alone, group).statistic == pytest.approx(test.statistic, rel=0.03)


def test_grays_test_sees_deaths_where_the_logrank_test_sees_none():
    """Discharge has the same hazard in both groups; in one of them half of those still there die on day 3."""
    rng = np.random.default_rng(2)
    discharge = rng.exponential(10, 2000)
    dying = (np.arange(2000) % 2 == 1) & (discharge > 3) & (rng.random(2000) < 0.5)
    outcome = Outcome(np.where(dying, 3.0, discharge), np.where(dying, 2, 1))
    group = np.where(np.arange(2000) % 2, "dying", "spared")
    assert logrank(outcome, group).p > 0.05
    assert gray_test(outcome, group).p < 1e-10
    dying, spared = incidence_by_group(outcome, group, 1)
    assert (dying.name, spared.name) == ("dying", "spared")
    assert dying.probability[-1] < spared.probability[-1] - 0.2


def gray_refusals():
    two = Outcome(np.array([1.0, 2]), np.array([1, 2]))
    apart = Outcome(np.array([1.0, 5, 6]), np.array([0, 1, 1]))
    late = Outcome(np.concatenate([np.linspace(1, 2, 20), np.linspace(3, 9, 40)]), np.ones(60))
    thirds = np.array(["a"] * 20 + ["b", "c"] * 20)
    return [
        (two, ["a", "a"], 1, "two groups are needed, found 2 patients in 'a' alone"),
        (two, ["a"], 1, "one group a patient is needed, got 1 for 2"),
        (two, ["a", "b"], 3, "a cause is 1 or 2, not 3"),
        (apart, ["a", "b", "b"], 2, "no event of cause 2 among 3 patients"),
        (apart, ["a", "b", "b"], 1, "no event while two groups are followed"),
        (late, thirds, 1, "one group had all its events long before the others"),
    ]


@pytest.mark.parametrize(("outcome", "group", "cause", "message"), gray_refusals())
def test_where_grays_test_has_no_answer_it_gives_none(outcome, group, cause, message):
    with pytest.raises(InputError, match=message):
        gray_test(outcome, np.array(group), cause)


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


def test_a_cause_specific_ratio_is_given_for_any_unit():
    """exp(u b) with limits exp(u (b +- 1.96 se)): the u-th power of that of one unit; p stays."""
    outcome, x = sample(1, 300)
    plain, scaled = (cause_specific(outcome, x, NAMES, per=per) for per in (None, {NAMES[0]: 0.1}))
    for one, other in zip(plain, scaled, strict=True):
        power = 0.1 if one.name == NAMES[0] else 1.0
        assert (other.per, other.p, other.coefficient) == (power, one.p, one.coefficient)
        limits = [(r.hazard_ratio.value, r.hazard_ratio.low, r.hazard_ratio.high) for r in (one, other)]
        np.testing.assert_allclose(np.power(limits[0], power), limits[1], rtol=1e-12)


def test_too_few_events_of_a_cause_are_refused():
    outcome, x = sample(1, 300)
    few = np.where(np.cumsum(outcome.cause == 2) <= 2, outcome.cause, outcome.cause % 2)
    with pytest.raises(InputError, match="2 competing events are too few for 3 covariates"):
        cause_specific(Outcome(outcome.time, few), x, NAMES)
    none = np.where(outcome.cause == 1, 0, outcome.cause)
    with pytest.raises(InputError, match="0 events are too few for 3 covariates"):
        cause_specific(Outcome(outcome.time, none), x, NAMES)


def test_a_hazard_ratio_beyond_all_numbers_is_refused():
    """exp(709.8) is the largest float64."""
    outcome, x = sample(1, 300)
    with pytest.raises(InputError, match=r"hazard ratio of 1e.06 units has no finite interval"):
        cause_specific(outcome, x, NAMES, per={NAMES[0]: 1e6})


def test_collinear_covariates_are_refused():
    outcome, x = sample(1, 300)
    with pytest.raises(InputError, match="collinear"):
        cause_specific(outcome, x[:, [0, 0]], NAMES[:2])
