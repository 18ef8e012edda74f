"""A prognostic model: risk and its sign, what is missing, and its file."""

import csv
from dataclasses import replace
import hashlib
import json
from pathlib import Path

from lifelines import CoxPHFitter
import numpy as np
import pandas as pd
import pytest

from covid19net.errors import InputError, WeightsError
from covid19net.prognosis import model_file
from covid19net.prognosis.fit import fit_model
from covid19net.prognosis.model import (
    Clinical,
    missing,
    patient_covariates,
    predict,
    predictor,
    risk_of,
)
from covid19net.prognosis.model_file import find_model, model_sha256, read_model, write_model
from covid19net.prognosis.outcome import Outcome
from covid19net.weights.registry import bundled_files
from tests.prognostic_models import ABOUT, NAMES, made_up_model, sample

FEATURES = np.linspace(-1, 1, 64)
KNOWN = Clinical(age=60, sex="F", comorbidity=True)


def test_the_coefficients_are_those_of_lifelines():
    outcome, x = sample()
    frame = pd.DataFrame(x, columns=list(NAMES)).assign(t=outcome.time, e=outcome.event)
    theirs = CoxPHFitter().fit(frame, "t", "e")
    model = made_up_model()
    np.testing.assert_allclose(model.coefficients, theirs.params_.to_numpy(), rtol=1e-4)
    np.testing.assert_allclose(model.covariance, theirs.variance_matrix_.to_numpy(), rtol=1e-3)
    frame = pd.DataFrame(x, columns=list(NAMES)).assign(t=outcome.time, e=outcome.cause == 2)
    dying = CoxPHFitter().fit(frame, "t", "e")
    assert (outcome.cause == 2).sum() >= 30  # enough for three covariates
    np.testing.assert_allclose(model.competing.coefficients, dying.params_.to_numpy(), rtol=1e-3)


def test_high_risk_stays_longer_and_the_cut_halves_the_training_sample():
    outcome, x = sample()
    model = made_up_model()
    risk = risk_of(model, x)
    np.testing.assert_allclose(risk, -predictor(model, x))
    high = risk >= model.cut
    assert high.sum() == 150
    assert np.median(outcome.time[high & outcome.event]) > np.median(outcome.time[~high & outcome.event])


def test_for_a_bad_end_point_the_risk_is_the_log_hazard():
    outcome, x = sample()
    death = fit_model(
        Outcome(outcome.time, np.array([0, 2, 1])[outcome.cause]), x, NAMES, replace(ABOUT, end_point="death")
    )
    np.testing.assert_allclose(risk_of(death, x), predictor(death, x))
    assert death.coefficients[1] > 0.005  # planted: the old die more often
    assert (risk_of(death, x) >= death.cut).sum() == 150


def test_a_patients_covariates_stand_in_the_models_order():
    model = made_up_model()
    assert patient_covariates(model, FEATURES, KNOWN).tolist() == [FEATURES[3], 60, 1]
    sexed = replace(model, covariates=("sex_male", "f63", "f00"))
    man = patient_covariates(sexed, FEATURES, Clinical(sex="M"))
    assert man.tolist() == [1, FEATURES[63], FEATURES[0]]
    assert patient_covariates(sexed, FEATURES, KNOWN)[0] == 0


def test_what_is_missing_is_named_and_nothing_is_filled_in():
    model = made_up_model()
    assert missing(model, KNOWN, "0" * 64) == ()
    assert missing(model, Clinical(), "0" * 64) == ("age", "comorbidity")  # sex is no covariate of it
    assert missing(model, KNOWN, "1" * 64) == ("a prognostic model made for these diagnosis weights",)
    with pytest.raises(InputError, match="needs age, comorbidity"):
        predict(model, FEATURES, Clinical(sex="F"))


def test_the_prognosis_of_an_average_patient_is_the_baseline():
    model = made_up_model()
    features = np.zeros(64)
    features[3] = model.baseline.centre[0]
    mean = replace(model, covariates=("f03", "age", "f04"))
    features[4] = model.baseline.centre[2]
    found = predict(mean, features, Clinical(age=float(model.baseline.centre[1])))
    assert found.risk == pytest.approx(0, abs=1e-12)
    assert found.group == ("high" if model.cut <= 0 else "low")
    inner = np.searchsorted(found.curve.day, model.baseline.day)
    np.testing.assert_allclose(found.curve.probability[inner], 1 - np.exp(-model.baseline.hazard))
    assert (found.curve.with_competing <= found.curve.probability + 1e-12).all()
    assert found.curve.with_competing[-1] < found.curve.probability[-1]


def test_a_value_unlike_the_training_sample_is_told():
    found = predict(made_up_model(), FEATURES, Clinical(age=119, sex="M", comorbidity=False))
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("age is 119, in training it was ")
    assert predict(made_up_model(), FEATURES, KNOWN).warnings == ()


def test_few_competing_events_come_alike_to_everyone():
    outcome, x = sample(size=60)
    assert 0 < (outcome.cause == 2).sum() < 30
    model = fit_model(outcome, x, NAMES, ABOUT)
    assert (model.competing.coefficients == 0).all()
    without = Outcome(outcome.time, np.where(outcome.cause == 1, 1, 0))
    assert fit_model(without, x, NAMES, ABOUT).competing is None


