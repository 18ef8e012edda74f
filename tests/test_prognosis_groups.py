"""Kaplan-Meier curves of risk groups and the log-rank test, against R, lifelines and hand calculations.

`lung` and `leukemia` are the public data sets that R's package survival and lifelines ship. What R prints for
lung stands in the package's manual and in Therneau's and many a tutorial.
"""

from lifelines import KaplanMeierFitter
from lifelines.datasets import load_leukemia, load_lung
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import median_survival_times
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import Estimate
from covid19net.prognosis.groups import (
    by_group,
    difference,
    logrank,
    mean_wait,
    median_cut,
    median_wait,
    parts,
    split,
    waiting_curve,
)
from covid19net.prognosis.outcome import Outcome
from tests.prognostic_models import sample


def lung():
    frame = load_lung()
    return Outcome(frame.time.to_numpy(), frame.status.to_numpy()), np.where(frame.sex == 1, "male", "female")


def leukemia():
    """Weeks of remission of 42 children (Freireich et al., Blood 1963;21:699-716)."""
    frame = load_leukemia()
    return Outcome(frame.t.to_numpy(), frame.status.to_numpy()), np.where(frame.Rx == 0, "6-MP", "placebo")


def without_censoring(*days: float) -> Outcome:
    return Outcome(np.array(days, float), np.ones(len(days)))


def test_the_logrank_test_of_lung_is_the_one_r_prints():
    """survdiff(Surv(time, status) ~ sex, lung)."""
    outcome, sex = lung()
    test = logrank(outcome, sex)
    assert {name: part.size for name, part in parts(outcome, sex)} == {"male": 138, "female": 90}
    assert test.observed == {"male": 112, "female": 53}
    assert test.expected == pytest.approx({"male": 91.6, "female": 73.4}, abs=0.05)
    assert test.statistic == pytest.approx(10.3, abs=0.05)
    assert test.df == 1
    assert test.p == pytest.approx(0.001, abs=0.0005)


def test_the_logrank_test_of_four_groups_is_the_one_r_prints():
    """survdiff(Surv(time, status) ~ ph.ecog, lung): one patient without a grade is left out."""
    grade = load_lung()["ph.ecog"].to_numpy()
    known = np.isfinite(grade)
    test = logrank(lung()[0][known], grade[known].astype(int).astype(str))
    assert test.observed == {"0": 37, "1": 82, "2": 44, "3": 1}
    assert test.expected == pytest.approx({"0": 54.153, "1": 83.528, "2": 26.147, "3": 0.172}, abs=5e-4)
    assert (test.statistic, test.df) == (pytest.approx(22, abs=0.5), 3)
    assert test.p == pytest.approx(7e-5, abs=0.5e-5)


def test_the_table_under_the_curve_of_lung_is_the_one_r_prints():
    """summary(survfit(Surv(time, status) ~ 1, lung), times = 0:5 * 100)."""
    curve = waiting_curve(lung()[0], "all")
    days = np.arange(0, 501, 100)
    assert curve.at_risk(days).tolist() == [228, 196, 144, 92, 57, 41]
    step = np.searchsorted(curve.time, days, side="right") - 1
    np.testing.assert_allclose(curve.waiting[step], [1, 0.8640, 0.6803, 0.5306, 0.3768, 0.2933], atol=6e-5)
    spread = np.log(np.log(curve.low[step[1:]]) / np.log(curve.waiting[step[1:]])) / 1.959964
    error = spread * np.abs(np.log(curve.waiting[step[1:]])) * curve.waiting[step[1:]]
    np.testing.assert_allclose(error, [0.0227, 0.0311, 0.0346, 0.0358, 0.0351], atol=6e-5)


def test_ten_patients_as_r_prints_them():
    """summary(survfit(Surv(time, event) ~ 1)): who is censored on a day of events is at risk on it."""
    time = np.array([3, 5, 7, 2, 18, 16, 2, 9, 16, 5])
    curve = waiting_curve(Outcome(time, np.array([0, 1, 1, 1, 0, 1, 1, 1, 1, 0])), "all")
    assert curve.time.tolist() == [0, 2, 5, 7, 9, 16]
    assert curve.at_risk(curve.time[1:]).tolist() == [10, 7, 5, 4, 3]
    np.testing.assert_allclose(curve.waiting[1:], [0.800, 0.686, 0.549, 0.411, 0.137], atol=5e-4)


