"""Areas, comparisons and operating points against other programs, published counts and hand calculation."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from covid19net.errors import InputError
from covid19net.evaluate import (
    Estimate,
    auc,
    bootstrap,
    compare_aucs,
    compare_independent_aucs,
    mann_whitney,
    operating_point,
    proportion,
    roc_curve,
    youden_threshold,
)

SIX = np.array([1, 1, 1, 0, 0, 0], bool)
SIX_SCORES = np.array([0.9, 0.8, 0.3, 0.4, 0.2, 0.1])

# Twenty patients with ties; the expected numbers of this sample are from pauc 0.2.2 (direction "<") and
# MLstatkit 0.1.91, which agree to 12 digits, and from scikit-learn 1.9.1.
LABEL = np.array([1] * 8 + [0] * 12, bool)
FIRST = np.array([9, 8, 8, 7, 6, 5, 3, 9, 1, 2, 2, 3, 4, 5, 6, 1, 8, 3, 2, 4]) / 10
SECOND = np.array([6, 9, 5, 4, 7, 2, 5, 8, 3, 2, 4, 6, 1, 5, 7, 2, 6, 4, 3, 5]) / 10


def limits(estimate):
    return [estimate.low, estimate.high]


def test_the_auc_of_six_patients_worked_out_by_hand():
    """8 of 9 pairs are in order. Placements 1, 1, 2/3 and 2/3, 1, 1: variance 1/27 in each class of 3."""
    error = math.sqrt(2 * (1 / 27) / 3)
    assert error == pytest.approx(math.sqrt(2) / 9)
    plain = auc(SIX, SIX_SCORES, interval="wald")
    assert plain.value == pytest.approx(8 / 9)
    assert plain.low == pytest.approx(8 / 9 - 1.959964 * error, abs=1e-6)
    assert str(plain) == "0.89 (95% CI 0.58-1.00)"
    # On the scale of the logit: ln 8 +- 1.96 x error / (8/9 x 1/9).
    half = 1.959964 * error * 81 / 8
    expected = [1 / (1 + math.exp(-math.log(8) + half)), 1 / (1 + math.exp(-math.log(8) - half))]
    assert limits(auc(SIX, SIX_SCORES)) == pytest.approx(expected, abs=1e-6)


def test_the_auc_equals_that_of_other_programs():
    area = auc(LABEL, FIRST, interval="wald")
    assert area.value == pytest.approx(0.875, abs=1e-12)
    assert area.low == pytest.approx(0.7192706387060277, abs=1e-10)  # the upper limit is cut off at 1
    assert area.high == 1
    other = auc(LABEL, SECOND, interval="wald")
    assert other.value == pytest.approx(0.7239583333333334, abs=1e-12)
    assert limits(other) == pytest.approx([0.48486154866294995, 0.9630551180037166], abs=1e-10)


def test_two_scores_of_the_same_patients_compare_as_in_other_programs():
    found = compare_aucs(LABEL, FIRST, SECOND)
    assert found.difference.value == pytest.approx(0.15104166666666663, abs=1e-12)
    assert found.z == pytest.approx(1.38247994981497, abs=1e-10)
    assert found.p == pytest.approx(0.16682438266210708, abs=1e-10)
    # pauc takes 1.96 for the quantile, hence the tolerance.
    assert limits(found.difference) == pytest.approx([-0.06309646004272174, 0.365179793376055], abs=1e-5)
    assert str(found.difference) == "0.15 (95% CI -0.06 to 0.37)"
    swapped = compare_aucs(LABEL, SECOND, FIRST)
    assert (swapped.z, swapped.p) == (-found.z, found.p)


def test_separated_classes_leave_doubt():
    """Five of five independent pairs: Clopper-Pearson's lower limit is 0.025^(1/5)."""
    label = np.repeat([True, False], 5)
    for interval in ("logit", "wald"):
        area = auc(label, label.astype(float), interval=interval)
        assert (area.value, area.high) == (1, 1)
        assert area.low == pytest.approx(0.025 ** (1 / 5))
    assert limits(auc(label, ~label)) == pytest.approx([0, 1 - 0.025 ** (1 / 5)])


def test_scores_that_are_all_equal_tell_nothing():
    area = auc(SIX, np.full(6, 0.3))
    assert area.value == 0.5
    assert area.low < 0.1
    assert area.high > 0.9
    assert mann_whitney(SIX, np.full(6, 0.3)).p == 1


def test_one_patient_in_a_class_gives_nearly_no_information():
    area = auc(np.array([True, False, False, False, False]), np.array([3, 1, 2, 4, 0]))
    assert area.value == 0.75
    assert area.low < 0.05
    assert area.high > 0.99


def test_scores_that_rank_alike_do_not_differ():
    found = compare_aucs(LABEL, FIRST, FIRST**3)
    assert (found.difference.value, found.z, found.p) == (0, 0, 1)
    assert found.difference.low < -0.2
    assert found.difference.high > 0.2


