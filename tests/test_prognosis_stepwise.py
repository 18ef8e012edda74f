"""Stepwise selection against what R's step prints, and against exhaustive search."""

from itertools import combinations
import math

from lifelines.datasets import load_lung, load_rossi
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import maximise, risk_sets
from covid19net.prognosis.screen import usable
from covid19net.prognosis.stepwise import Procedure, stepwise

LUNG = ["sex", "age", "ecog1", "ecog2", "ph.karno", "pat.karno", "meal.cal", "wt.loss"]
ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]

# step(coxph(Surv(time, status) ~ sex + age + ph.ecog.n + ph.karno + pat.karno + meal.cal + wt.loss)),
# direction = "both", on the 167 complete rows of survival::lung; ph.ecog.n is a factor of three levels, 3
# counted as 2. Printed in github.com/yifeixu0306/survival_final_project_group8, commit 13c4efa9.
# Each step: the AIC of the model, and that after each move.
R_STEPS = [
    (1004.72, {"meal.cal": 1002.7, "age": 1003.5, "pat.karno": 1004.4, "wt.loss": 1006.2, "ph.karno": 1006.5,
               "sex": 1010.7, "ecog": 1011.1}),
    (1002.74, {"age": 1001.5, "pat.karno": 1002.4, "wt.loss": 1004.2, "ph.karno": 1004.5, "meal.cal": 1004.7,
               "sex": 1009.0, "ecog": 1009.1}),
    (1001.48, {"pat.karno": 1001.1, "ph.karno": 1002.7, "age": 1002.7, "wt.loss": 1003.2, "meal.cal": 1003.5,
               "ecog": 1007.8, "sex": 1007.9}),
    (1001.13, {"pat.karno": 1001.5, "ph.karno": 1001.9, "wt.loss": 1002.0, "age": 1002.4, "meal.cal": 1003.1,
               "sex": 1007.9, "ecog": 1012.6}),
]  # fmt: skip


@pytest.fixture
def lung():
    data = load_lung().dropna()
    assert len(data) == 167
    data = data.assign(ecog1=data["ph.ecog"] == 1, ecog2=data["ph.ecog"] >= 2)
    return Outcome(data["time"].to_numpy(), data["status"].to_numpy()), data[LUNG].to_numpy(float)


@pytest.fixture
def rossi():
    data = load_rossi()
    return Outcome(data["week"].to_numpy(), data["arrest"].to_numpy()), data[ROSSI].to_numpy(float)


def aic(outcome, x, names, chosen):
    found = maximise(risk_sets(outcome, x[:, [names.index(name) for name in chosen]]))
    return -2 * found.log_likelihood + 2 * len(chosen)


def test_every_aic_r_prints_on_its_way(lung):
    model = set(LUNG)
    for start, moves in R_STEPS:
        assert aic(*lung, LUNG, sorted(model)) == pytest.approx(start, abs=0.0051)
        for name, printed in moves.items():
            moved = {"ecog1", "ecog2"} if name == "ecog" else {name}
            found = aic(*lung, LUNG, sorted(model ^ moved))
            assert float(f"{found:.6g}") == pytest.approx(
                printed, abs=0.0501
            )  # R rounds twice: 1009.053 is 1009.0
        model ^= {min(moves, key=moves.get)}


@pytest.mark.parametrize("direction", ["both", "backward"])
def test_lung_goes_the_way_r_goes(lung, direction):
    found = stepwise(*lung, LUNG, Procedure(direction=direction, start="full"))
    assert [(step.move.action, step.move.name) for step in found.steps] == [
        ("-", "meal.cal"), ("-", "age"), ("-", "pat.karno"),
    ]  # fmt: skip
    assert [round(step.move.criterion, 2) for step in found.steps] == [start for start, _ in R_STEPS[1:]]
    assert found.names == ("sex", "ecog1", "ecog2", "ph.karno", "wt.loss")
    assert found.indices == (0, 2, 3, 4, 7)
    assert found.full == pytest.approx(1004.72, abs=0.0051)
    assert found.steps[0].runner_up.name == "age"
    assert found.steps[0].runner_up.criterion == pytest.approx(1003.5, abs=0.051)
    # where R stops its next best is + pat.karno with 1001.5; backward alone it is - ph.karno with 1001.9
    refused = ("+", "pat.karno", 1001.5) if direction == "both" else ("-", "ph.karno", 1001.9)
    assert (found.refused.action, found.refused.name) == refused[:2]
    assert found.refused.criterion == pytest.approx(refused[2], abs=0.051)


def exhaustive(outcome, x, names, penalty):
    """The best model of all, by fitting every one of them."""
    best = (-2 * maximise(risk_sets(outcome, x)).null, ())
    for size in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), size):
            found = maximise(risk_sets(outcome, x[:, chosen]))
            best = min(best, (-2 * found.log_likelihood + penalty * size, chosen))
    return best


@pytest.mark.parametrize("how", [Procedure(), Procedure(start="full"), Procedure(direction="forward")])
def test_rossi_ends_at_the_best_of_all_models(rossi, how):
    value, chosen = exhaustive(*rossi, ROSSI, 2)
    found = stepwise(*rossi, ROSSI, how)
    assert found.indices == chosen
    last = found.steps[-1].move
    assert last.criterion == pytest.approx(value)
    assert last.df == len(chosen)


def test_what_n_the_bic_counts_is_an_option(rossi):
    for count, n in (("events", 114), ("patients", 432)):
        found = stepwise(*rossi, ROSSI, Procedure(criterion="bic", bic_count=count))
        value, chosen = exhaustive(*rossi, ROSSI, math.log(n))
        assert found.indices == chosen
        assert found.steps[-1].move.criterion == pytest.approx(value)


