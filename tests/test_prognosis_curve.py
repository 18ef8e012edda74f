"""The baseline hazard and one patient's curve, against R, lifelines and truth."""

from lifelines import CoxPHFitter, KaplanMeierFitter, NelsonAalenFitter
import numpy as np
import pandas as pd
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.curve import (
    Baseline,
    Cause,
    baseline,
    cumulative_incidence,
    hazard_at,
    patient_curve,
)
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import maximise, risk_sets

# Data set 1 of the appendix of Therneau and Grambsch, Modeling Survival Data (2000), with what R's package
# survival prints (its tests/book2.Rout.save): ties after Efron, two of them on day 6.
TEST1 = Outcome(np.array([9.0, 1, 1, 6, 6, 8]), np.array([1, 1, 0, 1, 1, 0]))
X1 = np.array([0.0, 1, 1, 1, 0, 0])[:, None]
FIT1 = maximise(risk_sets(TEST1, X1))


def curve1(x, **options):
    found = baseline(TEST1, X1, FIT1.coefficients)
    return patient_curve(found, FIT1.coefficients, FIT1.covariance, np.array([x]), **options)


def log_log_error(curve, steps=3):
    """Standard error of log H, read back from the lower limit."""
    estimate, low = (np.log(-np.log1p(-p[1 : steps + 1])) for p in (curve.probability, curve.low))
    return (estimate - low) / 1.959964


def test_the_curve_at_the_mean_is_the_one_r_prints():
    """summary(survfit(fit)): survival 0.8857, 0.4294, 0.0425 with standard errors 0.117, 0.237, 0.116."""
    curve = curve1(0.5)
    assert curve.day.tolist() == [0, 1, 6, 9]
    survival = 1 - curve.probability[1:]
    np.testing.assert_allclose(survival, [0.8857, 0.4294, 0.0425], atol=5e-5)
    error = log_log_error(curve) * -np.log(survival) * survival
    np.testing.assert_allclose(error, [0.117, 0.237, 0.116], atol=5e-4)


def test_the_curve_far_from_the_mean_is_the_one_r_prints():
    """summary(survfit(fit, list(x=2)))."""
    curve = curve1(2.0)
    survival = 1 - curve.probability[1:3]
    np.testing.assert_allclose(survival, [2.23e-01, 2.87e-05], rtol=2e-3)
    error = log_log_error(curve, 2) * -np.log(survival) * survival
    np.testing.assert_allclose(error, [5.97e-01, 5.69e-04], rtol=2e-3)


@pytest.mark.parametrize(
    ("x", "day", "expected"),  # patients 1, 4 and 7 of predict(fit, type='expected')
    [(0, 9, 1.3655434), (1, 1, 0.2808293), (0, 8, 0.3655434)],
)
def test_cumulative_hazards_of_patients_are_those_r_prints(x, day, expected):
    curve = curve1(float(x), days=np.array([float(day)]))
    assert -np.log1p(-curve.probability[0]) == pytest.approx(expected, abs=1e-7)


def test_the_interval_is_the_one_worked_out_by_hand_in_the_appendix():
    """R checks survfit(fit, list(x=0)) against these formulas: hazards 1 / sum of weights, the weights being
    r = exp(beta) where x is 1, and half of both tied ones at the second event of day 6.
    """
    r = float(np.exp(FIT1.coefficients[0]))
    hazard = np.array([1 / (3 * r + 3), 1 / (r + 3), 2 / (r + 5), 1])
    mean = np.array([r / (r + 1), r / (r + 3), r / (r + 5), 0])
    information = (mean - mean**2).sum()
    variance = np.cumsum(hazard**2) + np.cumsum(mean * hazard) ** 2 / information
    error = (np.sqrt(variance) / np.cumsum(hazard))[[0, 2, 3]]
    np.testing.assert_allclose(log_log_error(curve1(0.0)), error, rtol=1e-6)