def test_a_perfect_score_against_a_useless_one_is_not_proven_by_six_patients():
    """The exact permutation p of perfect order among 3 and 3 is 2 / 20; DeLong's variance is zero here."""
    found = compare_aucs(SIX, SIX.astype(float), np.zeros(6))
    assert found.difference.value == 0.5
    assert found.p > 0.1


def test_independent_areas_are_compared_by_their_intervals():
    """Symmetric intervals of standard errors 0.03 and 0.04 give one of 0.05."""
    z = 1.959963984540054
    first = Estimate(0.9, 0.9 - 0.03 * z, 0.9 + 0.03 * z)
    second = Estimate(0.8, 0.8 - 0.04 * z, 0.8 + 0.04 * z)
    found = compare_independent_aucs(first, second)
    assert found.z == pytest.approx(0.1 / 0.05)
    assert found.p == pytest.approx(0.0455002638963584)  # of z = 2, any table
    assert limits(found.difference) == pytest.approx([0.1 - 0.05 * z, 0.1 + 0.05 * z])
    with pytest.raises(InputError, match=r"one level are needed, got 0\.95 and 0\.9"):
        compare_independent_aucs(first, Estimate(0.8, 0.7, 0.9, 0.9))
    with pytest.raises(InputError, match="no width"):
        compare_independent_aucs(Estimate(1, 1, 1), Estimate(0.8, 0.8, 0.8))


def test_ninety_five_percent_intervals_hold_the_truth_that_often():
    """400 normal samples of 15 and 25; a true coverage of 0.95 leaves 0.92 to 0.98 but once in 200 times."""
    rng, truth, hits = np.random.default_rng(11), 0.85, 0
    label = np.repeat([True, False], [15, 25])
    for _ in range(400):
        area = auc(label, rng.normal(size=40) + label * math.sqrt(2) * norm.ppf(truth))
        hits += area.low <= truth <= area.high
    assert 0.92 <= hits / 400 <= 0.98


def test_the_curve_equals_that_of_scikit_learn():
    curve = roc_curve(LABEL, FIRST)
    false = np.array([0, 0, 1, 1, 2, 3, 5, 7, 10, 12]) / 12
    assert curve.false_positive_rate == pytest.approx(false)
    assert curve.sensitivity == pytest.approx(np.array([0, 2, 4, 5, 6, 7, 7, 8, 8, 8]) / 8)
    assert curve.threshold.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, -np.inf]
    for threshold, rate, sensitivity in zip(*vars(curve).values(), strict=True):
        point = operating_point(LABEL, FIRST, threshold)
        assert (1 - point.specificity.value, point.sensitivity.value) == pytest.approx((rate, sensitivity))


def test_youdens_threshold_lies_between_two_scores():
    """Of FIRST, above 0.4: 7 of 8 and 9 of 12, the largest sum (scikit-learn's curve above)."""
    threshold = youden_threshold(LABEL, FIRST)
    assert threshold == pytest.approx(0.45)
    point = operating_point(LABEL, FIRST, threshold)
    assert (point.true_positive, point.true_negative) == (7, 9)
    assert youden_threshold(SIX, -SIX.astype(float)) == 0  # worse than chance: nobody is called


def test_youdens_threshold_stays_below_the_next_number():
    above = math.nextafter(1, 2)
    point = operating_point(SIX, np.where(SIX, above, 1), youden_threshold(SIX, np.where(SIX, above, 1)))
    assert point.accuracy.value == 1


# Wang et al. 2020: counts rebuilt from Table 1 and the printed percentages. Wilson's intervals are from
# statsmodels 0.15.0, proportion_confint(method="wilson").
PUBLISHED = [
    ((442, 560), (134, 149), (78.93, 89.93, 81.24), (0.7535956392850991, 0.8210339749998528)),
    ((82, 102), (95, 124), (80.39, 76.61, 78.32), (0.7164524743574987, 0.8693293231613177)),
    ((73, 92), (56, 69), (79.35, 81.16, 80.12), (0.6998218608639662, 0.8636086280336036)),
]


@pytest.mark.parametrize(("positive", "negative", "percent", "wilson"), PUBLISHED)
def test_the_published_numbers_rebuild_from_counts(positive, negative, percent, wilson):
    (tp, ill), (tn, well) = positive, negative
    label = np.repeat([True, False], [ill, well])
    score = np.repeat([0.9, 0.1, 0.1, 0.9], [tp, ill - tp, tn, well - tn])
    point = operating_point(label, score, 0.8)
    found = (point.true_positive, point.false_negative, point.true_negative, point.false_positive)
    assert found == (tp, ill - tp, tn, well - tn)
    shown = (point.sensitivity, point.specificity, point.accuracy)
    assert tuple(round(100 * estimate.value, 2) for estimate in shown) == percent
    assert limits(point.sensitivity) == pytest.approx(wilson, abs=1e-12)
    assert point.ppv.value == pytest.approx(tp / (tp + well - tn))
    assert point.npv.value == pytest.approx(tn / (tn + ill - tp))


