"""One function for all that is said of a score, and the same in every stratum."""

import dataclasses
from itertools import product
import math

import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.evaluate import (
    auc,
    bootstrap,
    bootstrap_auc,
    calibrate,
    mann_whitney,
    operating_point,
    performance,
    performance_by,
)

LABEL = np.array([1] * 8 + [0] * 12, bool)
SCORE = np.array([9, 8, 8, 7, 6, 5, 3, 9, 1, 2, 2, 3, 4, 5, 6, 1, 8, 3, 2, 4]) / 10


def test_the_quick_bootstrap_draws_from_the_right_distribution():
    """All 27 x 27 equally likely samples of three and three, counted; quartiles of 20 000 draws."""
    ill, well = (0.9, 0.8, 0.3), (0.8, 0.2, 0.1)
    areas = [
        np.mean([(a > b) + (a == b) / 2 for a in positives for b in negatives])
        for positives in product(ill, repeat=3)
        for negatives in product(well, repeat=3)
    ]
    label, score = np.array([1, 1, 1, 0, 0, 0], bool), np.array([*ill, *well])
    for level in (0.5, 0.8):
        found = bootstrap_auc(label, score, np.random.default_rng(0), draws=20_000, level=level)
        exact = np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])
        assert (found.low, found.high) == pytest.approx(tuple(exact), abs=1e-9)


def test_the_quick_bootstrap_agrees_with_the_general_one():
    def area(label, score):
        return auc(label, score).value

    rng, label = np.random.default_rng(2), np.repeat([True, False], [80, 120])
    score = (rng.normal(size=200) + label).round(1)
    quick = bootstrap_auc(label, score, np.random.default_rng(1))
    slow = bootstrap(label, score, area, np.random.default_rng(2), draws=1000)
    assert (quick.value, quick.low, quick.high) == pytest.approx((slow.value, slow.low, slow.high), abs=0.01)
    with pytest.raises(InputError, match="at least one draw"):
        bootstrap_auc(label, score, np.random.default_rng(1), draws=0)


def test_separated_classes_leave_doubt_in_the_bootstrap_too():
    """Five of five independent pairs: Clopper-Pearson's lower limit is 0.025^(1/5)."""
    label = np.repeat([True, False], 5)
    found = bootstrap_auc(label, label.astype(float), np.random.default_rng(0))
    assert found.low == pytest.approx(0.025 ** (1 / 5))


def test_everything_about_one_sample():
    """Quartiles by hand, of eight positives at 3 5 6 7 8 8 9 9 tenths: places 1.75, 3.5, 5.25 from 0."""
    found = performance(LABEL, SCORE, 0.5)
    assert (found.positive, found.negative) == (8, 12)
    assert found.auc == auc(LABEL, SCORE)
    assert found.auc_bootstrap == bootstrap_auc(LABEL, SCORE, np.random.default_rng(0))
    assert found.point == operating_point(LABEL, SCORE, 0.5)
    assert found.point.sensitivity.value == 6 / 8
    assert found.difference.p == mann_whitney(LABEL, SCORE).p
    quartiles = dataclasses.astuple(found.difference.positive)
    assert quartiles == pytest.approx((0.575, 0.75, 0.825))
    assert dataclasses.astuple(found.difference.negative) == pytest.approx((0.2, 0.3, 0.425))
    assert found.calibration == calibrate(LABEL, SCORE)


def test_a_score_that_is_no_probability_has_no_calibration():
    found = performance(LABEL, 10 * SCORE - 5, 0.0, probability=False)
    assert found.calibration is None
    assert found.auc.value == 0.875
    with pytest.raises(InputError, match="lie outside 0 to 1"):
        performance(LABEL, 10 * SCORE - 5, 0.0)


def test_one_sample_has_one_interval():
    first = performance(LABEL, SCORE, 0.5)
    assert first == performance(LABEL, SCORE, 0.5)
    assert first.auc_bootstrap != performance(LABEL, SCORE, 0.5, seed=1).auc_bootstrap
    narrow = performance(LABEL, SCORE, 0.5, level=0.5)
    assert narrow.auc_bootstrap.high < first.auc_bootstrap.high
    assert narrow.point.accuracy.level == 0.5


def validation_2():
    """92 with COVID-19 and 25 bacterial, 15 mycoplasma and 29 viral cases; 73, 2, 3 and 8 called positive."""
    label = np.repeat([True, False], [92, 69])
    kind = np.repeat(["covid", "bacterial", "mycoplasma", "viral"], [92, 25, 15, 29])
    score = np.full(161, 0.2)
    for name, called in (("covid", 73), ("bacterial", 2), ("mycoplasma", 3), ("viral", 8)):
        score[np.flatnonzero(kind == name)[:called]] = 0.7
    return label, score, kind


