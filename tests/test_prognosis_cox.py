"""Cox tables against what R prints, and the penalised model."""

import csv
from pathlib import Path

from lifelines import CoxPHFitter
from lifelines.datasets import load_lung, load_rossi
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.cox import cox_table, per_sd, univariable
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import likelihood, maximise, risk_sets
from covid19net.prognosis.ridge import choose_ridge, ridge_path

ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


@pytest.fixture
def rossi():
    data = load_rossi()
    return Outcome(data["week"].to_numpy(), data["arrest"].to_numpy()), data[ROSSI].to_numpy(float)


def test_lung_as_r_prints_it():
    """summary(coxph(Surv(time, status) ~ age + sex + ph.ecog, data = lung)), R's best known example."""
    data = load_lung().dropna(subset=["ph.ecog"])
    outcome = Outcome(data["time"].to_numpy(), data["status"].to_numpy())
    table = cox_table(outcome, data[["age", "sex", "ph.ecog"]].to_numpy(), ["age", "sex", "ph.ecog"])
    assert (table.patients, table.events) == (227, 164)
    assert [round(row.coefficient, 6) for row in table.rows] == [0.011067, -0.552612, 0.463728]
    assert [round(row.standard_error, 6) for row in table.rows] == [0.009267, 0.167739, 0.113577]
    assert [row.p for row in table.rows] == pytest.approx([0.232416, 0.000986, 4.45e-5], rel=2e-3)
    sex = table.rows[1].hazard_ratio
    assert [round(v, 4) for v in (sex.value, sex.low, sex.high)] == [0.5754, 0.4142, 0.7994]
    assert round(table.concordance.value, 3) == 0.637
    assert f"{table.p:.0e}" == "1e-06"  # likelihood ratio test = 30.5 on 3 df
    assert table.aic == pytest.approx(-2 * table.log_likelihood + 6)
    assert table.notes == ()


def test_proportional_hazards_of_rossi_as_fox_prints_them(rossi):
    """cox.zph(coxph(Surv(week, arrest) ~ fin + age + prio)), survival 2.x: Fox 2002, appendix, section 4.1.

    chisq 0.00507, 6.54118, 0.77263 and GLOBAL 7.12999 on 3 df.
    """
    table = cox_table(rossi[0], rossi[1][:, [0, 1, 6]], ["fin", "age", "prio"])
    assert [row.proportional_p for row in table.rows] == pytest.approx([0.9433, 0.0105, 0.3794], abs=6e-4)
    assert table.proportional_p == pytest.approx(0.0679, abs=1e-4)


def test_units_scale_the_ratio_and_nothing_else(rossi):
    sd = per_sd(rossi[1], ROSSI)
    assert sd["age"] == pytest.approx(load_rossi()["age"].std())
    one, many = cox_table(*rossi, ROSSI), cox_table(*rossi, ROSSI, per={"age": 10})
    assert many.rows[1].hazard_ratio.value == pytest.approx(one.rows[1].hazard_ratio.value ** 10)
    assert many.rows[1].hazard_ratio.low == pytest.approx(one.rows[1].hazard_ratio.low ** 10)
    assert (many.rows[1].coefficient, many.rows[1].per) == (one.rows[1].coefficient, 10)
    assert many.rows[0] == one.rows[0]
    for wrong in ({"height": 1.0}, {"age": 0.0}):
        with pytest.raises(InputError, match="units"):
            cox_table(*rossi, ROSSI, per=wrong)


def test_one_covariate_at_a_time(rossi):
    outcome, x = rossi
    more = np.column_stack([x, np.ones(432), -outcome.time - 100.0 * ~outcome.event])
    found = univariable(outcome, more, [*ROSSI, "one", "perfect"])
    assert [row.name for row in found.rows] == ROSSI
    assert [d.name for d in found.dropped] == ["one", "perfect"]
    theirs = CoxPHFitter().fit(load_rossi()[["week", "arrest", "prio"]], "week", "arrest").summary.loc["prio"]
    row = found.rows[6]
    assert row.coefficient == pytest.approx(theirs["coef"], abs=1e-7)
    assert row.hazard_ratio.high == pytest.approx(theirs["exp(coef) upper 95%"], abs=1e-5)
    assert row.p == pytest.approx(theirs["p"], rel=2e-3)  # their error is of the step before last
    assert row.proportional_p is None


