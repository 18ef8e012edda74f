"""The answers to checklists: they say what was done in this study, and nothing that was not."""

from dataclasses import replace

import pytest

from covid19net.prognosis.outcome import Outcome
from covid19net.report.checklist import checklist
from covid19net.study.facts import facts_of
from covid19net.study.run import compute, gather
from tests.study_cohort import OPTIONS, cohort, written


def quiet(*_):
    pass


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Discharge and death of stored features, with a density baseline."""
    folder = tmp_path_factory.mktemp("facts")
    rows, found = cohort()
    rows = [row for row in rows if row["set"] != "validation 1"]
    options = replace(OPTIONS, draws=0, end_points=())
    source = written(folder, rows, found)
    return compute(source, gather(source, folder, options, quiet), options, quiet)


def without(results, **changed):
    """The same study with another first end point, or with a diagnosis that lacks something."""
    (study,) = results.prognoses
    return replace(results, prognoses=(replace(study, **changed),))


def changed_sets(results, change):
    (study,) = results.prognoses
    return without(results, sets={name: change(judged) for name, judged in study.sets.items()})


def test_every_answer_belongs_to_an_item(results):
    assert checklist(facts_of(results))


def test_scans_that_were_not_read_stand_nowhere_twice(results):
    stored = facts_of(results)["partitions"]
    assert "scans were not read" in stored
    assert "no path of a scan" not in stored
    read = facts_of(replace(results, source=replace(results.source, features=None)))["partitions"]
    assert "no path of a scan stands twice" in read
    assert "not compared" in read


def test_a_baseline_is_claimed_where_there_is_one(results):
    assert facts_of(results)["robustness"] == "Reported: other thresholds, a density baseline, strata."
    bare = replace(results.diagnosis, baseline=None)
    assert "baseline" not in facts_of(replace(results, diagnosis=bare))["robustness"]


def test_strata_are_those_of_the_manifest(results):
    """Typed from the columns of the cohort: it holds no year and no contrast."""
    said = facts_of(results)["strata"]
    for covariate in ("centre", "type", "kernel", "vendor", "sex", "age", "severity"):
        assert covariate in said
    sets = {name: replace(measured, strata=()) for name, measured in results.diagnosis.sets.items()}
    bare = facts_of(replace(results, diagnosis=replace(results.diagnosis, sets=sets)))
    assert bare["strata"] == ""
    assert "strata" not in bare["robustness"]


def test_a_part_of_the_training_set_is_not_external(results):
    assert list(results.diagnosis.sets)[:2] == ["training", "training-viral"]
    said = facts_of(results)["external"]
    assert said == "Sets not used for threshold or prognosis: validation 3, validation 3-viral."


def test_what_competes_is_another_event_than_the_end_point(results):
    assert "; death competes." in facts_of(results)["outcome"]
    assert "; discharge competes." in facts_of(without(results, end_point="death"))["outcome"]
    assert "; discharge or death competes." in facts_of(without(results, end_point="icu"))["outcome"]

    def alone(judged):
        outcome = Outcome(judged.followed.outcome.time, judged.followed.outcome.event.astype(int))
        return replace(judged, followed=replace(judged.followed, outcome=outcome))

    assert "; no other event competes." in facts_of(changed_sets(results, alone))["outcome"]


def test_measures_are_those_that_were_taken(results):
    said = facts_of(results)["measures"]
    for word in ("AUC (DeLong", "decision curves; concordance", "log-rank", "hazard ratios", "AUC by day"):
        assert word in said
    assert "AUC by day" not in facts_of(changed_sets(results, lambda j: replace(j, timed=())))["measures"]
    assert "log-rank" not in facts_of(changed_sets(results, lambda j: replace(j, test=None)))["measures"]
    assert "hazard ratios" not in facts_of(without(results, table=None))["measures"]
    assert facts_of(replace(results, prognoses=()))["measures"].endswith("decision curves")
    assert facts_of(replace(results, diagnosis=None))["measures"].startswith("concordance")
