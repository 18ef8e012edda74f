"""Principal components against scikit-learn."""

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate.space import principal_components

FEATURES = np.array(
    [[2.5, 2.4, 0.1], [0.5, 0.7, 1.3], [2.2, 2.9, -0.4], [1.9, 2.2, 0.8], [3.1, 3.0, 0.2], [2.3, 2.7, -1.1]]
)
# sklearn.decomposition.PCA(2) of scikit-learn 1.9.1, which makes the largest entry of an axis positive too
POINTS = [
    [0.32534703, 0.19709338], [-2.5299603, -0.19888109], [0.71250899, -0.28271716],
    [-0.52078879, 0.41610874], [0.9957149, 0.7117806], [1.01717816, -0.84338447],
]  # fmt: skip
SHARES = [0.84560673, 0.14070567]
AXES = [[0.59631756, 0.60826969, -0.52384478], [0.5348233, 0.18560075, 0.82432785]]


def test_the_numbers_are_those_of_scikit_learn():
    found = principal_components(FEATURES)
    np.testing.assert_allclose(found.points, POINTS, atol=1e-8)
    np.testing.assert_allclose(found.shares, SHARES, atol=1e-8)
    np.testing.assert_allclose(found.axes, AXES, atol=1e-8)
    np.testing.assert_allclose(found.place(np.array([[1, 2, 3]])), [[-2.33158705, 1.71116888]], atol=1e-8)
    np.testing.assert_allclose(found.place(FEATURES), found.points, atol=1e-12)


def test_the_sign_does_not_depend_on_the_order_of_patients():
    turned = principal_components(FEATURES[::-1])
    np.testing.assert_allclose(turned.points[::-1], POINTS, atol=1e-8)


def test_all_components_together_hold_all_variance():
    assert principal_components(FEATURES, 3).shares.sum() == pytest.approx(1)


def test_two_patients_lie_on_a_line():
    found = principal_components(np.array([[1.0, 5, 2], [3, 1, 2]]))
    np.testing.assert_allclose(np.abs(found.points[:, 0]), 20**0.5 / 2)
    assert found.shares == pytest.approx([1, 0])


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (np.ones((5, 3)), "the same"),
        (np.full((5, 3), 0.1), "the same"),
        (np.array([[1, np.nan], [2, 3]]), "NaN"),
        (np.ones((1, 3)), "components need"),
        (np.ones((5, 1)), "components need"),
        (np.ones(5), "components need"),
    ],
)
def test_what_spans_no_space_is_refused(features, reason):
    with pytest.raises(InputError, match=reason):
        principal_components(features)
