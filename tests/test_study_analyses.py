"""Analyses of a study: the same numbers as a single analysis, made once, and a bad scan is a row."""

from dataclasses import replace
import json

import numpy as np
import pytest

from covid19net.cohort import Patient
from covid19net.errors import InputError
from covid19net.io import write_volume
from covid19net.study import analyses
from covid19net.study.analyses import analysis_key, analyze_cohort


@pytest.fixture(scope="module")
def patient(phantom, tmp_path_factory):
    """The phantom on disk, without a lung mask."""
    path = tmp_path_factory.mktemp("study") / "ct.nii.gz"
    write_volume(phantom.volume, path)
    return Patient("p", 2, {"scan": path})


@pytest.fixture(scope="module")
def first(patient, models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("analyses")
    found, failures = analyze_cohort([patient], models, folder)
    assert failures == ()
    return found["p"], folder


def test_a_study_says_what_a_single_analysis_says(first, case):
    analysis, _ = first
    assert analysis.probability == pytest.approx(case.probability, abs=1e-6)
    assert np.allclose(analysis.features, case.features, atol=1e-5)
    assert analysis.distance == pytest.approx(case.feature_distance.value, rel=1e-4)
    assert analysis.density["lung_ml"] == pytest.approx(sum(case.lung_millilitres), rel=0.001)


def test_nobody_is_analyzed_twice(first, patient, models, monkeypatch):
    analysis, folder = first
    monkeypatch.setattr(analyses, "scan_and_lungs", lambda *_: pytest.fail("analyzed again"))
    found, _ = analyze_cohort([patient], models, folder)
    assert found["p"].probability == analysis.probability
    assert np.array_equal(found["p"].features, analysis.features)


def test_a_damaged_analysis_is_made_again(first, patient, models):
    analysis, folder = first
    path = folder / f"{analysis_key(patient, models)}.json"
    path.write_text(json.dumps({"recipe": analyses.RECIPE, "probability": 0.1}))
    found, _ = analyze_cohort([patient], models, folder)
    assert found["p"].probability == analysis.probability


def test_other_weights_make_another_key(patient, models):
    card = replace(models.weights.diagnosis.card, sha256="0" * 64)
    weights = replace(models.weights, diagnosis=replace(models.weights.diagnosis, card=card))
    assert analysis_key(patient, models) != analysis_key(patient, replace(models, weights=weights))


def test_a_bad_scan_is_a_row_with_its_reason(first, patient, models, tmp_path):
    _, folder = first
    (tmp_path / "bad.nii.gz").write_bytes(b"no scan")
    bad = Patient("q", 3, {"scan": tmp_path / "bad.nii.gz"})
    told = []
    found, (failure,) = analyze_cohort([bad, patient], models, folder, progress=lambda *p: told.append(p))
    assert list(found) == ["p"]
    assert (failure.patient_id, failure.row) == ("q", 3)
    assert "bad.nii.gz" in failure.reason
    assert told == [(1, 2), (2, 2)]
    with pytest.raises(InputError, match="none of 1 scans"):
        analyze_cohort([bad], models, folder)


def test_a_folder_that_cannot_be_written_stops_the_study(patient, models, tmp_path, monkeypatch):
    prepared = analyses._Prepared("key", image=np.zeros((48, 240, 360), np.float32))
    monkeypatch.setattr(analyses, "_prepare", lambda *_: prepared)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"key\.json"):
        analyze_cohort([patient], models, tmp_path / "file" / "analyses")
