"""A model taken to another hospital."""

from lifelines import CoxPHFitter
import numpy as np
import pandas as pd
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.curve import baseline
from covid19net.prognosis.model import predictor, risk_of
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.recalibrate import expected_events, ratio, recalibrate
from tests.prognostic_models import made_up_model, sample


def test_exact_poisson_limits_are_those_of_the_table():
    """Garwood: 10 events, 4.795 to 18.39; none, 0 to 3.689."""
    found = ratio(10, 1.0)
    assert (found.low, found.high) == (pytest.approx(4.795, abs=1e-3), pytest.approx(18.390, abs=1e-3))
    assert ratio(0, 1.0).high == pytest.approx(3.689, abs=1e-3)
    assert ratio(10, 5.0).value == 2


def test_expected_events_worked_out_by_hand():
    """Two alike of four leave on day 1, one on day 2: hazards 1/4 + 1/3, then 1/2. Each of those tied is
    exposed to 3/4 of day 1's, the third to all of it and day 2's, the last likewise.
    """
    outcome = Outcome(np.array([1.0, 1, 2, 2]), np.array([1, 1, 1, 0]))
    found = baseline(outcome, np.zeros((4, 1)), np.zeros(1))
    day_1, day_2 = 1 / 4 + 1 / 3, 1 / 2
    by_hand = 2 * 3 / 4 * day_1 + 2 * (day_1 + day_2)
    assert expected_events(found, outcome, np.zeros(4)) == pytest.approx(by_hand)
    later = Outcome(np.array([1.0, 1, 2, 9]), np.array([1, 1, 1, 1]))  # nothing is claimed beyond day 2
    assert expected_events(found, later, np.zeros(4)) == pytest.approx(by_hand)


def test_a_slower_hospital_is_found_and_mended():
    """Planted: stays 1.5 times as long, Weibull of shape 2, so hazards 1 / 2.25 of those in training."""
    model = made_up_model(size=3000)
    outcome, x = sample(seed=9, size=2000, scale=24.0)
    new, found = recalibrate(model, outcome, x, "hospital B")
    assert found.before.value == pytest.approx(1 / 2.25, rel=0.08)
    assert found.before.high < 0.6
    assert found.after.value == pytest.approx(1, abs=0.002)
    assert found.slope.low < 1 < found.slope.high
    average = np.log(2) ** 0.5
    assert np.interp(0.5, 1 - np.exp(-new.baseline.hazard), new.baseline.day) == pytest.approx(
        24 * average, abs=0.8
    )
    assert found.cut == model.cut == new.cut
    assert found.local_median == pytest.approx(float(np.median(risk_of(model, x))))


def test_without_ties_the_new_baseline_expects_exactly_what_was_seen():
    outcome, x = sample(seed=4, size=80)
    untied = Outcome(outcome.time + np.linspace(0, 0.5, 80), outcome.cause)
    _, found = recalibrate(made_up_model(), untied, x, "B")
    assert found.expected_after == pytest.approx(found.events, rel=1e-12)


def test_the_slope_is_the_one_of_lifelines():
    model = made_up_model()
    outcome, x = sample(seed=5, size=120)
    _, found = recalibrate(model, outcome, x, "B")
    frame = pd.DataFrame({"p": predictor(model, x), "t": outcome.time, "e": outcome.event})
    theirs = CoxPHFitter().fit(frame, "t", "e").confidence_intervals_.to_numpy()[0]
    np.testing.assert_allclose([found.slope.low, found.slope.high], theirs, rtol=1e-4)


def test_both_sources_are_named_and_a_demonstration_stays_one():
    outcome, x = sample(seed=5, size=120)
    model = made_up_model(demonstration=False)
    new, _ = recalibrate(model, outcome, x, "hospital B, 120 patients")
    assert new.about.origin == "made up; baseline hazard: hospital B, 120 patients"
    assert new.about.provenance["seed"] == 1
    assert new.about.provenance["recalibration"]["patients"] == 120
    assert not new.about.demonstration
    assert recalibrate(model, outcome, x, "B", demonstration=True)[0].about.demonstration
    assert recalibrate(made_up_model(), outcome, x, "B")[0].about.demonstration
    assert (new.coefficients == model.coefficients).all()
    assert (new.baseline.centre == model.baseline.centre).all()


def test_the_competing_hazard_is_the_hospitals_own():
    outcome, x = sample(seed=5, size=120)
    model = made_up_model()
    new, _ = recalibrate(model, outcome, x, "B")
    deaths = np.unique(outcome.time[outcome.cause == 2])
    assert (new.competing.baseline.day == deaths).all()
    alive = Outcome(outcome.time, np.where(outcome.cause == 2, 0, outcome.cause))
    assert recalibrate(model, alive, x, "B")[0].competing is None


def test_too_few_events_are_refused():
    outcome, x = sample(seed=5, size=120)
    nine = np.where(np.cumsum(outcome.event) <= 9, outcome.cause, 0)
    with pytest.raises(InputError, match="at least 10 events, got 9"):
        recalibrate(made_up_model(), Outcome(outcome.time, nine), x, "B")
    with pytest.raises(InputError, match="origin"):
        recalibrate(made_up_model(), outcome, x, " ")
    with pytest.raises(InputError, match="do not fit"):
        recalibrate(made_up_model(), outcome, x[:, :2], "B")