def test_the_published_accuracy_of_the_viral_subset_cannot_be():
    """73 of 92 and 20 of 28 are right: 77.50 %, where the paper prints 85.00 %."""
    label = np.repeat([True, False], [92, 28])
    score = np.repeat([1, 0, 0, 1], [73, 19, 20, 8])
    assert operating_point(label, score, 0.5).accuracy.value == pytest.approx(0.775)


def test_a_score_at_the_threshold_is_negative_and_empty_calls_have_no_predictive_value():
    point = operating_point(SIX, SIX_SCORES, 0.9)
    assert (point.true_positive, point.false_positive, point.ppv) == (0, 0, None)
    assert point.npv.value == 0.5
    assert operating_point(SIX, SIX_SCORES, 0).npv is None
    with pytest.raises(InputError, match="threshold is NaN"):
        operating_point(SIX, SIX_SCORES, math.nan)


def test_proportions_of_none_and_all():
    """statsmodels 0.15.0."""
    assert limits(proportion(0, 10)) == pytest.approx([0, 0.27753279986288926], abs=1e-12)
    assert limits(proportion(10, 10)) == pytest.approx([0.7224672001371106, 1], abs=1e-12)
    with pytest.raises(InputError, match="0 of 0"):
        proportion(0, 0)


def test_mann_whitney_of_two_groups():
    """With ties by scipy's normal approximation; without, 2 of the 20 orders are as extreme."""
    found = mann_whitney(LABEL, FIRST)
    assert found.u == 84  # 0.875 of 96 pairs
    assert found.p == pytest.approx(0.005841321258892562)
    assert mann_whitney(SIX, SIX.cumsum() * SIX + np.arange(6) / 10).p == pytest.approx(2 / 20)


def test_the_bootstrap_agrees_with_delong_and_with_its_seed():
    rng, label = np.random.default_rng(2), np.repeat([True, False], [80, 120])
    score = rng.normal(size=200) + label

    def area(label, score):
        return auc(label, score).value

    found = bootstrap(label, score, area, np.random.default_rng(7), draws=500)
    assert found == bootstrap(label, score, area, np.random.default_rng(7), draws=500)
    assert found.value == auc(label, score).value
    assert limits(found) == pytest.approx(limits(auc(label, score)), abs=0.015)


def test_the_bootstrap_keeps_both_classes_and_takes_several_scores():
    scores = np.column_stack([FIRST, SECOND])

    def difference(label, scores):
        assert label.sum() == 8
        assert scores.shape == (20, 2)
        return compare_aucs(label, *scores.T).difference.value

    found = bootstrap(LABEL, scores, difference, np.random.default_rng(0), draws=50)
    assert found.value == pytest.approx(0.15104166666666663)
    with pytest.raises(InputError, match="the statistic is nan in draw 1 of 50"):
        bootstrap(LABEL, FIRST, lambda *_: math.nan, np.random.default_rng(0), draws=50)
    with pytest.raises(InputError, match="at least one draw"):
        bootstrap(LABEL, FIRST, difference, np.random.default_rng(0), draws=0)


@pytest.mark.parametrize(
    ("label", "score", "message"),
    [
        ([], [], "no patients"),
        ([True, True], [0.1, 0.2], "two classes are needed, found 2 positive, 0 negative"),
        ([False], [0.1], "found 0 positive, 1 negative"),
        ([True, False], [0.1, math.nan], "1 of 2 scores are NaN or infinite"),
        ([True, False], [0.1, math.inf], "1 of 2 scores are NaN or infinite"),
        ([True, False], [0.1], r"one label and one score a patient are needed, got \(2,\) and \(1,\)"),
        ([[True, False]], [[0.1, 0.2]], "one label and one score a patient"),
        ([1, 0], [0.1, 0.2], "label must be boolean"),
        (["covid", "other"], [0.1, 0.2], "label must be boolean"),
        ([True, False], ["0.1", "0.2"], "scores must be numbers"),
        ([True, False], [0.1, None], "scores must be numbers"),
    ],
)
@pytest.mark.parametrize("function", [auc, mann_whitney, roc_curve, youden_threshold])
def test_what_is_no_sample_is_refused(function, label, score, message):
    """Row 30."""
    with pytest.raises(InputError, match=message):
        function(np.array(label, dtype=None if label else bool), np.array(score))


def test_no_estimate_is_nan():
    with pytest.raises(InputError, match="no estimate: nan"):
        Estimate(math.nan, 0, 1)
    with pytest.raises(InputError, match="a confidence level lies between 0 and 1, got 95"):
        auc(SIX, SIX_SCORES, level=95)
    assert str(Estimate(0.5, 0.25, 0.75, 0.975)) == "0.50 (97.5% CI 0.25-0.75)"
