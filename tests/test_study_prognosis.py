"""The prognostic half of a study: planted hazards are found, the direction and the cut hold everywhere."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.errors import EmptySampleError, InputError
from covid19net.prognosis.model import About
from covid19net.prognosis.outcome import Outcome
from covid19net.prognosis.screen import Dropped
from covid19net.prognosis.stepwise import Procedure
from covid19net.study import prognosis_tables as tables
from covid19net.study.grades import grades_of
from covid19net.study.prognosis import EndPointStudy, study_end_point
from covid19net.study.support import Support, support_of
from tests.study_cohort import LONGER, OPTIONS, SHORTER, WEIGHTS, cohort, sets_of


def about(end_point: str) -> About:
    return About("made-up", end_point, WEIGHTS, "Apache-2.0", "tests", "tests")


def studied(sets, end_point="discharge", options=OPTIONS, **more):
    return study_end_point(sets, end_point, options, lambda _: about(end_point), **more)


def with_rows(folder, change):
    """Sets of the cohort after a change of each row."""
    rows, found = cohort()
    return sets_of(folder, [change(i, row) for i, row in enumerate(rows)], found)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return sets_of(tmp_path_factory.mktemp("sets"), *cohort())


@pytest.fixture(scope="module")
def discharge(sets):
    return studied(sets)


@pytest.fixture(scope="module")
def icu(sets):
    return studied(sets, "icu")


def log_hazards(study: EndPointStudy) -> dict[str, float]:
    return dict(zip(study.model.covariates, study.model.coefficients.tolist(), strict=True))


def events_per_day(judged, group):
    """Crude rate of the event in a group, with numpy alone."""
    outcome, chosen = judged.followed.outcome, judged.group == group
    return outcome.event[chosen].sum() / outcome.time[chosen].sum()


def test_the_planted_features_are_found_with_their_signs(discharge):
    """The stay is 6 + 18 sqrt(E exp(1.2 f07 - 0.9 f21)), E exponential: beyond day 6 the log hazard ratios
    are -1.2 and 0.9 a unit."""
    found = log_hazards(discharge)
    assert {f"f{LONGER:02d}", f"f{SHORTER:02d}"} <= found.keys()
    spread = dict(zip(discharge.model.covariates, np.sqrt(np.diag(discharge.model.covariance)), strict=True))
    for place, planted in ((LONGER, -1.2), (SHORTER, 0.9)):
        assert abs(found[f"f{place:02d}"] - planted) < 2.6 * spread[f"f{place:02d}"]


def test_high_risk_stays_longer_in_every_set(discharge):
    for judged in discharge.sets.values():
        assert events_per_day(judged, "high") < events_per_day(judged, "low") / 1.5
        high = judged.group == "high"
        assert judged.followed.part.features[high, LONGER].mean() > 0
        assert judged.followed.part.features[~high, LONGER].mean() < 0


def test_the_direction_is_that_of_the_end_point_and_not_of_the_data(tmp_path):
    """With the feature turned round its coefficient turns, and risk still points to the longer stay."""
    rows, found = cohort()
    turned = {
        name: replace(one, features=np.where(np.arange(64) == LONGER, -one.features, one.features))
        for name, one in found.items()
    }
    study = studied(sets_of(tmp_path, rows, turned))
    assert study.model.sign == -1
    assert log_hazards(study)[f"f{LONGER:02d}"] > 0.5
    for judged in study.sets.values():
        assert events_per_day(judged, "high") < events_per_day(judged, "low")


def test_more_risk_of_what_is_bad_is_more_hazard(icu):
    assert icu.model.sign == 1
    assert log_hazards(icu)[f"f{LONGER:02d}"] > 0.5
    for judged in icu.sets.values():
        assert events_per_day(judged, "high") > events_per_day(judged, "low")


def test_the_cut_is_the_training_median_and_the_same_elsewhere(discharge):
    training = discharge.sets["training"]
    assert discharge.model.cut == pytest.approx(np.median(training.risk))
    assert abs((training.group == "high").sum() - (training.group == "low").sum()) <= 1
    for judged in discharge.sets.values():
        assert ((judged.risk >= discharge.model.cut) == (judged.group == "high")).all()
    others = [discharge.sets[name] for name in ("validation 1", "validation 3")]
    assert any(np.median(judged.risk) != pytest.approx(discharge.model.cut, abs=0.02) for judged in others)


def test_validation_sets_are_judged_and_never_learned_from(sets, discharge):
    alone = studied({"training": sets["training"]})
    assert np.array_equal(alone.model.coefficients, discharge.model.coefficients)
    assert alone.model.cut == discharge.model.cut
    assert alone.selection.names == discharge.selection.names


def test_the_followed_are_those_of_the_manifest(discharge):
    rows, _ = cohort()
    for name, judged in discharge.sets.items():
        mine = [row for row in rows if row["set"] == name and row["label"] == "covid"]
        assert judged.followed.outcome.size == sum(row["days"] > 5 for row in mine)
        assert judged.followed.outcome.event.sum() == sum(bool(row["discharged"]) for row in mine)
        assert (judged.followed.outcome.cause == 2).sum() == sum(bool(row["died"]) for row in mine)
        assert judged.followed.covariates.shape == (len(mine), 67)
        assert judged.followed.covariates[:, 64].tolist() == [row["age"] for row in mine]
        assert judged.followed.covariates[:, 65].tolist() == [row["sex"] == "M" for row in mine]


def test_the_penalised_model_makes_the_groups_when_it_is_asked_for(sets, discharge):
    study = studied(sets, options=replace(OPTIONS, model="penalised"))
    assert len(study.model.covariates) == 67
    assert study.selection.names == discharge.selection.names
    training = study.sets["training"]
    assert training.concordance.value == pytest.approx(training.ridge_concordance.value)
    assert discharge.sets["training"].concordance == discharge.sets["training"].selected_concordance
    assert study.optimism is None
    for judged in study.sets.values():
        assert events_per_day(judged, "high") < events_per_day(judged, "low")


def test_few_events_are_a_reason(sets, tmp_path):
    """Nine of the training set are discharged; ten are needed."""
    seen = []

    def nine(_, row):
        if row["set"] == "training" and row["label"] == "covid" and row["discharged"]:
            seen.append(row)
            return row | {"discharged": len(seen) <= 9}
        return row

    assert "9 events in the set 'training'; 10 are needed" in studied(with_rows(tmp_path, nine))
    assert "nobody in the set 'training'" in studied(sets, "ventilation")


def test_a_set_without_an_event_is_left_out_and_named(tmp_path):
    sets = with_rows(
        tmp_path, lambda _, row: row | ({"discharged": "no"} if row["set"] == "validation 1" else {})
    )
    study = studied(sets)
    assert list(study.sets) == ["training", "validation 3"]
    assert any("validation 1" in note and "no event" in note for note in study.notes)


def old_gap(i, row):
    """Every fifth patient's age is not known."""
    return row | ({"age": ""} if i % 5 == 0 else {})


