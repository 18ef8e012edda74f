"""Cohorts at which one model or one number cannot be had: the rest of the study stands, and notes say why."""

from dataclasses import replace

from lifelines.datasets import load_rossi
import numpy as np
import pytest

from covid19net.errors import InputError
from covid19net.prognosis.concordance import time_dependent_auc
from covid19net.prognosis.cox import cox_table
from covid19net.prognosis.model import About
from covid19net.prognosis.optimism import optimism
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.partial import maximise, risk_sets
from covid19net.prognosis.stepwise import Procedure
from covid19net.study import prognosis as module
from covid19net.study import prognosis_tables as tables
from covid19net.study.prognosis import study_end_point
from covid19net.study.record import plain
from covid19net.study.report import summary
from covid19net.study.run import compute, gather
from tests.study_cohort import OPTIONS, WEIGHTS, cohort, sets_of, written


def studied(folder, change, end_point="discharge", options=OPTIONS, draws=0):
    """The study of the cohort after a change of each row; the other sets are left out."""
    rows, found = cohort()
    rows = [row | change(row) for row in rows if row["set"] != "validation 1"]
    about = About("made-up", end_point, WEIGHTS, "Apache-2.0", "tests", "tests")
    sets = sets_of(folder, rows, found)
    return study_end_point(sets, end_point, options, lambda _: about, draws=draws)


@pytest.mark.parametrize("unit", [1e-5, 1e4])
def test_a_cox_table_does_not_depend_on_units(unit):
    """lifelines warns of a variance below 1e-4, which DL features can have; R takes them as they are."""
    data = load_rossi()
    outcome = Outcome(data["week"].to_numpy(), data["arrest"].to_numpy())
    x, names = data[["fin", "age", "prio"]].to_numpy(float), ["fin", "age", "prio"]
    per = dict.fromkeys(names, unit)
    one, other = cox_table(outcome, x, names), cox_table(outcome, x * unit, names, per=per)
    for ours, theirs in zip(one.rows, other.rows, strict=True):
        assert theirs.coefficient * unit == pytest.approx(ours.coefficient, rel=1e-6)
        assert theirs.p == pytest.approx(ours.p, rel=1e-6)
        assert theirs.proportional_p == pytest.approx(ours.proportional_p, rel=1e-6)


def test_a_covariate_alike_in_all_who_are_censored_has_a_table():
    """Two censored patients of one sex separate nothing: by hand, discordant events in both sexes."""
    outcome = Outcome(np.arange(1.0, 13), np.array([1] * 10 + [0, 0]))
    sex = np.array([0, 1, 0, 1, 1, 0, 0, 1, 0, 1, 1, 1.0])[:, None]
    row = cox_table(outcome, sex, ["sex_male"]).rows[0]
    assert abs(row.coefficient) < 3 * row.standard_error


def test_collinear_clinical_values_cost_nothing(tmp_path):
    study = studied(tmp_path, lambda row: {"comorbidity": row["sex"] == "M"})
    assert study.model is not None
    assert all(judged.clinical_concordance is not None for judged in study.sets.values())


def test_a_comorbidity_that_separates_costs_the_clinical_model_alone(tmp_path):
    """The one training patient with a comorbidity is the first to leave: its hazard ratio is infinite."""
    rows, _ = cohort()
    mine = [row for row in rows if row["set"] == "training" and row["days"] and row["discharged"]]
    first = min(mine, key=lambda row: row["days"])["patient_id"]
    study = studied(tmp_path, lambda row: {"comorbidity": row["patient_id"] == first})
    assert study.model is not None
    assert [judged.clinical_concordance for judged in study.sets.values()] == [None, None]
    assert any(note.startswith("clinical alone: ") for note in study.notes)


def test_who_has_no_entry_is_counted(tmp_path):
    """died is filled in for the dead alone: the others are left out, and that is said."""
    study = studied(
        tmp_path, lambda row: {"icu": row.get("icu") or ""} if row["set"] == "training" else {}, "icu"
    )
    training = study.sets["training"].followed
    assert training.outcome.event.all()
    assert f"{107 - training.outcome.size} of 107 patients" in training.notes[0]
    assert "column icu is empty" in training.notes[0]


def test_the_dead_without_discharged_are_counted(tmp_path):
    dead = sum(bool(row["died"]) for row in cohort()[0] if row["set"] == "training")
    assert dead > 0
    study = studied(tmp_path, lambda row: {"discharged": ""} if row["died"] else {})
    assert f"{dead} of 107 patients" in study.sets["training"].followed.notes[0]


