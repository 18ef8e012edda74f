"""A patient among a cohort, against distances worked out by hand and scikit-learn's components."""

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.explain.place import place
from covid19net.features import Analysis
from tests.test_evaluate_space import FEATURES, SHARES


def cohort_of(table, weights="w"):
    return {f"p{i}": Analysis(0.5, row, weights=weights) for i, row in enumerate(table)}


def test_nearest_cases_by_hand():
    found = place(np.array([0.0, 0, 0]), cohort_of([[3.0, 4, 0], [0, 0, 1], [0, 2, 0], [9, 9, 9]]), count=3)
    assert found.nearest == (("p1", 1.0), ("p2", 2.0), ("p0", 5.0))
    # To their nearest: p0 to p2 is sqrt(13), p1 and p2 are sqrt(5) apart, p3 to p0 is sqrt(142).
    assert found.usual == pytest.approx((5**0.5 + 13**0.5) / 2)
    assert not found.alone


def test_the_space_is_scikit_learns():
    # Point of (1, 2, 3) from scikit-learn, as in test_evaluate_space.py.
    found = place(np.array([1.0, 2, 3]), cohort_of(FEATURES))
    np.testing.assert_allclose(found.space.shares, SHARES, atol=1e-8)
    np.testing.assert_allclose(found.point, [-2.33158705, 1.71116888], atol=1e-8)


def test_a_patient_far_from_all_is_said_to_be_alone():
    assert place(np.array([50.0, 0, 0]), cohort_of(FEATURES)).alone


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="other weights"):
        place(np.zeros(3), cohort_of(FEATURES), weights="v")
    with pytest.raises(InputError, match="2 patients"):
        place(np.zeros(3), cohort_of(FEATURES[:2]))