def test_a_missing_age_is_refused_with_its_rows(tmp_path):
    with pytest.raises(InputError, match=r"age is empty in rows .*choose to exclude.*--missing median"):
        studied(with_rows(tmp_path, old_gap))


def test_excluding_leaves_out_who_has_no_age(tmp_path):
    sets = with_rows(tmp_path, old_gap)
    study = studied(sets, options=replace(OPTIONS, missing="exclude"))
    for judged in study.sets.values():
        assert all("age" in patient.values for patient in judged.followed.part.patients)
        assert len(judged.followed.part.patients) == judged.risk.size == judged.followed.covariates.shape[0]
        assert "left out" in judged.followed.notes[0]


def test_the_median_of_the_training_set_fills_every_set(tmp_path):
    rows, _ = cohort()
    sets = with_rows(tmp_path, old_gap)
    study = studied(sets, options=replace(OPTIONS, missing="median"))
    known = [
        row["age"]
        for i, row in enumerate(rows)
        if row["set"] == "training" and row["label"] == "covid" and i % 5
    ]
    for judged in study.sets.values():
        gap = np.array(["age" not in patient.values for patient in judged.followed.part.patients])
        assert gap.any()
        assert set(judged.followed.covariates[gap, 64].tolist()) == {float(np.median(known))}
        assert f"{np.median(known):g}" in judged.followed.notes[0]


def test_a_set_in_which_nobody_is_left_does_not_stop_the_others(tmp_path):
    sets = with_rows(tmp_path, lambda _, row: row | ({"age": ""} if row["set"] == "validation 3" else {}))
    study = studied(sets, options=replace(OPTIONS, missing="exclude"))
    assert list(study.sets) == ["training", "validation 1"]
    assert any("validation 3" in note and "nobody is left" in note for note in study.notes)


def test_a_fault_is_known_by_its_kind_and_not_by_its_words(tmp_path, monkeypatch):
    def empty(*_, **__):
        raise EmptySampleError("said in other words")

    monkeypatch.setattr("covid19net.study.prognosis.clinical", empty)
    said = studied(with_rows(tmp_path, lambda _, row: row))
    assert said == "discharge is not studied: training: said in other words"


def test_a_stay_in_intensive_care_without_its_day_costs_that_end_point_alone(tmp_path):
    first = next(i for i, row in enumerate(cohort()[0]) if row["set"] == "training" and row["icu"])
    sets = with_rows(tmp_path, lambda i, row: row | ({"icu_days": ""} if i == first else {}))
    said = studied(sets, "icu")
    assert said.startswith("intensive care is not studied: training: follow-up: row ")
    assert f"row {first + 2} column icu_days is empty" in said
    assert studied(sets).model is not None


