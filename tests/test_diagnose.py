"""Probability and decision."""

import math

import pytest

from covid19net.diagnose import Distance, check_distance, decide, probability_of
from covid19net.volume import Finding


@pytest.mark.parametrize("logit", [-40.0, -2.0, 0.0, 1.5, 30.0])
def test_probability_is_the_logistic_function(logit):
    assert probability_of(logit) == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-12)


def test_extreme_logits_stay_finite():
    assert probability_of(-1e4) == 0.0
    assert probability_of(1e4) == 1.0


def test_positive_means_above_the_threshold():
    # The authors' released test: positive when the probability is > 0.8.
    assert decide(0.81, 0.8, ()).call == "positive"
    assert decide(0.8, 0.8, ()).call == "negative"


def test_a_scan_that_cuts_the_lungs_cannot_be_negative():
    cut = (Finding("coverage", "the lungs are cut at the lower end"),)
    assert decide(0.1, 0.8, cut).call == "indeterminate"
    assert decide(0.9, 0.8, cut).call == "positive"


def test_a_scan_beyond_the_limit_is_flagged_with_both_numbers():
    (finding,) = check_distance(Distance(23.42, 11.25))
    assert finding.code == "out-of-distribution"
    assert "distance 23.42, limit 11.25" in finding.message
    assert "\n" not in finding.message


@pytest.mark.parametrize("distance", [None, Distance(11.25, 11.25), Distance(0.0, 11.25)])
def test_no_distance_or_one_up_to_the_limit_is_not_flagged(distance):
    assert check_distance(distance) == ()
