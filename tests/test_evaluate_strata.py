"""The score within strata: what it can do without the help of a covariate."""

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import auc, by_stratum, within_strata_auc

LABEL = np.array([1, 1, 0, 0, 1, 0, 1, 1], bool)
SCORE = np.array([0.9, 0.4, 0.5, 0.1, 0.2, 0.3, 0.7, 0.8])
CENTRE = ["a", "a", "a", "a", "b", "b", "c", "c"]


def test_each_stratum_with_both_classes_has_its_area():
    a, b, c = by_stratum(LABEL, SCORE, CENTRE)
    assert [(s.name, s.positive, s.negative) for s in (a, b, c)] == [("a", 2, 2), ("b", 1, 1), ("c", 2, 0)]
    assert a.auc == auc(LABEL[:4], SCORE[:4])
    assert b.auc.value == 0
    assert c.auc is None


def test_pairs_within_strata_counted_by_hand():
    """Centre a: 3 of 4 pairs in order; b: 0 of 1; c has none. Everybody: 12 of 15."""
    found = within_strata_auc(LABEL, SCORE, CENTRE)
    assert found.within.value == pytest.approx(3 / 5)
    assert found.crude.value == pytest.approx(12 / 15)
    # Shares of positives 1/2 (a), 1/2 (b), 1 (c): the two of c above all 3, the rest tied: (6 + 9/2) / 15.
    assert found.alone.value == pytest.approx(0.7)


def test_the_interval_within_strata_worked_out_by_hand():
    """Variance: a has placements 1, 1/2 and 1/2, 1, so 1/16 + 1/16; b at most 0.6 x 0.4; weights 4/5, 1/5."""
    within = within_strata_auc(LABEL, SCORE, CENTRE).within
    error = np.sqrt(0.8**2 / 8 + 0.2**2 * 0.24)
    half = 1.959964 * error / 0.24
    assert within.low == pytest.approx(1 / (1 + np.exp(-np.log(1.5) + half)), abs=1e-6)
    assert within.high == pytest.approx(1 / (1 + np.exp(-np.log(1.5) - half)), abs=1e-6)


def test_one_stratum_changes_nothing():
    found = within_strata_auc(LABEL, SCORE, ["x"] * 8)
    assert found.within.value == pytest.approx(found.crude.value)
    assert (found.within.low, found.within.high) == pytest.approx((found.crude.low, found.crude.high))
    assert found.alone.value == 0.5


def test_a_network_that_reads_the_centre_is_exposed():
    """Nine in ten positives come from one centre, and the score knows the centre only."""
    rng = np.random.default_rng(3)
    label = np.repeat([True, False], 200)
    centre = rng.random(400) < np.where(label, 0.9, 0.1)
    found = within_strata_auc(label, centre + 0.1 * rng.normal(size=400), centre)
    assert found.crude.low > 0.8
    assert found.alone.value == pytest.approx(0.9, abs=0.03)
    assert found.within.low < 0.5 < found.within.high


def test_a_network_that_reads_the_disease_stands():
    rng = np.random.default_rng(3)
    label = np.repeat([True, False], 200)
    centre = rng.random(400) < np.where(label, 0.6, 0.4)
    found = within_strata_auc(label, label + rng.normal(size=400), centre)
    assert found.within.value == pytest.approx(found.crude.value, abs=0.03)


def test_pairs_matched_one_to_one_leave_doubt_even_when_all_are_in_order():
    """Ten of ten independent pairs: Clopper-Pearson's lower limit is 0.025^(1/10)."""
    label = np.tile([True, False], 10)
    within = within_strata_auc(label, label.astype(float), np.repeat(np.arange(10), 2)).within
    assert (within.value, within.high) == (1, 1)
    assert within.low == pytest.approx(0.025 ** (1 / 10))


def test_a_covariate_that_is_the_label_leaves_nothing_within():
    found = within_strata_auc(LABEL, SCORE, np.where(LABEL, "ill", "well"))
    assert found.within is None
    assert found.alone.value == 1
    assert [s.auc for s in found.strata] == [None, None]


@pytest.mark.parametrize("gap", [None, float("nan"), ""])
def test_a_missing_stratum_is_refused(gap):
    with pytest.raises(InputError, match="the stratum of 1 of 8 patients is missing"):
        by_stratum(LABEL, SCORE, [*CENTRE[:-1], gap])


def test_strata_of_other_patients_are_refused():
    with pytest.raises(InputError, match="one stratum a patient is needed, got 7 for 8"):
        within_strata_auc(LABEL, SCORE, CENTRE[:-1])