def test_contradictions_of_the_follow_up_are_refused(tmp_path):
    with pytest.raises(InputError, match="row 5: both discharged and died"):
        with_rows(tmp_path, lambda _, row: row | ({"died": True} if row.get("discharged") else {}))


def test_grades_are_judged_by_the_same_cut(discharge):
    for judged in discharge.sets.values():
        mild, severe = grades_of(judged, discharge.model.sign)
        assert (mild.name, severe.name) == ("mild", "severe")
        assert mild.patients + severe.patients == judged.risk.size
        assert [c.name for c in mild.curves] == ["low", "high"]
        for grade in (mild, severe):
            assert sum(curve.patients for curve in grade.curves) == grade.patients
            events = sum(curve.events for curve in grade.curves)
            assert (grade.concordance is None) == (events < 10)
            if grade.concordance is not None:
                assert grade.concordance.value > 0.5
        for place, name in enumerate(("low", "high")):
            both = mild.curves[place].events + severe.curves[place].events
            assert both == judged.followed.outcome.event[judged.group == name].sum()


def test_a_grade_with_one_group_says_why(discharge):
    judged = discharge.sets["training"]
    alone = replace(judged, group=np.full(judged.group.shape, "low"))
    for grade in grades_of(alone, -1):
        assert grade.test is None
        assert "two groups" in grade.reason
    text = tables.grades_table("discharge", {"training": grades_of(alone, -1)}).text()
    assert "two groups are needed" in text


def test_optimism_is_estimated_when_draws_are_asked_for(sets, discharge):
    assert discharge.optimism is None
    told = []
    study = studied(sets, draws=2, progress=lambda *p: told.append(p))
    assert study.optimism.draws == 2
    assert told[-1] == (2, 2)
    assert study.optimism.apparent.value == pytest.approx(study.sets["training"].concordance.value)


def test_events_enough_are_no_reason_to_warn(discharge):
    """By hand: ten candidates and 100 events are just enough, 99 are not."""
    dropped = tuple(Dropped(f"f{i:02d}", "the same for every patient") for i in range(57))
    selection = replace(discharge.selection, dropped=dropped)
    outcome = Outcome(np.arange(1.0, 201), np.repeat([1, 0], 100))
    assert support_of(outcome, selection, 67) == Support(100, 10, 10.0)
    assert support_of(outcome, selection, 67).warning == ""
    assert "99 events for 10 candidate covariates, 9.9 events a candidate" in Support(99, 10, 9.9).warning


def test_small_p_values_of_a_selection_are_not_zero(sets):
    """The planted effects have likelihood ratios far beyond 15.1, where p is 0.0001 (chi squared, df 1)."""
    study = studied(sets, options=replace(OPTIONS, procedure=Procedure(criterion="p", most=2)))
    table = tables.selection_table(study)
    assert table.rows[1][2] == "< 0.0001"
    assert not any(row[2] == "0.00" for row in table.rows)


def test_the_causes_say_on_whom_their_covariates_were_selected(discharge):
    assert discharge.causes
    assert any("selected on these patients" in note for note in tables.causes_table(discharge).notes)


def test_groups_beside_the_numbers_of_figure_4(discharge):
    """Wang et al. 2020, Figure 4: 150 low and 151 high; 32 and 21; log-rank p of the sets."""
    rows = tables.groups_table(discharge).rows
    by_name = {row[0]: i for i, row in enumerate(rows)}
    for name, p, low, high in (
        ("training", "p < 0.0001", "150", "151"),
        ("validation 3", "p 0.013", "32", "21"),
    ):
        place = by_name[name]
        assert [row[-1] for row in rows[place : place + 3]] == [p, low, high]
    place = by_name["validation 1"]
    assert [row[-1] for row in rows[place : place + 3]] == ["", "", ""]
    training = rows[by_name["training"] + 1 :][:2]
    assert [int(row[1]) for row in training] == [53, 54]  # 107 with COVID-19


def test_numbers_at_risk_are_counted_by_hand(discharge):
    first = tables.at_risk_table(discharge).rows[0]
    judged = discharge.sets["training"]
    time = judged.followed.outcome.time[judged.group == "low"]
    assert first[0] == "training, low risk"
    assert first[1:-1] == tuple(str((time >= day).sum()) for day in (0, 10, 20, 30, 40, 50))
    assert first[-1] == "150 141 93 39 12 0"


def test_numbers_of_the_paper_stand_beside_discharge_alone(icu, discharge):
    """The paper studied discharge; its three features and its curves are of no other end point."""
    assert "paper" not in tables.selection_table(icu).text()
    assert "paper's selection chose 3" in tables.selection_table(discharge).text()
    text = tables.groups_table(icu).text().lower()
    assert "published" not in text
    assert "paper" not in text
    assert tables.at_risk_table(discharge) is not None
