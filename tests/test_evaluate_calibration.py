"""Calibration against statsmodels and scikit-learn."""

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import calibrate

# Expected numbers: scikit-learn 1.9.1 (Brier score), statsmodels 0.15.0 (binomial GLM with the logit as
# offset, Logit on the logit).
LABEL = np.array([1] * 8 + [0] * 12, bool)
PROBABILITY = np.array([9, 8, 8, 7, 6, 5, 3, 9, 1, 2, 2, 3, 4, 5, 6, 1, 8, 3, 2, 4]) / 10


def numbers(estimate):
    return [estimate.value, estimate.low, estimate.high]


def test_recalibration_equals_that_of_other_programs():
    found = calibrate(LABEL, PROBABILITY)
    assert found.brier.value == pytest.approx(0.149, abs=1e-12)
    assert numbers(found.in_the_large) == pytest.approx([-0.44941916, -1.50018107, 0.60134275], abs=1e-8)
    assert numbers(found.slope) == pytest.approx([1.47744721, 0.23835041, 2.716544], abs=1e-6)
    assert found.moved == 0


def test_the_bins_counted_by_hand():
    """Six patients in two bins: 0 of 3 at a mean of 0.2, 2 of 3 at a mean of 0.7."""
    label = np.array([0, 0, 0, 1, 0, 1], bool)
    found = calibrate(label, np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8]), bins=2)
    assert [(b.size, b.positive) for b in found.bins] == [(3, 0), (3, 2)]
    assert [b.predicted for b in found.bins] == pytest.approx([0.2, 0.7])
    assert found.bins[1].observed.value == pytest.approx(2 / 3)
    assert found.expected_error == pytest.approx((0.2 + 0.7 - 2 / 3) / 2)


def test_bins_do_not_depend_on_the_order_of_patients():
    rng = np.random.default_rng(0)
    for _ in range(5):
        order = rng.permutation(20)
        assert calibrate(LABEL[order], PROBABILITY[order]).bins == calibrate(LABEL, PROBABILITY).bins
    sizes = [b.size for b in calibrate(LABEL, PROBABILITY, bins=4).bins]
    assert sum(sizes) == 20


def test_probabilities_drawn_from_their_own_truth_are_calibrated():
    """And doubling their logits halves the slope, taking 1 off lifts calibration-in-the-large to 1."""
    rng = np.random.default_rng(4)
    logits = rng.normal(-0.5, 1.5, 20000)
    label = rng.random(20000) < 1 / (1 + np.exp(-logits))
    found = calibrate(label, 1 / (1 + np.exp(-logits)))
    assert found.slope.value == pytest.approx(1, abs=0.05)
    assert found.in_the_large.value == pytest.approx(0, abs=0.05)
    assert found.expected_error < 0.015
    twice = calibrate(label, 1 / (1 + np.exp(-2 * logits)))
    assert twice.slope.value == pytest.approx(found.slope.value / 2, abs=1e-6)
    low = calibrate(label, 1 / (1 + np.exp(1 - logits)))
    assert low.in_the_large.value == pytest.approx(found.in_the_large.value + 1, abs=1e-6)


def test_separated_and_constant_probabilities_have_no_slope():
    perfect = calibrate(LABEL, LABEL.astype(float))
    assert perfect.slope is None
    assert perfect.moved == 20
    assert perfect.brier.value == 0
    assert perfect.brier.high > 0.1  # exact for 0 of 20: 1 - 0.025^(1/20) = 0.17
    assert calibrate(LABEL, ~LABEL).slope is None
    constant = calibrate(LABEL, np.full(20, 0.5))
    assert constant.slope is None
    assert constant.in_the_large.value == pytest.approx(np.log(8 / 12))  # the logit of 8 in 20


def test_saturated_probabilities_still_converge():
    """Newton's whole steps lead to where no patient has weight. The result is where counts agree."""
    label = np.arange(37) != 7
    probability = np.repeat([0.0, 1 / 3, 2 / 3, 1.0], [16, 6, 7, 8])
    found = calibrate(label, probability)
    assert found.slope is None  # the one negative lies at the lowest probability, beside positives
    inside = np.clip(probability, 1e-6, 1 - 1e-6)
    odds = inside / (1 - inside) * np.exp(found.in_the_large.value)
    assert (odds / (1 + odds)).sum() == pytest.approx(36)


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match="2 of 20 values lie outside 0 to 1"):
        calibrate(LABEL, PROBABILITY * 1.2)
    with pytest.raises(InputError, match="at least one bin"):
        calibrate(LABEL, PROBABILITY, bins=0)
    with pytest.raises(InputError, match="two classes"):
        calibrate(np.ones(20, bool), PROBABILITY)
