"""The commands that look into the network, on a phantom and a cohort of made-up features."""

import json

import nibabel
import numpy as np
import pytest

from covid19net.cli import main
from covid19net.cohort import Patient
from covid19net.explain import deletion, filters, sanity
from covid19net.features import Analysis, write_features
from covid19net.report.case import write_case


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    said = capsys.readouterr()
    return stop.value.code, said.out + said.err


def test_maps(case, phantom_dicom, tmp_path, capsys):
    code, said = run(capsys, "explain", "maps", phantom_dicom, "-o", tmp_path, "--stage", "block3")
    assert code == 0, said
    assert (tmp_path / "maps.png").exists()
    # The default stage by torch is the map of every result by OpenVINO, up to rounding to percents.
    found = np.asarray(nibabel.load(tmp_path / "heatmap-block3.nii.gz").dataobj).transpose(2, 1, 0)
    assert np.abs(found.astype(int) - case.heatmap.values).max() <= 1
    fine = np.asarray(nibabel.load(tmp_path / "heatmap-finer.nii.gz").dataobj).transpose(2, 1, 0)
    assert fine.max() == 100
    assert fine[found == 0].sum() < 0.05 * fine.sum()


def test_a_stage_that_is_none_is_refused_before_any_work(phantom_dicom, tmp_path, capsys):
    code, said = run(capsys, "explain", "maps", phantom_dicom, "-o", tmp_path, "--stage", "block9")
    assert code == 2
    assert "no stage block9" in said


def test_evidence_is_basic_or_full(phantom_dicom, tmp_path, capsys):
    code, said = run(capsys, "analyze", phantom_dicom, "-o", tmp_path, "--evidence", "some")
    assert code == 2
    assert "choose basic or full" in said
    for options, tested in ((), True), (("--evidence", "basic"), False):
        code, said = run(capsys, "analyze", phantom_dicom, "-o", tmp_path, *options)
        assert code == 0, said
        assert "Heat map: " in said
        assert ("stability" in said) == tested
        stable = json.loads((tmp_path / "result.json").read_text())["map_evidence"]["stability"]
        assert (stable["noise"] > 0.9) if tested else (stable is None)


def test_sanity(phantom_dicom, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(deletion, "ORDERS", 1)
    monkeypatch.setattr(deletion.curves, "__kwdefaults__", {"steps": 2, "progress": None})
    monkeypatch.setattr(sanity, "_CASCADE", {"score": ("head.predict",)})
    code, said = run(capsys, "explain", "sanity", phantom_dicom, "-o", tmp_path)
    assert code == 0, said
    assert "randomised weights: " in said
    record = json.loads((tmp_path / "sanity.json").read_text())
    assert record["deletion_insertion"]["deletion"][0] == pytest.approx(record["probability"], abs=1e-4)
    assert len(record["randomised_weights"]["correlation_all_randomised"]) == 3
    assert (tmp_path / "sanity.png").exists()


def test_filters(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        filters.Recipe.__init__, "__defaults__", (2, *filters.Recipe.__init__.__defaults__[1:])
    )
    code, said = run(capsys, "explain", "filters", "-o", tmp_path, "--count", 1)
    assert code == 0, said
    record = json.loads((tmp_path / "filters.json").read_text())
    assert set(record["activation"]) == set(filters.DEPTHS)
    for depth in filters.DEPTHS:
        assert (tmp_path / f"filters-{depth}.png").exists()


def test_place(case, tmp_path, capsys):
    rng = np.random.default_rng(0)
    names = [f"p{i}" for i in range(12)]
    shifts = dict(zip(names, rng.normal(size=(12, 64)), strict=True))
    shifts["p7"] = shifts["p7"] / 100  # the nearest by far
    sha256 = case.provenance["weights"]["diagnosis"]["sha256"]
    cohort = {n: Analysis(0.5, case.features + shift, weights=sha256) for n, shift in shifts.items()}
    patients = [Patient(n, row) for row, n in enumerate(names, start=2)]
    table = write_features(patients, cohort, tmp_path / "features.csv")
    write_case(case, tmp_path / "case")
    arguments = ("explain", "place", tmp_path / "case" / "result.json", "--features", table, "-o", tmp_path)
    code, said = run(capsys, *arguments)
    assert code == 0, said
    record = json.loads((tmp_path / "place.json").read_text())
    assert record["nearest"][0]["patient_id"] == "p7"
    assert len(record["nearest"]) == 5
    by_hand = float(np.linalg.norm(shifts["p7"]))
    assert record["nearest"][0]["distance"] == pytest.approx(by_hand, rel=1e-2)
    assert (tmp_path / "place.png").exists()
    assert record["demonstration"]
    for text in (said, (tmp_path / "place.svg").read_text()):
        assert "demonstration weights: nothing about a patient" in text
    told = json.loads((tmp_path / "case" / "result.json").read_text())
    told["provenance"]["weights"]["diagnosis"]["demonstration"] = False
    (tmp_path / "case" / "result.json").write_text(json.dumps(told))
    code, said = run(capsys, *arguments)
    assert code == 0
    for text in (said, (tmp_path / "place.svg").read_text()):
        assert "demonstration" not in text


def test_what_is_no_result_is_refused(tmp_path, capsys):
    (tmp_path / "r.json").write_text("{}")
    code, said = run(capsys, "explain", "place", tmp_path / "r.json", "--features", "x.csv", "-o", tmp_path)
    assert code == 2
    assert "no result.json" in said
