"""A synthetic cohort on disk: complete, resumable, without a word of the truth in the manifest."""

import csv
from dataclasses import replace
import json

import numpy as np
import pytest

from covid19net.cohort import read_manifest
from covid19net.errors import InputError
from covid19net.io import read_ct
from covid19net.phantom.centres import plan_case, plan_cohort
from covid19net.synthetic import Options, draw_subject, make_cohort, write_subject
from covid19net.synthetic import cohort as cohort_module
from covid19net.synthetic.subjects import best_score

OPTIONS = Options(seed=3)


@pytest.fixture(scope="module")
def subject():
    return draw_subject(plan_case("covid", "Henan"), OPTIONS)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """One patient of each class of validation 2, and one of each EGFR status."""
    out = tmp_path_factory.mktemp("cohort")
    plans = plan_cohort(1e-6, ("auxiliary", "validation 2"))
    return plans, out, make_cohort(plans, out, OPTIONS)


def test_a_patient_depends_on_seed_and_number_alone(subject):
    again = draw_subject(plan_case("covid", "Henan"), OPTIONS)
    other = draw_subject(plan_case("covid", "Henan"), replace(OPTIONS, seed=4))
    assert np.array_equal(again.case.volume.hu, subject.case.volume.hu)
    assert again.stay == subject.stay
    assert not np.array_equal(other.case.volume.hu, subject.case.volume.hu)


def test_the_scan_of_the_lungs_has_the_size_training_needs(subject):
    assert subject.case.volume.shape[1:] == (240, 360)
    assert subject.case.volume.shape[0] <= 48
    assert subject.case.patient.sex == subject.chart.sex
    assert subject.case.patient.age == subject.chart.age


def test_what_is_written_is_read_back(subject, tmp_path):
    truth = write_subject(subject, tmp_path / "case", OPTIONS)
    volume = read_ct(tmp_path / "case" / "ct.nii.gz").volume
    assert np.array_equal(volume.hu, np.maximum(subject.case.volume.hu, -1024))
    for name in ("lungs", "lobes", "lesions"):
        mask = read_ct(tmp_path / "case" / f"{name}.nii.gz").volume
        assert np.allclose(mask.affine, volume.affine, atol=1e-3)
        assert np.array_equal(mask.hu, getattr(subject.case, name).values)
    assert json.loads((tmp_path / "case" / "truth.json").read_text()) == truth
    assert truth["class"] == "covid"
    assert truth["days"] > 5
    ml = np.prod(volume.spacing) / 1000
    lesions = subject.case.lesions.values
    assert truth["ground_glass_ml"] == pytest.approx((lesions == 1).sum() * ml, rel=0.01, abs=0.01)


def test_dicom_cases_are_read_back_too(subject, tmp_path):
    options = replace(OPTIONS, form="dicom")
    write_subject(subject, tmp_path / "case", options)
    scan = read_ct(tmp_path / "case" / "ct")
    assert np.array_equal(scan.volume.hu, np.maximum(subject.case.volume.hu, -1024))


def test_a_case_that_cannot_be_written_leaves_nothing(subject, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cohort_module, "write_volume", full)
    with pytest.raises(Exception, match="No space left"):
        write_subject(subject, tmp_path / "case", OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_else_is_left_alone(subject, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="left alone"):
        write_subject(subject, tmp_path, OPTIONS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_older_synthetic_patient_is_replaced(subject, tmp_path):
    write_subject(subject, tmp_path / "case", OPTIONS)
    (tmp_path / "case" / "note.txt").write_text("old")
    write_subject(subject, tmp_path / "case", OPTIONS)
    assert not (tmp_path / "case" / "note.txt").exists()


def test_follow_up_does_not_change_the_scan():
    plan = replace(plan_case("covid", "Henan"), followed=False)
    without, with_it = (draw_subject(p, OPTIONS) for p in (plan, replace(plan, followed=True)))
    assert without.stay is None
    assert with_it.stay is not None
    assert np.array_equal(without.case.volume.hu, with_it.case.volume.hu)


def test_the_manifest_is_one_a_hospital_could_have_written(cohort):
    plans, _, manifest = cohort
    patients = read_manifest(manifest, needs=["scan", "lungs", "centre", "set", "age", "sex"])
    assert len(patients) == len(plans) == 6
    by_set = {}
    for p in patients:
        by_set.setdefault(p.values["set"], []).append(p.values)
    assert {v["egfr"] for v in by_set["auxiliary"]} == {"mutant", "wild"}
    assert all("label" not in v for v in by_set["auxiliary"])
    assert sorted(v["type"] for v in by_set["validation 2"]) == ["bacterial", "covid", "mycoplasma", "viral"]
    assert all((v["label"] == "covid") == (v["type"] == "covid") for v in by_set["validation 2"])
    assert all("comorbidity" not in v for v in by_set["validation 2"])  # missing there in Table 1
    assert all("comorbidity" in v and v["synthetic"] is True for v in by_set["auxiliary"])
    header = manifest.read_text().splitlines()[0]
    assert not {"pattern", "predictor", "best_score"} & set(header.split(","))
    assert {v.get("severity") for v in by_set["validation 2"]} <= {"mild", "severe", None}


def test_the_truth_stands_beside_it(cohort):
    plans, out, manifest = cohort
    with (out / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    ids = [p.patient_id for p in read_manifest(manifest)]
    assert [row["patient_id"] for row in rows] == ids
    assert [row["class"] for row in rows] == [plan.kind for plan in plans]
    # No class in any name that a network or a reader could see.
    assert not any(kind in row["patient_id"] for row in rows for kind in ("covid", "viral", "wild"))


def test_a_second_run_keeps_what_is_there_and_completes_the_rest(cohort):
    plans, out, manifest = cohort
    table = manifest.read_bytes()
    kept, lost = (out / "cases" / p.name for p in sorted((out / "cases").iterdir())[:2])
    before = (kept / "truth.json").stat().st_mtime_ns
    (lost / "truth.json").unlink()
    seen = []
    make_cohort(plans, out, OPTIONS, progress=lambda done, count: seen.append((done, count)))
    assert (kept / "truth.json").stat().st_mtime_ns == before
    assert (lost / "truth.json").exists()
    assert manifest.read_bytes() == table
    assert seen[-1] == (6, 6)


def test_other_options_make_other_patients_anew(cohort):
    plans, out, _ = cohort
    folder = out / "cases" / sorted((out / "cases").iterdir())[0].name
    plan = next(p for p in plans if folder.name.endswith(f"{p.number:07d}"))
    assert cohort_module._made(folder, plan, OPTIONS)
    assert not cohort_module._made(folder, plan, replace(OPTIONS, seed=9))


def test_the_best_score_of_covid_is_that_of_its_pattern(subject):
    from covid19net.phantom.pneumonias import log_likelihood_ratio

    # Wang et al. 2020, Table 1, training set (Wuhan and Henan).
    training = {"bacterial": 127, "mycoplasma": 11, "viral": 0, "fungal": 11}
    pattern = subject.case.patient.disease.pattern
    assert best_score(subject) == pytest.approx(log_likelihood_ratio(pattern, training))


def test_a_confounder_outside_zero_to_one_is_refused():
    with pytest.raises(InputError, match="between 0 and 1"):
        Options(confounder=1.5)