def test_a_model_comes_back_from_its_file_as_it_was(tmp_path):
    model = made_up_model()
    path = write_model(tmp_path / "model.json", model)
    again = read_model(path)
    assert again.about == model.about
    mine, theirs = predict(model, FEATURES, KNOWN), predict(again, FEATURES, KNOWN)
    for name in ("day", "probability", "low", "high", "with_competing"):
        assert (getattr(mine.curve, name) == getattr(theirs.curve, name)).all()
    assert (mine.risk, mine.cut, mine.group) == (theirs.risk, theirs.cut, theirs.group)
    assert model_sha256(model) == hashlib.sha256(path.read_bytes()).hexdigest()
    again = write_model(tmp_path / "again.json", made_up_model())
    assert again.read_bytes() == path.read_bytes()  # the same data give the same file
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["again.json", "model.json"]


def _without(key):
    return lambda values: values.pop(key)


def _with(key, value):
    return lambda values: values.update({key: value})


def _about(**changes):
    return lambda values: values["about"].update(changes)


def _baseline(**changes):
    return lambda values: values["baseline"].update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_with("format", 2), "format 1"),
        (_without("cut"), "'cut' is missing"),
        (_with("colour", "red"), "'colour' is unknown"),
        (_with("cut", True), "'cut' must be a number"),
        (_with("cut", "0.1"), "'cut' must be a number"),
        (_with("cut", 10**400), "too large"),
        (_with("coefficients", [0.1]), "3 covariates"),
        (_with("coefficients", [0.1, "0.2", 0.3]), "'coefficients' must be a number"),
        (_with("covariance", [[1, 0, 0], [0, 1], [0, 0, 1]]), "different lengths"),
        (_with("covariance", [[1, 0, 0], [0, -1, 0], [0, 0, 1]]), "negative variance"),
        (_with("covariance", [[1, 1, 0], [0, 1, 0], [0, 0, 1]]), "not symmetric"),
        (_with("covariates", ["f03", "age", "age"]), "units"),
        (_with("covariates", ["f64", "age", "comorbidity"]), "units"),
        (_with("units", []), "units"),
        (_with("lowest", [9, 999, 9]), "above its highest"),
        (_with("competing", {}), "'competing': 'baseline' is missing"),
        (_with("about", None), "'about' must be an object"),
        (_about(end_point="boredom"), "discharge, death"),
        (_about(diagnosis_sha256="F" * 64), "hexadecimal"),
        (_about(demonstration="no"), "'demonstration' must be of type bool"),
        (_about(author="me"), "'author' is unknown"),
        (_baseline(horizon=1.0), "before the last event"),
        (_baseline(day=[]), "cannot hold"),
    ],
)
def test_a_faulty_file_is_one_clear_line(tmp_path, change, says):
    path = write_model(tmp_path / "model.json", made_up_model())
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    with pytest.raises(WeightsError) as fault:
        read_model(path)
    assert says in str(fault.value)
    assert str(fault.value).startswith(f"{path}: ")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b"[1]", "format 1"),
        (b"{}", "format 1"),
        (b" " * (model_file.LARGEST_MODEL + 1), "longer than"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, data, says):
    path = tmp_path / "model.json"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=says):
        read_model(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(WeightsError, match="missing"):
            read_model(path)


def test_what_json_cannot_hold_is_never_written(tmp_path):
    model = made_up_model()
    for metric in (float("nan"), object()):
        with pytest.raises(InputError, match="JSON"):
            write_model(
                tmp_path / "m.json", replace(model, about=replace(ABOUT, metrics={"concordance": metric}))
            )
    with pytest.raises(InputError, match="cannot be written"):
        write_model(tmp_path / "no folder" / "m.json", model)
    assert list(tmp_path.iterdir()) == []


def test_bundled_means_no_model_or_the_trusted_one(tmp_path, monkeypatch):
    assert find_model("none") is None
    path = write_model(tmp_path / "discharge.json", made_up_model())
    assert find_model(str(path)).about.name == "test-discharge"
    monkeypatch.setattr(model_file, "BUNDLED_PATH", path)
    monkeypatch.setattr(model_file, "BUNDLED_SHA256", None)
    assert find_model("bundled") is None
    monkeypatch.setattr(model_file, "BUNDLED_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    assert find_model("bundled").about.name == "test-discharge"
    path.write_text(path.read_text().replace("made up", "exchanged"))
    with pytest.raises(WeightsError, match="not the file that ships"):
        find_model("bundled")


def test_the_shipped_model_is_a_demonstration_for_the_shipped_weights():
    model = find_model("bundled")
    assert model.about.demonstration
    assert model.about.diagnosis_sha256 == bundled_files()["diagnosis"].card.sha256
    assert {"patients": 301, "events": 229}.items() <= model.about.provenance.items()
    assert "covid19net phantom cohort" in model.about.provenance["command"]


def test_the_shipped_cut_is_the_median_risk_of_its_training_patients():
    """Their features are stored with five digits; 150 of 301 lie below, as in the paper."""
    model = find_model("bundled")
    path = Path(__file__).parent / "reference" / "phantom-features.csv"
    rows = list(csv.DictReader(path.read_text().splitlines()))
    names = ["sex" if name == "sex_male" else name for name in model.covariates]
    risk = risk_of(model, np.array([[float(row[name]) for name in names] for row in rows]))
    assert np.median(risk) == pytest.approx(model.cut, abs=1e-3)
    assert abs((risk < model.cut).sum() - 150) <= 1


def test_age_and_comorbidity_raise_the_shipped_risk_as_planted():
    """Planted log hazard ratios of discharge: -0.20 for ten years, -0.40 for a comorbidity."""
    model, features = find_model("bundled"), np.zeros(64)
    young = predict(model, features, Clinical(30, "F", comorbidity=False))
    old = predict(model, features, Clinical(80, "F", comorbidity=False))
    ill = predict(model, features, Clinical(80, "F", comorbidity=True))
    assert young.risk < old.risk < ill.risk
    assert young.curve.median < ill.curve.median
