"""Decision curves and the simple baseline against dcurves, scikit-learn and statsmodels."""

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import decision_curve, fit_logistic

LABEL = np.array([1] * 8 + [0] * 12, bool)
PROBABILITY = np.array([9, 8, 8, 7, 6, 5, 3, 9, 1, 2, 2, 3, 4, 5, 6, 1, 8, 3, 2, 4]) / 10
AGE = [34, 71, 66, 45, 58, 80, 62, 77, 25, 31, 52, 47, 60, 39, 44, 68, 29, 36, 50, 41]
MALE = [1, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 1]
ILL = [0, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0]
COVARIATES = np.column_stack([AGE, MALE, ILL])
NAMES = ("age", "sex", "comorbidity")


def test_net_benefit_equals_that_of_dcurves():
    """dcurves 1.1.7, at thresholds that no probability equals."""
    curve = decision_curve(LABEL, PROBABILITY, np.array([0.05, 0.15, 0.35, 0.55, 0.85, 0.95]))
    ours = [0.368421052631579, 0.311764705882353, 0.215384615384615, 0.177777777777778, 0.1, 0.0]
    everybody = [0.368421052631579, 0.294117647058824, 0.0769230769230769, -1 / 3, -3.0, -11.0]
    assert curve.net_benefit == pytest.approx(ours, abs=1e-12)
    assert curve.treat_all == pytest.approx(everybody, abs=1e-12)
    assert curve.treat_none.tolist() == [0] * 6


def test_the_interval_worked_out_by_hand():
    """At 0.55: 6 true and 2 false positives of 20, odds 11/9; mean square (6 + 2 x 121/81) / 20."""
    curve = decision_curve(LABEL, PROBABILITY, np.array([0.55]))
    value = (6 - 2 * 11 / 9) / 20
    error = np.sqrt(((6 + 2 * 121 / 81) / 20 - value**2) / 19)
    assert curve.low[0] == pytest.approx(value - 1.959964 * error, abs=1e-6)
    assert curve.high[0] == pytest.approx(value + 1.959964 * error, abs=1e-6)
    # Treating all: 8 ones, 12 times minus 11/9.
    contribution = np.where(LABEL, 1, -11 / 9)
    half = 1.959964 * contribution.std(ddof=1) / np.sqrt(20)
    assert curve.treat_all_high[0] - curve.treat_all[0] == pytest.approx(half, abs=1e-6)


def test_where_nobody_is_treated_doubt_remains():
    """0 of 20: Clopper and Pearson's upper limit is 1 - 0.025^(1/20)."""
    curve = decision_curve(LABEL, PROBABILITY, np.array([0.95]))
    upper = 1 - 0.025 ** (1 / 20)
    assert curve.net_benefit[0] == 0
    assert (curve.low[0], curve.high[0]) == pytest.approx((-19 * upper, upper))


def test_a_probability_at_the_threshold_is_not_treated():
    """Above 0.8 are two of the ill; two more, and one of the well, have exactly 0.8."""
    curve = decision_curve(LABEL, PROBABILITY, np.array([0.8]))
    assert curve.net_benefit[0] == pytest.approx(2 / 20)


def test_the_intervals_hold_the_truth_that_often():
    """300 samples of 100: perfect probabilities uniform in 0 to 1, so at t: E(p - (1-p) t/(1-t); p > t)."""
    rng, threshold, hits = np.random.default_rng(0), 0.3, 0
    grid = np.linspace(threshold, 1, 100_001)
    truth = np.trapezoid(grid - (1 - grid) * threshold / (1 - threshold), grid)
    for _ in range(300):
        probability = rng.random(100)
        curve = decision_curve(rng.random(100) < probability, probability, np.array([threshold]))
        hits += curve.low[0] <= truth <= curve.high[0]
    assert 0.91 <= hits / 300 <= 0.98


def test_what_is_no_decision_is_refused():
    with pytest.raises(InputError, match="1 of 20 values lie outside 0 to 1"):
        decision_curve(LABEL, np.append(PROBABILITY[:-1], 1.5))
    for thresholds in ([0.0], [1.0], [], [np.nan]):
        with pytest.raises(InputError, match="thresholds must lie between 0 and 1"):
            decision_curve(LABEL, PROBABILITY, np.array(thresholds))
    assert decision_curve(LABEL, PROBABILITY).threshold.size == 99


