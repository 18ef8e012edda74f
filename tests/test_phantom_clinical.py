"""Charts and hospital stays: known rates, a known hazard, and a sign that may never flip."""

import numpy as np
import pytest

from covid19net.phantom.clinical import (
    FEWEST_DAYS,
    RATES,
    SCALE,
    SHAPE,
    Chart,
    draw_chart,
    draw_stay,
    predictor_of,
)


def charts(count, age=(49, 0.01)):
    return [draw_chart(np.random.default_rng(k), 0.45, age) for k in range(count)]


def test_comorbidities_are_as_common_as_in_the_nationwide_cohort():
    # Guan 2020 Eur Respir J 55:2000547: hypertension 16.9 %, diabetes 8.2 % at a mean age of 48.9 years.
    drawn = charts(4000)
    for name, published in (("hypertension", 0.169), ("diabetes", 0.082)):
        assert np.mean([name in c.comorbidities for c in drawn]) == pytest.approx(published, abs=0.018)


def test_comorbidity_rises_with_age():
    young, old = (np.mean([bool(c.comorbidities) for c in charts(800, (age, 0.01))]) for age in (30, 75))
    assert old > 2 * young


def test_women_are_as_common_as_asked():
    assert np.mean([c.sex == "F" for c in charts(2000)]) == pytest.approx(0.45, abs=0.034)


def test_every_comorbidity_of_the_manifest_is_drawn():
    from covid19net.cohort import COMORBIDITIES

    assert set(RATES) == set(COMORBIDITIES)


def stays(severity, count=1500, age=49):
    chart = Chart("F", age, frozenset())
    return [draw_stay(np.random.default_rng(k), severity, chart) for k in range(count)]


def test_the_severe_stay_longer():
    """High risk is a low hazard of discharge: the predictor falls as severity rises, and the days rise."""
    mild, severe = stays(0.1), stays(0.8)
    assert mild[0].predictor > severe[0].predictor
    assert np.median([s.days for s in mild]) < np.median([s.days for s in severe])


def test_age_and_comorbidity_lengthen_the_stay_too():
    assert predictor_of(0.4, 70, comorbidity=False) < predictor_of(0.4, 40, comorbidity=False)
    assert predictor_of(0.4, 50, comorbidity=True) < predictor_of(0.4, 50, comorbidity=False)


def test_discharges_follow_the_planted_hazard():
    """Share still in hospital by the Weibull formula, from patients whose end is not cut short before."""
    severity, age = 0.39, 49  # a predictor of 0
    found = stays(severity, 4000, age)
    assert found[0].predictor == pytest.approx(0, abs=1e-9)
    # Nobody's data end before day 12; deaths until then are about 0.5 %.
    expected = np.exp((FEWEST_DAYS / SCALE) ** SHAPE - (12.0 / SCALE) ** SHAPE)
    assert np.mean([s.days >= 12 for s in found]) == pytest.approx(expected, abs=0.025)


def test_everyone_is_followed_for_more_than_five_days_and_ends_once():
    found = stays(0.9, 3000, 80)
    assert min(s.days for s in found) > FEWEST_DAYS
    assert not any(s.discharged and s.died for s in found)
    assert any(s.died for s in found)
    assert any(not s.discharged and not s.died for s in found)


def test_half_of_each_group_has_gone_by_the_median_of_its_hazard():
    # Median of a Weibull beyond day 5: scale * ((5 / scale)**shape + ln 2 * exp(-predictor))**(1 / shape).
    for severity in (0.2, 0.5):
        group = stays(severity, 4000)
        earlier = (FEWEST_DAYS / SCALE) ** SHAPE
        median = SCALE * (earlier + np.log(2) * np.exp(-group[0].predictor)) ** (1 / SHAPE)
        known = [s.days >= median for s in group if s.discharged or s.days >= median]
        assert np.mean(known) == pytest.approx(0.5, abs=0.12)  # data that end earlier pull it down a little


def test_intensive_care_comes_before_ventilation_and_more_often_to_the_severe():
    mild, severe = stays(0.1), stays(0.8)
    assert np.mean([s.icu_days is None for s in mild]) > np.mean([s.icu_days is None for s in severe]) + 0.1
    for stay in severe:
        if stay.ventilated_days is not None:
            assert stay.icu_days is not None
            assert stay.icu_days <= stay.ventilated_days <= stay.days