def test_the_first_day_without_cases_costs_that_day_alone(tmp_path):
    """In validation 3 nobody leaves before day 12; the censoring that weights undo is its own."""

    def later(row):
        return {"days": row["days"] + 12} if row["set"] == "validation 3" and row["days"] else {}

    study = studied(tmp_path, later)
    judged = study.sets["validation 3"]
    days = [one.day for one in study.sets["training"].timed]
    assert 0 < len(judged.timed) < len(days)
    assert any("AUC by day" in note for note in judged.notes)
    outcome = judged.followed.outcome
    for one in judged.timed:
        assert one == time_dependent_auc(outcome, outcome, -judged.risk, [one.day])[0]


def test_a_selection_that_cannot_be_made_is_a_reason(tmp_path):
    """From the full model, 67 covariates and fewer events."""
    rows, _ = cohort()
    kept = [row["patient_id"] for row in rows if row["set"] == "training" and row["days"]][:40]

    def few(row):
        return {"label": "other"} if row["set"] == "training" and row["patient_id"] not in kept else {}

    how = replace(OPTIONS, procedure=Procedure(direction="backward"))
    assert "discharge is not studied: the full model" in studied(tmp_path, few, options=how)


def test_an_optimism_that_cannot_be_had_costs_itself_alone(tmp_path, monkeypatch):
    def none(*given, **more):
        return optimism(*given, **{**more, "draws": 0})

    monkeypatch.setattr(module, "optimism", none)
    study = studied(tmp_path, lambda _: {}, draws=2)
    assert study.optimism is None
    assert study.model is not None
    assert any(note.startswith("optimism: ") for note in study.notes)


def test_what_was_filled_in_is_said_where_nothing_was_selected(tmp_path):
    """No likelihood ratio has so small a p."""
    how = replace(OPTIONS, missing="median", procedure=Procedure(criterion="p", enter=1e-12))
    study = studied(tmp_path, lambda row: {"age": ""} if row["patient_id"].endswith("7") else {}, options=how)
    assert study.model is None
    assert any("filled in" in note for note in study.notes)


def test_a_likelihood_that_only_flattens_has_no_maximum():
    """By hand: 1 / (2 + exp(3 b)) rises to 1/2 as b falls and reaches it nowhere."""
    outcome = Outcome(np.array([6.0, 6, 6]), np.array([0, 0, 1]))
    with pytest.raises(InputError, match="converge"):
        maximise(risk_sets(outcome, np.array([[3.0], [0], [0]])))


def test_separated_samples_have_no_maximum():
    """Who has the covariate leaves before everybody else, or after: the hazard ratio is 0 or infinite."""
    rng = np.random.default_rng(1)
    for _ in range(100):
        days = 5 + np.sort(rng.integers(1, 30, 12)).cumsum().astype(float)
        event = rng.random(12) < 0.7
        event[[0, -1]] = True
        x = (np.arange(12) < rng.integers(1, 11)).astype(float)
        if event[x == 1].any() and event[x == 0].any():
            with pytest.raises(InputError):
                maximise(risk_sets(Outcome(days, event.astype(int)), x[:, None]))


def test_a_record_of_a_penalised_selection_holds_no_nan(tmp_path):
    study = studied(tmp_path, lambda _: {}, options=replace(OPTIONS, procedure=Procedure(most=1, ridge=5.0)))
    assert plain(study.selection)["steps"][0]["move"]["p"] is None
    assert tables.selection_table(study).rows[1][3] == "NA"


def test_intensive_care_on_day_0_is_not_waited_for(tmp_path):
    """Five followed patients of the training set are admitted to it at once."""
    rows, _ = cohort()
    cared = [row["patient_id"] for row in rows if row["set"] == "training" and row["icu"]][:5]
    study = studied(tmp_path, lambda row: {"icu_days": 0} if row["patient_id"] in cared else {}, "icu")
    training = study.sets["training"].followed
    assert training.notes == ("5 of 107 patients are left out: intensive care on day 0",)
    assert training.outcome.size == 102


def test_the_console_says_which_line_is_resubstitution(tmp_path):
    rows, found = cohort()
    rows = [row | {"type": "", "severity": ""} for row in rows if row["set"] != "validation 1"]
    options = replace(OPTIONS, draws=0, end_points=())
    source = written(tmp_path, rows, found)
    results = compute(source, gather(source, tmp_path, options, _quiet), options, _quiet)
    starts = [line.split(":")[0] for line in summary(results) if line.startswith("discharge")]
    assert starts == ["discharge, training (resubstitution)", "discharge, validation 3"]


def _quiet(*_):
    pass
