"""Harrell's C and the area at a day, against R, lifelines and scikit-survival."""

from lifelines import WeibullAFTFitter
from lifelines.datasets import load_gbsg2, load_lung
from lifelines.utils import concordance_index
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate.roc import auc
from covid19net.prognosis.concordance import (
    compare_concordance,
    concordance,
    standard_error,
    time_dependent_auc,
    uncensored,
)
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import maximise, risk_sets

# R 4.5.3, survival 3.8-12: concordance(coxph(Surv(time, status) ~ age, lung)) and, from
# concordance(survreg(Surv(time, status) ~ age, lung), survreg(Surv(time, status) ~ age + sex, lung)), the two
# values and their covariance matrix; as quoted with the calls in the tests of a Python port of that package
# (test_concordance against "R survival 3.8-12").
R_AGE, R_AGE_VARIANCE = 0.550239832117518, 0.000632125775421889
R_BOTH, R_BOTH_VARIANCE, R_COVARIANCE = 0.602902967922454, 0.000649711043764914, 0.000414229676868845


@pytest.fixture
def lung():
    return load_lung()


def outcome_of(data, time="time", event="status"):
    return Outcome(data[time].to_numpy(), data[event].to_numpy().astype(int))


def test_c_and_its_jackknife_variance_are_those_of_r(lung):
    outcome, age = outcome_of(lung), lung["age"].to_numpy()
    assert concordance(outcome, age).value == pytest.approx(R_AGE, rel=1e-12)
    assert standard_error(outcome, age) ** 2 == pytest.approx(R_AGE_VARIANCE, rel=1e-10)


def test_cox_model_of_lung_as_r_prints_it(lung):
    """summary(coxph(Surv(time, status) ~ age + sex + ph.ecog, lung)): Concordance = 0.637 (se = 0.025)."""
    data = lung.dropna(subset=["ph.ecog"])
    outcome, x = outcome_of(data), data[["age", "sex", "ph.ecog"]].to_numpy()
    predictor = x @ maximise(risk_sets(outcome, x)).coefficients
    assert round(concordance(outcome, predictor).value, 3) == 0.637
    assert round(standard_error(outcome, predictor), 3) == 0.025


def test_the_paired_comparison_has_the_covariance_of_r(lung):
    model = (
        WeibullAFTFitter().fit(lung[["time", "status", "age", "sex"]], "time", "status").params_["lambda_"]
    )
    both = -(
        lung[["age", "sex"]].to_numpy() @ model[["age", "sex"]].to_numpy()
    )  # of a time: minus is a hazard
    found = compare_concordance(outcome_of(lung), both, lung["age"].to_numpy())
    assert found.first.value == pytest.approx(R_BOTH, rel=1e-10)
    assert found.difference.value == pytest.approx(R_BOTH - R_AGE, rel=1e-9)
    error = np.sqrt(R_AGE_VARIANCE + R_BOTH_VARIANCE - 2 * R_COVARIANCE)
    assert found.z == pytest.approx((R_BOTH - R_AGE) / error, rel=1e-8)
    assert found.difference.low == pytest.approx(R_BOTH - R_AGE - 1.959964 * error, rel=1e-5)


def test_lifelines_agrees_with_many_ties():
    rng = np.random.default_rng(0)
    outcome = Outcome(rng.integers(1, 12, 300), rng.integers(0, 3, 300))
    predictor = rng.integers(0, 6, 300)
    theirs = concordance_index(outcome.time, -predictor, outcome.event)
    assert concordance(outcome, predictor).value == pytest.approx(theirs, rel=1e-12)


def test_without_time_order_c_is_the_area_under_the_roc_curve():
    """All events on day 1, all others followed to day 2: the variance is DeLong's with n instead of n - 1."""
    rng = np.random.default_rng(2)
    label = rng.random(80) < 0.4
    score = rng.normal(size=80) + label
    outcome = Outcome(np.where(label, 1, 2), label.astype(int))
    assert concordance(outcome, score).value == pytest.approx(auc(label, score).value)
    (timed,) = time_dependent_auc(outcome, outcome, score, [1])
    same = concordance(outcome, score)
    assert [timed.auc.value, timed.auc.low, timed.auc.high] == pytest.approx(
        [same.value, same.low, same.high]
    )
    plain = auc(label, score, interval="wald")
    half = (plain.high - plain.low) / 2 / 1.959964
    assert standard_error(outcome, score) == pytest.approx(half, rel=0.02)