def test_the_medians_of_lung_are_those_r_prints():
    """survfit(Surv(time, status) ~ sex, lung, conf.type = "log-log"); the limits are those of lifelines."""
    outcome, sex = lung()
    for curve, median, total in zip(by_group(outcome, sex), (426, 270), (90, 138), strict=True):
        assert (curve.median, curve.patients) == (median, total)
        chosen = sex == curve.name
        theirs = KaplanMeierFitter().fit(outcome.time[chosen], outcome.event[chosen])
        limits = median_survival_times(theirs.confidence_interval_).to_numpy().ravel()
        assert sorted([curve.median_low, curve.median_high]) == sorted(limits.tolist())


def test_the_mean_stay_of_lung_is_the_one_r_prints():
    """print(survfit(Surv(time, status) ~ sex, lung), rmean = 1022) prints for men 326.0841 and 22.91156."""
    found = mean_wait(by_group(*lung())[1], 1022)
    assert found.value == pytest.approx(326.0841, abs=5e-5)
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(22.91156, abs=5e-6)


def test_a_difference_worked_out_by_hand():
    """Zou and Donner: each limit takes the near side of one interval and the far side of the other."""
    apart = difference(Estimate(426, 366, 506), Estimate(270, 210, 350))  # 60 and 80 from their limits
    assert (apart.value, apart.low, apart.high) == (156, 56, 256)  # 100 = sqrt(60^2 + 80^2)
    assert difference(Estimate(5, 5, 5), Estimate(7, 6, 9)) == Estimate(-2, -4, -1)
    female, male = (median_wait(curve) for curve in by_group(*lung(), level=0.9))
    assert (female.value, male.value, female.level) == (426, 270, 0.9)
    assert difference(female, male).low > 0