def test_both_fits_agree_with_a_ridge(rossi):
    table, ours = cox_table(*rossi, ROSSI, ridge=20), maximise(risk_sets(*rossi), ridge=20)
    assert [row.coefficient for row in table.rows] == pytest.approx(ours.coefficients, abs=5e-5)
    assert table.log_likelihood == pytest.approx(ours.log_likelihood, abs=1e-3)


def test_models_without_a_fit_say_why_and_do_not_warn(rossi):
    outcome, x = rossi
    with pytest.raises(InputError, match="copy: collinear with fin"):
        cox_table(outcome, np.column_stack([x, x[:, 0]]), [*ROSSI, "copy"])
    with pytest.raises(InputError, match="one: the same"):
        cox_table(outcome, np.column_stack([x, np.ones(432)]), [*ROSSI, "one"])
    with pytest.raises(InputError, match="there are none"):
        cox_table(outcome, x[:, []], [])
    with pytest.raises(InputError, match="all are censored"):
        cox_table(Outcome(outcome.time, np.zeros(432, int)), x, ROSSI)
    few = Outcome(np.arange(1, 21.0), np.ones(20, int))
    with pytest.raises(InputError, match="converge"):
        cox_table(few, -np.arange(20.0)[:, None], ["perfect"])


def test_cross_validated_likelihood_by_leaving_one_event_out_twice():
    """Two folds worked out with the definition: all less the others, at the coefficients of the others."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(40, 3))
    outcome = Outcome(np.exp(-x[:, 0]) * rng.exponential(1, 40), np.ones(40, int))
    found = choose_ridge(outcome, x, np.random.default_rng(0), folds=2, ridges=np.array([1.0, 30]))
    fold = np.empty(40, int)
    fold[np.random.default_rng(0).permutation(40)] = np.arange(40) % 2
    whole, expected = risk_sets(outcome, x), 0.0
    for number in (0, 1):
        rest = risk_sets(outcome[fold != number], x[fold != number], like=whole)
        beta = maximise(rest, ridge=1.0).coefficients * whole.scale
        expected += likelihood(whole, beta)[0] - likelihood(rest, beta)[0]
    assert found.scores[0] == pytest.approx(expected)


def test_noise_is_shrunk_away_and_a_strong_effect_is_not():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(200, 20))
    noise = Outcome(rng.exponential(10, 200), np.ones(200, int))
    found = choose_ridge(noise, x, rng)
    assert np.abs(found.coefficients).max() < 0.1
    assert found.ridge >= 200
    real = Outcome(np.exp(-x[:, 0]) * rng.exponential(10, 200), np.ones(200, int))
    found = choose_ridge(real, x, rng)
    assert found.coefficients[0] > 0.6
    assert not found.at_edge
    path = ridge_path(real, x, found.ridges)
    assert (np.diff(np.abs(path).sum(1)) < 0).all()
    assert path[found.ridges == found.ridge][0] == pytest.approx(found.coefficients, abs=1e-6)


def test_folds_and_penalties_that_cannot_be(rossi):
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="114 events"):
        choose_ridge(*rossi, rng, folds=115)
    with pytest.raises(InputError, match="above 0"):
        choose_ridge(*rossi, rng, ridges=np.array([0.0, 1]))


def test_strong_collinear_features_reach_the_maximum():
    """From 0 lifelines stops far from the maximum here; a maximum is where the likelihood is flat."""
    columns = ["f04", "f17", "f18", "f19", "f42", "f44", "f55", "age"]
    path = Path(__file__).parent / "reference" / "phantom-features.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))[:60]
    x = np.array([[float(row[name]) for name in columns] for row in rows])
    standard = (x - x.mean(0)) / x.std(0)
    late = standard @ [-5, -2, -3, 11, -5, -4, 9, 0.5]
    outcome = Outcome(np.random.default_rng(0).exponential(size=60) * np.exp(late), np.ones(60, int))
    table = cox_table(outcome, x, columns)
    beta = np.array([row.coefficient for row in table.rows]) * x.std(0)
    value, gradient, _ = likelihood(risk_sets(outcome, x), beta)
    assert np.abs(gradient).max() < 1e-6
    assert table.log_likelihood == pytest.approx(value)