def test_direction_and_perfect_order():
    outcome = Outcome(np.arange(1, 11.0), np.ones(10, int))
    perfect = concordance(outcome, -outcome.time)
    assert perfect.value == perfect.high == 1
    assert perfect.low == pytest.approx(
        0.025 ** (1 / 5)
    )  # Clopper and Pearson for five of five disjoint pairs
    assert concordance(outcome, outcome.time).value == 0
    constant = concordance(outcome, np.zeros(10))
    assert constant.value == 0.5
    assert constant.low < 0.2 < 0.8 < constant.high


def test_identical_predictors_do_not_differ(lung):
    found = compare_concordance(outcome_of(lung), lung["age"].to_numpy(), 2 * lung["age"].to_numpy() + 1)
    assert (found.difference.value, found.p) == (0, 1)


def test_the_jackknife_interval_keeps_its_promise():
    """True C of an exponential hazard exp(b x), x of two groups: worked out as 1/2 + P(differ) (p - 1/2)."""
    rng, inside = np.random.default_rng(7), 0
    truth = 0.5 + 0.5 * (np.e / (1 + np.e) - 0.5)  # groups of half, hazard ratio e: the higher is first e : 1
    for _ in range(300):
        x = rng.random(80) < 0.5
        outcome = Outcome(rng.exponential(np.exp(-1.0 * x)), np.ones(80, int))
        found = concordance(outcome, x)
        inside += found.low <= truth <= found.high
    assert 0.91 < inside / 300 < 0.98


# scikit-survival 0.28.0, with x, y = load_gbsg2(), tr = y[:400], rest = y[400:] and
# te = rest[rest["time"] < max(tr["time"])], x likewise:
# cumulative_dynamic_auc(tr, te, x[name], [365, 730, 1095, 1460])[0]
SKSURV = {
    "pnodes": [0.681589387402158, 0.6742116215968093, 0.6769749928891708, 0.6588064873765196],
    "age": [0.4009328412239995, 0.4317387516157932, 0.4866285238956318, 0.4850028247931567],
}


def test_area_at_a_day_is_that_of_scikit_survival():
    data = load_gbsg2()
    training, rest = outcome_of(data[:400], event="cens"), data[400:]
    rest = rest[rest["time"] < training.time.max()]
    for name, expected in SKSURV.items():
        predictor = rest[name].to_numpy()
        found = time_dependent_auc(
            training, outcome_of(rest, event="cens"), predictor, [365, 730, 1095, 1460]
        )
        assert [timed.auc.value for timed in found] == pytest.approx(expected, rel=1e-12)
        assert all(timed.auc.low < timed.auc.value < timed.auc.high for timed in found)


def test_censoring_by_hand():
    """Events on days 1, 2 and 4, censored on 2 and 3: one of 3 leaves on day 2, one of 2 on day 3."""
    training = Outcome([1, 2, 2, 3, 4], np.array([1, 0, 1, 0, 1]))
    assert uncensored(training, np.array([1, 2, 3, 4])) == pytest.approx([1, 2 / 3, 1 / 3, 1 / 3])


def test_samples_without_an_answer_say_why():
    censored = Outcome([1, 2, 3], np.zeros(3, int))
    with pytest.raises(InputError, match="no event among 3"):
        concordance(censored, np.arange(3))
    together = Outcome([2, 2, 1], np.array([1, 1, 0]))
    with pytest.raises(InputError, match="no one of 3 was followed beyond one of 2 events"):
        concordance(together, np.arange(3))
    outcome = Outcome([1, 2, 3], np.array([1, 1, 0]))
    with pytest.raises(InputError, match="got \\(2,\\)"):
        concordance(outcome, np.arange(2))
    with pytest.raises(InputError, match="infinite"):
        concordance(outcome, np.array([1, 2, np.nan]))
    with pytest.raises(InputError, match="day 9 has 2 patients with the event and 0 followed"):
        time_dependent_auc(outcome, outcome, np.arange(3), [9])
    with pytest.raises(InputError, match="day 2: no training patient"):
        time_dependent_auc(Outcome([1], np.array([0])), outcome, np.arange(3), [2])
    with pytest.raises(InputError, match="no day"):
        time_dependent_auc(outcome, outcome, np.arange(3), [])
