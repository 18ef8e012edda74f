"""The partial likelihood against hand calculation, R and lifelines."""

from lifelines import CoxPHFitter
from lifelines.datasets import load_lung, load_rossi
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import likelihood, maximise, risk_sets, subset

ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


@pytest.fixture
def rossi():
    data = load_rossi()
    return Outcome(data["week"].to_numpy(), data["arrest"].to_numpy()), data[ROSSI].to_numpy()


def test_two_tied_events_by_hand():
    """Events of patients 1 and 2 on day 1, patient 3 is followed longer; x is 0, 1, 2.

    With b the coefficient of the raw x, Efron's log likelihood is
    b - log(1 + e^b + e^2b) - log(1 + e^b + e^2b - (1 + e^b) / 2); worked out at b = 0 and b = log 2.
    """
    sets = risk_sets(Outcome([1, 1, 2], np.array([1, 1, 0])), np.array([[0.0], [1], [2]]))
    assert sets.null == pytest.approx(-np.log(3) - np.log(2))
    value, gradient, information = likelihood(sets, np.log([2.0]) * sets.scale)
    assert value == pytest.approx(np.log(2) - np.log(7) - np.log(5.5))
    # derivatives by b: 1 - 10/7 - 9/5.5 and, as variances, (18/7 - (10/7)^2) + (17/5.5 - (9/5.5)^2)
    assert gradient[0] * sets.scale[0] == pytest.approx(1 - 10 / 7 - 9 / 5.5)
    variance = 18 / 7 - (10 / 7) ** 2 + 17 / 5.5 - (9 / 5.5) ** 2
    assert information[0, 0] * sets.scale[0] ** 2 == pytest.approx(variance)


def test_who_left_before_the_first_event_and_competing_events_do_not_count():
    time, x = np.array([1, 5, 6, 9, 3.0]), np.array([[9.0], [1], [0], [2], [3]])
    whole = risk_sets(Outcome(time, np.array([0, 1, 1, 2, 2])), x)
    beta = np.array([0.3])
    part = risk_sets(Outcome(time[1:4], np.array([1, 1, 0])), x[1:4], like=whole)
    assert likelihood(whole, beta)[0] == pytest.approx(likelihood(part, beta)[0])


def test_rossi_as_r_prints_it(rossi):
    """coxph(Surv(week, arrest) ~ ., rossi), Efron: Fox 2002, appendix to An R and S-PLUS Companion."""
    found = maximise(risk_sets(*rossi))
    assert found.coefficients.round(4).tolist() == [
        -0.3794,
        -0.0574,
        0.3139,
        -0.1498,
        -0.4337,
        -0.0849,
        0.0915,
    ]
    assert np.sqrt(np.diag(found.covariance)).round(4).tolist() == [
        0.1914, 0.0220, 0.3080, 0.2122, 0.3819, 0.1958, 0.0286,
    ]  # fmt: skip
    assert 2 * (found.log_likelihood - found.null) == pytest.approx(33.27, abs=0.005)


def test_lifelines_agrees_and_a_start_changes_nothing(rossi):
    theirs = CoxPHFitter().fit(load_rossi(), "week", "arrest")
    sets = risk_sets(*rossi)
    for start in (None, np.full(7, 0.5)):
        found = maximise(sets, start=start)
        assert found.coefficients == pytest.approx(theirs.params_.to_numpy(), abs=1e-7)
        assert found.covariance == pytest.approx(theirs.variance_matrix_.to_numpy(), rel=3e-5, abs=1e-7)
        assert found.log_likelihood == pytest.approx(theirs.log_likelihood_, abs=1e-8)


def test_a_start_out_of_all_reason_is_not_taken(rossi):
    """exp of its predictors is 0 for most patients, so that a risk set would weigh nothing."""
    sets = risk_sets(*rossi)
    far = maximise(sets, ridge=1.0, start=np.full(7, 1e4))
    assert far.coefficients == pytest.approx(maximise(sets, ridge=1.0).coefficients, abs=1e-9)


def test_the_ridge_of_lifelines_is_per_patient_and_its_sd_has_another_divisor(rossi):
    """Theirs: n penalizer / 2 sum (b sd)^2, the sd of n - 1; ours: ridge / 2 sum (b sd)^2, that of n."""
    n, ridge = rossi[0].size, 30.0
    theirs = CoxPHFitter(penalizer=ridge * (n - 1) / n**2).fit(load_rossi(), "week", "arrest")
    ours = maximise(risk_sets(*rossi), ridge=ridge)
    assert ours.coefficients == pytest.approx(theirs.params_.to_numpy(), abs=3e-5)
    assert abs(ours.coefficients).sum() < 0.85 * abs(maximise(risk_sets(*rossi)).coefficients).sum()


def test_continuous_times_without_ties_agree_with_lifelines():
    rng = np.random.default_rng(3)
    data = load_lung()[["age", "sex"]].assign(days=rng.exponential(20, 228), seen=rng.random(228) < 0.5)
    theirs = CoxPHFitter().fit(data, "days", "seen")
    outcome = Outcome(data["days"].to_numpy(), data["seen"].to_numpy().astype(int))
    found = maximise(risk_sets(outcome, data[["age", "sex"]].to_numpy()))
    assert found.coefficients == pytest.approx(theirs.params_.to_numpy(), abs=1e-7)


def test_a_subset_is_the_smaller_sample(rossi):
    outcome, x = rossi
    small = maximise(subset(risk_sets(outcome, x), [6, 1]))
    assert small.coefficients == pytest.approx(maximise(risk_sets(outcome, x[:, [6, 1]])).coefficients)
    empty = maximise(subset(risk_sets(outcome, x), []))
    assert empty.log_likelihood == empty.null == pytest.approx(-675.3806, abs=5e-5)  # R: loglik[1]


def test_separation_collinearity_and_constants_have_no_fit():
    outcome = Outcome(np.arange(1, 21.0), np.ones(20, int))
    x = np.arange(20.0)
    with pytest.raises(InputError, match="converge"):
        maximise(risk_sets(outcome, -x[:, None]))
    with pytest.raises(InputError, match="collinear"):
        maximise(risk_sets(outcome, np.column_stack([np.sin(x), 2 * np.sin(x)])))
    with pytest.raises(InputError, match="same for every patient"):
        risk_sets(outcome, np.ones((20, 1)))
    with pytest.raises(InputError, match="all are censored"):
        risk_sets(Outcome(outcome.time, np.zeros(20, int)), x[:, None])


def test_a_ridge_gives_a_fit_where_the_likelihood_has_no_maximum():
    outcome = Outcome(np.arange(1, 21.0), np.ones(20, int))
    found = maximise(risk_sets(outcome, -np.arange(20.0)[:, None]), ridge=1.0)
    assert 0 < found.coefficients[0] < 3
