"""The bootstrap of the whole procedure: noise must look like noise afterwards."""

from lifelines.datasets import load_rossi
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.optimism import optimism
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.stepwise import Procedure

ROSSI = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]


def noise(patients=100, covariates=10, seed=0):
    rng = np.random.default_rng(seed)
    outcome = Outcome(np.ceil(rng.exponential(15, patients)), (rng.random(patients) < 0.8).astype(int))
    return outcome, rng.normal(size=(patients, covariates)), [f"x{i}" for i in range(covariates)]


def test_selection_from_noise_is_unmasked():
    """The truth is known: no covariate matters, C in new patients is 0.5. Mean of 12 samples."""
    how = Procedure(direction="forward")
    found = [optimism(*noise(seed=i), how, seed=i, draws=10, workers=1) for i in range(12)]
    assert np.mean([each.apparent.value for each in found]) > 0.56
    assert np.mean([each.corrected for each in found]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([each.slope for each in found if each.slope is not None]) < 0.6
    for each in found:
        assert each.optimism == pytest.approx(each.apparent.value - each.corrected)
        assert (each.draws, each.failed) == (10, {})


def test_the_result_does_not_depend_on_the_workers():
    told = []
    data = load_rossi()
    sample = Outcome(data["week"].to_numpy(), data["arrest"].to_numpy()), data[ROSSI].to_numpy(), ROSSI
    one = optimism(*sample, seed=3, draws=6, workers=1)
    two = optimism(*sample, seed=3, draws=6, workers=2, progress=lambda *done: told.append(done))
    assert one == two
    assert told == [(i, 6) for i in range(1, 7)]
    assert optimism(*sample, seed=4, draws=6, workers=1) != one


def test_a_real_model_keeps_most_of_its_promise():
    data = load_rossi()
    sample = Outcome(data["week"].to_numpy(), data["arrest"].to_numpy()), data[ROSSI].to_numpy(), ROSSI
    found = optimism(*sample, Procedure(direction="backward"), seed=0, draws=20, workers=1)
    assert 0 < found.optimism < 0.05
    assert 0.58 < found.corrected < found.apparent.value
    assert 0.6 < found.slope < 1
    assert found.selected["age"] > 0.8 > 0.5 > found.selected["paro"]
    assert list(found.selected) == ROSSI


def test_without_selection_c_is_a_half_and_there_is_no_slope():
    found = optimism(*noise(60, 3), Procedure(criterion="p", enter=1e-9), seed=0, draws=5, workers=1)
    assert (found.apparent.value, found.corrected, found.empty) == (0.5, 0.5, 5)
    assert found.slope is None


def test_draws_that_fail_are_counted_with_their_reason():
    """Two events among 8: about one draw in ten holds neither of them, (6/8)^8 = 0.1."""
    x = np.random.default_rng(0).normal(size=(8, 1))
    outcome = Outcome(np.arange(1, 9), np.array([0, 1, 0, 0, 1, 0, 0, 0]))
    found = optimism(outcome, x, ["x"], Procedure(criterion="p", enter=1e-9), seed=0, draws=200, workers=1)
    assert found.failed.keys() == {"no event among 8 patients: all are censored"}
    assert 8 <= found.failed["no event among 8 patients: all are censored"] <= 33
    assert found.empty == 200 - sum(found.failed.values())


def test_a_procedure_that_fails_on_all_patients_is_refused():
    outcome = Outcome(np.arange(1, 21.0), np.ones(20, int))
    with pytest.raises(InputError, match="full model"):
        optimism(outcome, -outcome.time[:, None], ["x"], Procedure(direction="backward"), seed=0, workers=1)
    with pytest.raises(InputError, match="at least one draw"):
        optimism(outcome, outcome.time[:, None], ["x"], seed=0, draws=0)