def test_variances_worked_out_by_hand():
    """The same without an effect: 6 at risk, then 4 and 3 for the two of day 6, then 1."""
    found = baseline(TEST1, X1, np.zeros(1))
    np.testing.assert_allclose(found.hazard, np.cumsum([1 / 6, 1 / 4 + 1 / 3, 1]))
    np.testing.assert_allclose(found.variance, np.cumsum([1 / 36, 1 / 16 + 1 / 9, 1]))
    # mean covariates at risk: 3/6; then 1/4 and (1/2)/3; then 0; less the centre 1/2
    drift = np.cumsum([0, (1 / 4 - 1 / 2) / 4 + (1 / 6 - 1 / 2) / 3, -1 / 2])
    np.testing.assert_allclose(found.drift[:, 0], drift, atol=1e-15)
    assert found.horizon == 9


def sample(rng, size, *, tied=False, censored=40.0):
    x = np.column_stack([rng.normal(50, 12, size), rng.integers(0, 2, size)])
    beta = np.array([-0.03, -0.5])
    time = 15 * (rng.exponential(size=size) / np.exp((x - [50, 0.5]) @ beta)) ** (1 / 2)
    last = rng.uniform(10, censored, size)
    seen = time <= last
    days = np.minimum(time, last)
    return Outcome(np.ceil(days) if tied else days, seen.astype(int)), x, beta


def test_without_ties_the_curve_is_the_one_of_lifelines():
    outcome, x, _ = sample(np.random.default_rng(3), 120)
    frame = pd.DataFrame({"t": outcome.time, "e": outcome.event, "a": x[:, 0], "b": x[:, 1]})
    theirs = CoxPHFitter().fit(frame, "t", "e")
    fit = maximise(risk_sets(outcome, x))
    patient = np.array([71.0, 1.0])
    curve = patient_curve(baseline(outcome, x, fit.coefficients), fit.coefficients, fit.covariance, patient)
    wanted = theirs.predict_survival_function(
        pd.DataFrame({"a": [71.0], "b": [1.0]}), times=curve.day[1:]
    ).to_numpy()[:, 0]
    np.testing.assert_allclose(1 - curve.probability[1:], wanted, atol=1e-5)


def test_without_covariates_it_is_the_estimate_of_nelson_aalen_and_fleming_harrington():
    outcome, x, _ = sample(np.random.default_rng(5), 150, tied=True)
    theirs = NelsonAalenFitter(nelson_aalen_smoothing=True).fit(outcome.time, outcome.event)
    days = np.arange(1.0, 35)
    found = baseline(outcome, x, np.zeros(2))
    np.testing.assert_allclose(
        hazard_at(found, days), theirs.cumulative_hazard_at_times(days).to_numpy(), rtol=1e-10
    )
    kaplan_meier = KaplanMeierFitter().fit(outcome.time, outcome.event)
    survival = kaplan_meier.survival_function_at_times(days[:20]).to_numpy()
    np.testing.assert_allclose(np.exp(-hazard_at(found, days[:20])), survival, atol=0.01)


def test_the_interval_covers_the_truth():
    """400 samples of 120 patients: a 95 % interval misses the true probability in 5 % of them."""
    rng, patient, days, hits = np.random.default_rng(11), np.array([65.0, 1.0]), np.array([8.0, 14.0]), 0
    for _ in range(400):
        outcome, x, beta = sample(rng, 120)
        fit = maximise(risk_sets(outcome, x))
        curve = patient_curve(
            baseline(outcome, x, fit.coefficients), fit.coefficients, fit.covariance, patient, days=days
        )
        truth = 1 - np.exp(-((days / 15) ** 2) * np.exp((patient - [50, 0.5]) @ beta))
        hits += (curve.low <= truth) & (truth <= curve.high)
    assert (hits >= 366).all()  # 0.95 x 400 - 3.2 standard errors
    assert (hits <= 394).all()


def test_median_and_restricted_mean_worked_out_by_hand():
    """No effect: F is 0 to day 1, then 1 - exp(-1/6), and 1 - exp(-3/4) from day 6 to day 9."""
    found = baseline(TEST1, X1, np.zeros(1))
    curve = patient_curve(found, np.zeros(1), np.zeros((1, 1)), np.array([0.5]), days=np.array([3.0]))
    assert curve.median == 6
    assert curve.mean == pytest.approx(1 + 5 * np.exp(-1 / 6) + 3 * np.exp(-3 / 4))
    assert curve.probability[0] == pytest.approx(1 - np.exp(-1 / 6))