def test_p_values_are_those_of_the_likelihood_ratio_test(rossi):
    """R: anova of nested coxph models; fin, age and prio remain, Fox 2002 keeps the same three."""
    found = stepwise(*rossi, ROSSI, Procedure(direction="backward", criterion="p", enter=0.05, remain=0.1))
    assert found.names == ("fin", "age", "prio")
    for step in found.steps:
        assert step.move.action == "-"
        assert step.move.p == step.move.criterion > 0.1
    assert found.refused.p < 0.1
    assert found.full == pytest.approx(2.362e-5, rel=1e-3)  # R prints 33.27 on 7 df, p = 2.36e-05


def test_most_limits_either_way(rossi):
    for direction in ("forward", "backward", "both"):
        found = stepwise(*rossi, ROSSI, Procedure(direction=direction, start="full", most=2))
        assert found.names == ("age", "prio")


def test_noise_may_select_nothing():
    rng = np.random.default_rng(1)
    outcome = Outcome(rng.exponential(10, 100), np.ones(100, int))
    found = stepwise(
        outcome, rng.normal(size=(100, 3)), ["a", "b", "c"], Procedure(criterion="p", enter=1e-4)
    )
    assert found.names == found.steps == ()
    assert found.refused.p > 1e-4


def test_useless_columns_are_dropped_by_name_and_the_earlier_stay(rossi):
    outcome, x = rossi
    more = np.column_stack([x, np.ones(432), x[:, 1] - 2 * x[:, 6] + 3, x[:, 0] * (1 + 1e-9)])
    names = [*ROSSI, "one", "sum", "copy"]
    found = stepwise(outcome, more, names)
    assert [(d.name, d.of) for d in found.dropped] == [
        ("one", ()),
        ("sum", ("age", "prio")),
        ("copy", ("fin",)),
    ]
    assert found.names == stepwise(outcome, x, ROSSI).names
    first = stepwise(outcome, more[:, ::-1], names[::-1])
    assert {d.name for d in first.dropped} >= {"one", "fin"}


def test_more_columns_than_patients_are_not_called_collinear():
    x = np.random.default_rng(0).normal(size=(10, 15))
    kept, dropped = usable(x, [f"x{i}" for i in range(15)])
    assert (kept, dropped) == (list(range(15)), ())
    outcome = Outcome(np.arange(1, 11), np.ones(10, int))
    with pytest.raises(InputError, match="start empty"):
        stepwise(outcome, x, [f"x{i}" for i in range(15)], Procedure("backward"))


def test_equals_go_to_the_earlier_column():
    """b is a times minus one, but for rounding in its last digits not removed: forward must take a."""
    rng = np.random.default_rng(5)
    a, other = rng.normal(size=60), rng.normal(size=60)
    outcome = Outcome(np.exp(-a) * rng.exponential(1, 60), np.ones(60, int))
    outcome = Outcome(np.append(outcome.time, outcome.time), np.ones(120, int))
    first, second = np.append(a, other), np.append(other, a)  # the sample is the same with the halves changed
    found = stepwise(
        outcome, np.column_stack([second, first]), ["x", "y"], Procedure(direction="forward", most=1)
    )
    assert found.names == ("x",)
    assert found.steps[0].runner_up.criterion == pytest.approx(found.steps[0].move.criterion)


def test_a_covariate_without_a_fit_is_skipped_by_name(rossi):
    outcome, x = rossi
    separates = np.column_stack([x, -outcome.time - 100.0 * ~outcome.event])
    found = stepwise(outcome, separates, [*ROSSI, "perfect"])
    assert found.steps[0].skipped == ("perfect",)
    assert "perfect" not in found.names
    assert found.full is None
    with pytest.raises(InputError, match="full model of 8 covariates"):
        stepwise(outcome, separates, [*ROSSI, "perfect"], Procedure(direction="backward"))


def test_a_ridge_takes_degrees_of_freedom(rossi):
    plain, shrunk = stepwise(*rossi, ROSSI), stepwise(*rossi, ROSSI, Procedure(ridge=50))
    assert shrunk.steps[0].move.df < 0.8 < plain.steps[0].move.df == 1
    assert shrunk.steps[0].move.p is None


@pytest.mark.parametrize(
    "wrong", [{"direction": "up"}, {"enter": 0.2}, {"most": -1}, {"criterion": "p", "ridge": 1.0}]
)
def test_a_procedure_that_cannot_be(wrong):
    with pytest.raises(InputError):
        Procedure(**wrong)


def test_bad_covariates_are_named(rossi):
    outcome, x = rossi
    bad = x.copy()
    bad[3, 2] = np.nan
    with pytest.raises(InputError, match="race"):
        stepwise(outcome, bad, ROSSI)
    with pytest.raises(InputError, match="one name"):
        stepwise(outcome, x, ["a"] * 7)
    with pytest.raises(InputError, match="as many covariates"):
        stepwise(outcome, x, ROSSI[:3])


def test_more_columns_than_patients_hide_no_covariate():
    """Forty patients, 67 columns: any forty columns explain the rest, yet the last one is what matters."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 67))
    time = rng.exponential(size=40) * np.exp(2.5 * x[:, 66])
    names = [f"c{i}" for i in range(66)] + ["age"]
    chosen = stepwise(Outcome(time, np.ones(40, int)), x, names, Procedure(criterion="bic", most=2))
    assert chosen.dropped == ()
    assert chosen.steps[0].move.name == "age"
    twin = np.column_stack([x, -2 * x[:, 66] + 1])
    found = stepwise(Outcome(time, np.ones(40, int)), twin, [*names, "twin"], Procedure(most=1))
    assert [(lost.name, lost.of) for lost in found.dropped] == [("twin", ("age",))]