def test_6_mp_as_the_textbooks_print_it():
    """Table 2.1 of Kleinbaum and Klein, Survival Analysis, or 4.1 of Klein and Moeschberger."""
    outcome, arm = leukemia()
    curve, placebo = by_group(outcome, arm)
    assert curve.time.tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    np.testing.assert_allclose(
        curve.waiting, [1, 0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], atol=5e-5
    )
    assert curve.at_risk(curve.time[1:]).tolist() == [21, 17, 15, 12, 11, 7, 6]
    assert (curve.patients, curve.events) == (21, 9)
    assert curve.censored.tolist() == [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    assert (curve.median, placebo.median) == (23, 8)
    test = logrank(outcome, arm)
    assert test.statistic == pytest.approx(16.79, abs=0.005)
    assert test.observed == {"6-MP": 9, "placebo": 21}
    assert test.expected == pytest.approx({"6-MP": 19.25, "placebo": 10.75}, abs=0.005)


def test_the_standard_error_of_6_mp_is_the_published_one():
    """Greenwood's standard errors of Klein and Moeschberger, table 4.1: 0.0764 at 6, 0.1346 at 23 weeks."""
    curve = by_group(*leukemia())[0]
    logs = np.log(-np.log(curve.waiting[1:])) - np.log(-np.log(curve.high[1:]))
    error = logs / 1.959964 * -np.log(curve.waiting[1:]) * curve.waiting[1:]
    np.testing.assert_allclose(error[[0, -1]], [0.0764, 0.1346], atol=5e-5)


def test_the_number_at_risk_is_counted_just_before_the_day():
    """Events on days 2 and 5, one censored on day 2: all four are at risk on day 2, two on day 5, as R's
    summary(survfit(Surv(c(2, 2, 5, 7), c(1, 0, 1, 0)) ~ 1), times = c(0, 2, 3, 5, 7, 8)) counts.
    """
    curve = waiting_curve(Outcome(np.array([2.0, 2, 5, 7]), np.array([1, 0, 1, 0])), "all")
    assert curve.at_risk(np.array([0, 2, 3, 5, 7, 8])).tolist() == [4, 4, 2, 2, 1, 0]
    assert curve.waiting.tolist() == [1, 0.75, 0.375]  # who is censored on a day is at risk on it


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_a_curve_with_ties_is_the_one_of_lifelines(level):
    outcome, _ = sample(2, 120)
    curve = waiting_curve(outcome, "all", level=level)
    theirs = KaplanMeierFitter(alpha=1 - level).fit(outcome.time, outcome.event)
    assert curve.time.size < curve.events  # there are ties
    np.testing.assert_allclose(curve.waiting, theirs.predict(curve.time), rtol=1e-12)
    low, high = theirs.confidence_interval_.loc[curve.time[1:]].to_numpy().T
    np.testing.assert_allclose(curve.low[1:], low, rtol=1e-9)
    np.testing.assert_allclose(curve.high[1:], high, rtol=1e-9)


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_the_logrank_test_with_ties_is_the_one_of_lifelines(groups):
    outcome, x = sample(3, 150)
    group = np.array([f"g{i}" for i in np.argsort(np.argsort(x[:, 0])) * groups // 150])
    test = logrank(outcome, group)
    theirs = multivariate_logrank_test(outcome.time, group, outcome.event)
    assert test.statistic == pytest.approx(theirs.test_statistic, rel=1e-9)
    assert test.p == pytest.approx(theirs.p_value, rel=1e-6)
    assert test.df == groups - 1
    assert sum(test.expected.values()) == pytest.approx(sum(test.observed.values()))


def test_competing_events_count_as_censored():
    outcome, x = sample(3, 150)
    group = split(x[:, 0], 0.0)
    as_censored = Outcome(outcome.time, np.where(outcome.cause == 2, 0, outcome.cause))
    assert (outcome.cause == 2).any()
    assert logrank(outcome, group) == logrank(as_censored, group)


def test_a_group_that_left_before_the_first_event_takes_no_degree_of_freedom():
    """R's survdiff leaves out groups of which no event is expected."""
    outcome, sex = lung()
    with_early = Outcome(np.append(outcome.time, [1.0, 2.0]), np.append(outcome.cause, [0, 0]))
    test, alone = logrank(with_early, np.append(sex, ["early", "early"])), logrank(outcome, sex)
    assert (test.df, test.observed["early"], test.expected["early"]) == (1, 0, 0)
    assert test.statistic == pytest.approx(alone.statistic, rel=1e-9)
    assert test.p == pytest.approx(alone.p, rel=1e-9)


@pytest.mark.parametrize(
    ("outcome", "median"),
    [
        (without_censoring(1, 2, 3, 4, 5), 3),
        (without_censoring(1, 2, 3, 4), 2.5),  # exactly one half from 2 to 3: the middle, as of four numbers
        (without_censoring(1, 2, 2, 2, 9), 2),
        (Outcome(np.array([1.0, 2, 3, 4]), np.array([1, 0, 0, 0])), None),
        (Outcome(np.array([1.0, 2, 3, 4]), np.array([1, 1, 0, 0])), 2),  # one half to the end
        (Outcome(np.array([3.0, 4]), np.array([0, 0])), None),
    ],
)
def test_the_median_is_where_the_curve_crosses_one_half(outcome, median):
    assert waiting_curve(outcome, "all").median == median


def test_rounding_does_not_move_the_median():
    """Ten times 1 - 1/n with ever smaller n ends near, but not at, one half."""
    assert waiting_curve(without_censoring(*range(1, 21)), "all").median == 10.5


def test_the_event_of_the_last_patient_makes_nobody_certain():
    """R gives no limits there, and no upper limit of the median of so few."""
    curve = waiting_curve(without_censoring(5), "all")
    assert (curve.median, curve.median_high) == (5, None)
    assert (curve.low[-1], curve.high[-1]) == (0, 1)
    curve = waiting_curve(without_censoring(1, 2, 3), "all")
    assert (curve.waiting[-1], curve.low[-1]) == (0, 0)
    assert curve.high[-1] == curve.high[-2] > 0.5
    assert curve.median_high is None


def test_a_group_without_events_has_a_flat_curve():
    curve = waiting_curve(Outcome(np.array([3.0, 4]), np.array([0, 2])), "all")
    assert (curve.time.tolist(), curve.waiting.tolist(), curve.events) == ([0], [1], 0)
    assert (curve.median, curve.median_low, curve.median_high) == (None, None, None)
    assert median_wait(curve) is None
    assert mean_wait(curve, 4).value == 4


def test_the_median_cut_of_the_paper():
    """Figure 4 of Wang et al. 2020: 301 patients of the training set, 150 at low and 151 at high risk."""
    risk = np.random.default_rng(1).permutation(np.linspace(-2, 3, 301))
    group = split(risk, median_cut(risk))
    assert ((group == "low").sum(), (group == "high").sum()) == (150, 151)
    assert risk[group == "low"].max() < risk[group == "high"].min()


def test_who_is_at_the_cut_is_at_high_risk():
    assert split(np.array([0.9, 1.0, 1.1]), 1.0).tolist() == ["low", "high", "high"]


def test_low_stands_before_high_and_other_names_in_order():
    outcome = without_censoring(1, 2, 3, 4)
    names = [curve.name for curve in by_group(outcome, np.array(["high", "b", "low", "a"]))]
    assert names == ["low", "high", "a", "b"]


def test_without_censoring_the_mean_stay_is_the_mean():
    """And its standard error sd / sqrt(n), n being the divisor of the sd as well: ties or not."""
    days = np.array([2.0, 3, 3, 5, 8, 8, 8, 13])
    found = mean_wait(waiting_curve(without_censoring(*days), "all"), 13)
    assert found.value == pytest.approx(days.mean())
    half = 1.959964 * days.std() / np.sqrt(8)
    assert found.low == pytest.approx(days.mean() - half)
    assert found.high == pytest.approx(days.mean() + half)
    assert mean_wait(waiting_curve(without_censoring(*days), "all"), 40) == found  # nobody is left to wait
    cut = np.minimum(days, 6)
    assert mean_wait(waiting_curve(without_censoring(*days), "all"), 6).value == pytest.approx(cut.mean())


def test_the_mean_stay_worked_out_by_hand():
    """6-MP up to week 10: 6 + 0.857143 + 3 x 0.806723; Klein and Moeschberger's sum has two events, of 3 in
    21 and of 1 in 17, with the areas 3.277311 and 2.420168 beyond them.
    """
    found = mean_wait(by_group(*leukemia())[0], 10)
    assert found.value == pytest.approx(6 + 0.857143 + 2.420168, abs=1e-5)
    variance = 3.277311**2 * 3 / (21 * 18) + 2.420168**2 / (17 * 16)
    assert found.value - found.low == pytest.approx(1.959964 * np.sqrt(variance), abs=1e-5)


def refusals():
    two = without_censoring(1, 2)
    apart = Outcome(np.array([1.0, 5, 6]), np.array([0, 1, 1]))
    return [
        (lambda: logrank(two, np.array(["a", "a"])), "two groups are needed, found 2 patients in 'a' alone"),
        (lambda: logrank(two, np.array(["a"])), "one group a patient is needed, got 1 for 2"),
        (lambda: by_group(two, np.array(["a"])), "one group a patient is needed, got 1 for 2"),
        (lambda: logrank(Outcome(two.time, np.zeros(2)), np.array(["a", "b"])), "no event among 2 patients"),
        (lambda: logrank(apart, np.array(["a", "b", "b"])), "never followed at the same time"),
        (lambda: median_cut(np.array([])), "no median of 0 risks"),
        (lambda: median_cut(np.array([1, np.nan])), "no median of 2 risks"),
        (lambda: split(np.array([1, np.nan]), 0.0), "1 of 2 risks are not finite"),
        (
            lambda: mean_wait(waiting_curve(Outcome(two.time, np.array([1, 0])), "all"), 3),
            "all: follow-up ends on day 2, before the horizon 3",
        ),
        (lambda: mean_wait(waiting_curve(two, "all"), 0), "horizon 0"),
        (lambda: difference(Estimate(2, 1, 3), Estimate(2, 1, 3, 0.9)), "one level are needed, got 0.95 and"),
    ]


@pytest.mark.parametrize(("call", "message"), refusals())
def test_what_cannot_be_computed_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