def test_no_median_is_claimed_beyond_follow_up():
    outcome = Outcome(np.array([5.0, 20, 20, 20]), np.array([1, 0, 0, 0]))
    curve = patient_curve(
        baseline(outcome, np.zeros((4, 1)), np.zeros(1)), np.zeros(1), np.zeros((1, 1)), np.zeros(1)
    )
    assert curve.median is None
    assert curve.day.tolist() == [0, 5, 20]
    assert curve.horizon == 20
    with pytest.raises(InputError, match="0 to 20"):
        patient_curve(
            baseline(outcome, np.zeros((4, 1)), np.zeros(1)), np.zeros(1), np.eye(1), np.zeros(1), days=[21.0]
        )


def test_an_absurd_patient_gives_no_overflow():
    curve = curve1(1e6)
    assert curve.probability[-1] == 1
    assert (curve.low <= curve.probability).all()
    assert (curve.probability <= curve.high).all()
    assert curve1(-1e6).probability[-1] < 1e-200


def test_with_a_competing_event_the_incidence_is_that_of_aalen_and_johansen():
    """Nobody differs: 2 of 5 leave on day 1 (one each way), 1 of 3 on day 2 the first way, 1 of 2 on day 3
    the other. Aalen-Johansen by hand: 1/5, then 1/5 + 3/5 x 1/3 = 2/5. Here S = exp(-H), so only close; that
    everything adds up to 1 is exact.
    """
    time, cause = np.array([1.0, 1, 2, 3, 4]), np.array([1, 2, 1, 2, 0])
    first = Outcome(time, cause)
    other = Outcome(time, np.array([0, 2, 1, 0])[cause])
    x, none = np.zeros((5, 1)), np.zeros(1)
    causes = [Cause(baseline(o, x, none), none) for o in (first, other)]
    days = np.array([0.0, 1, 2, 3, 4])
    mine = cumulative_incidence(days, none, causes[0], causes[1])
    theirs = cumulative_incidence(days, none, causes[1], causes[0])
    neither = np.exp(-hazard_at(causes[0].baseline, days) - hazard_at(causes[1].baseline, days))
    np.testing.assert_allclose(mine + theirs + neither, 1)
    day_1 = (1 - np.exp(-2 / 5)) / 2  # both hazards are 1/5
    day_2 = np.exp(-2 / 5) * (1 - np.exp(-1 / 3))
    np.testing.assert_allclose(mine, [0, day_1, day_1 + day_2, day_1 + day_2, day_1 + day_2])
    np.testing.assert_allclose(mine[2], 2 / 5, atol=0.05)


def test_in_a_large_sample_the_incidence_with_death_is_the_observed_one():
    rng = np.random.default_rng(2)
    discharge, death = rng.exponential(12, 4000), rng.exponential(48, 4000)
    time, cause = np.minimum(discharge, death), np.where(discharge < death, 1, 2)
    x, none = np.zeros((4000, 1)), np.zeros(1)
    causes = [Cause(baseline(Outcome(time, c), x, none), none) for c in (cause, 3 - cause)]
    days = np.array([5.0, 10, 20])
    observed = [((time <= day) & (cause == 1)).mean() for day in days]
    np.testing.assert_allclose(cumulative_incidence(days, none, *causes), observed, atol=2e-4)


def test_what_cannot_be_a_baseline_is_refused():
    good = baseline(TEST1, X1, np.zeros(1))
    with pytest.raises(InputError, match="hazard of a baseline must rise"):
        Baseline(good.day, good.hazard[::-1], good.variance, good.drift, good.centre, 9.0)
    with pytest.raises(InputError, match="horizon 8"):
        Baseline(good.day, good.hazard, good.variance, good.drift, good.centre, 8.0)
    with pytest.raises(InputError, match="no event"):
        baseline(Outcome(np.ones(3), np.zeros(3)), np.zeros((3, 1)), np.zeros(1))
    with pytest.raises(InputError, match="other units"):
        baseline(TEST1, X1 * 1e4, np.ones(1))