def test_each_type_is_compared_with_all_who_have_covid():
    """The paper's validation 2-viral: 73 of 92 and 21 of 29; binary scores: AUC the mean of the two."""
    label, score, kind = validation_2()
    found = {s.value: s for s in performance_by(label, score, 0.5, {"type": kind})}
    assert list(found) == ["bacterial", "mycoplasma", "viral"]
    viral = found["viral"]
    assert (viral.positive, viral.negative, viral.reason) == (92, 29, "")
    assert viral.sensitivity.value == pytest.approx(73 / 92)
    assert viral.specificity.value == pytest.approx(21 / 29)
    assert viral.performance.auc.value == pytest.approx((73 / 92 + 21 / 29) / 2)
    assert viral.performance.point.accuracy.value == pytest.approx(94 / 121)


def test_each_severity_is_compared_with_all_others():
    severity = ["severe"] * 3 + ["mild"] * 5 + ["not known"] * 12
    mild, severe = performance_by(LABEL, SCORE, 0.5, {"severity": severity})
    assert [(s.value, s.positive, s.negative) for s in (mild, severe)] == [("mild", 5, 12), ("severe", 3, 12)]
    assert severe.sensitivity.value == 1
    assert severe.performance.auc == auc(np.repeat([True, False], [3, 12]), np.delete(SCORE, range(3, 8)))


def test_a_stratum_of_one_class_says_what_it_can():
    """Wilson for 7 of 8 above 0.35 and for 7 of 12 not above it: statsmodels 0.15.0."""
    centre = np.where(LABEL, "a", "b")
    a, b = performance_by(LABEL, SCORE, 0.35, {"centre": centre})
    assert (a.performance, a.specificity, a.reason) == (None, None, "no negative patient")
    assert (a.sensitivity.low, a.sensitivity.high) == pytest.approx(
        (0.5291118177871466, 0.9775825085499434), abs=1e-9
    )
    assert (b.performance, b.sensitivity, b.reason) == (None, None, "no positive patient")
    assert (b.specificity.low, b.specificity.high) == pytest.approx(
        (0.31951131254954973, 0.8067396863412435), abs=1e-9
    )


def test_strata_add_up_and_keep_their_order():
    strata = {"slices": ["thin", "thick"] * 10, "centre": ["x"] * 19 + ["not known"]}
    found = performance_by(LABEL, SCORE, 0.5, strata)
    assert [(s.covariate, s.value) for s in found] == [
        ("slices", "thick"), ("slices", "thin"), ("centre", "not known"), ("centre", "x"),
    ]  # fmt: skip
    assert sum(s.positive for s in found[:2]) == 8
    assert sum(s.negative for s in found[2:]) == 12
    assert found[0].performance.auc == auc(LABEL[1::2], SCORE[1::2])


def test_no_number_is_nan_in_any_stratum():
    """Tiny strata, ties, separation, one class: everything is a number or None with a reason."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        label = np.append(rng.random(28) < 0.5, [True, False])
        score = np.where(rng.random(30) < 0.3, label, rng.random(30)).round(1)
        strata = {"centre": rng.integers(0, 12, 30), "type": rng.integers(0, 5, 30)}
        for part in performance_by(label, score, 0.5, strata):
            assert (part.performance is None) == bool(part.reason)
            for number in numbers(dataclasses.asdict(part)):
                assert math.isfinite(number)


def numbers(value):
    """Every number of a nested result."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, float | int):
        yield value


def test_what_is_no_sample_is_refused():
    """Row 30."""
    with pytest.raises(InputError, match="two classes are needed, found 20 positive, 0 negative"):
        performance(np.ones(20, bool), SCORE, 0.5)
    with pytest.raises(InputError, match="two classes are needed, found 0 positive, 20 negative"):
        performance_by(np.zeros(20, bool), SCORE, 0.5, {"centre": ["x"] * 20})
    with pytest.raises(InputError, match="threshold is NaN"):
        performance_by(LABEL, SCORE, math.nan, {"centre": ["x"] * 20})
    with pytest.raises(InputError, match="centre: the stratum of 1 of 20 patients is missing"):
        performance_by(LABEL, SCORE, 0.5, {"centre": ["x"] * 19 + [None]})