@pytest.mark.parametrize(
    ("ridge", "intercept", "coefficients", "first"),
    [
        (
            1.0,
            -0.5460026138563683,
            [0.8124718312164765, 0.5505147918424824, 0.3175375460603358],
            [0.23877851264179178, 0.7975386743217621, 0.5025134571476726],
        ),
        (
            0.1,
            -0.6211040117508336,
            [1.083589671115055, 0.7022017720578382, 0.30685534181958074],
            [0.2021525129569004, 0.8536786750132451, 0.5032610147465901],
        ),
    ],
)
def test_the_baseline_equals_that_of_scikit_learn(ridge, intercept, coefficients, first):
    """scikit-learn 1.9.1, LogisticRegression(C=1 / ridge) on StandardScaler."""
    fit = fit_logistic(LABEL, COVARIATES, NAMES, ridge=ridge)
    assert fit.intercept == pytest.approx(intercept, abs=1e-8)
    assert fit.coefficients == pytest.approx(np.array(coefficients), abs=1e-8)
    assert fit.probability(COVARIATES)[:3] == pytest.approx(np.array(first), abs=1e-8)


def test_with_hardly_a_ridge_it_is_the_maximum_of_the_likelihood():
    """statsmodels 0.15.0, Logit on standardized covariates."""
    fit = fit_logistic(LABEL, COVARIATES, NAMES, ridge=1e-9)
    assert [fit.intercept, *fit.coefficients] == pytest.approx(
        [-0.6356178217534793, 1.1370970285123019, 0.725594891752281, 0.29779020845902376], abs=1e-6
    )


def test_separated_and_constant_covariates_do_not_break_it():
    """The label as its own covariate; scikit-learn 1.9.1 gives the same."""
    fit = fit_logistic(LABEL, LABEL[:, None], ["label"])
    assert (fit.intercept, fit.coefficients[0]) == pytest.approx(
        (-0.6549638141882732, 2.097973307256395), abs=1e-8
    )
    both = fit_logistic(LABEL, np.column_stack([LABEL, LABEL, np.full(20, 61.7)]), ["a", "b", "constant"])
    assert both.coefficients[0] == pytest.approx(both.coefficients[1])
    assert both.coefficients[2] == 0
    assert fit_logistic(LABEL, LABEL[:, None], ["label"], ridge=1e-6).probability(LABEL[:, None]).max() < 1


def test_units_and_order_do_not_matter():
    fit = fit_logistic(LABEL, COVARIATES, NAMES)
    other = fit_logistic(LABEL, COVARIATES[:, ::-1] * [1, 1, 365.25], NAMES[::-1])
    assert other.coefficients[::-1] == pytest.approx(fit.coefficients)


@pytest.mark.parametrize(("largest", "good"), [(1e99, True), (1e101, False), (1e200, False), (-1e308, False)])
def test_numbers_whose_squares_overflow_are_refused_and_never_warned_of(largest, good):
    """Floats end near 1.8e308: the square of 1e200 is none of them."""
    large = COVARIATES.astype(float)
    large[3, 1] = largest
    if good:
        assert np.isfinite(fit_logistic(LABEL, large, NAMES).probability(large)).all()
        return
    for reckon in (lambda: fit_logistic(LABEL, large, NAMES), lambda: _fitted().probability(large)):
        with pytest.raises(InputError, match="covariate sex: values beyond"):
            reckon()


def _fitted():
    return fit_logistic(LABEL, COVARIATES, NAMES)


def test_what_is_no_covariate_is_refused():
    bad = COVARIATES.astype(float)
    bad[3, 1] = np.nan
    with pytest.raises(InputError, match="covariate sex: values are missing"):
        fit_logistic(LABEL, bad, NAMES)
    with pytest.raises(InputError, match=r"shape \(20, 2\)"):
        fit_logistic(LABEL, COVARIATES[:, :2], NAMES)
    with pytest.raises(InputError, match="ridge must be above 0"):
        fit_logistic(LABEL, COVARIATES, NAMES, ridge=0)
    with pytest.raises(InputError, match="two classes are needed, found 20 positive"):
        fit_logistic(np.ones(20, bool), COVARIATES, NAMES)
    with pytest.raises(InputError, match="covariates"):
        fit_logistic(LABEL, COVARIATES, NAMES).probability(COVARIATES[:, :1])
