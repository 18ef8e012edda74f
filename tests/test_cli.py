"""The command line: exit codes, one line for a fault, nothing left half done."""

import json
from pathlib import Path
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from covid19net.cli import main
from covid19net.io import write_dicom_series, write_volume
from covid19net.volume import CTVolume

BASIC = ("--evidence", "basic")  # two runs of the network less
AFFINE = np.array([[0, 0, 1.5, -96], [0, 1.5, 0, -80], [5.0, 0, 0, -200], [0, 0, 0, 1]])


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(stop.value.code or 0), out, err


def test_help_is_quick_and_needs_no_heavy_library():
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "covid19net.cli", "--help"], capture_output=True, text=True
    )
    assert time.perf_counter() - start < 60  # a hang, not a speed
    assert done.returncode == 0
    for library in ("numpy", "torch", "openvino", "pydicom", "SimpleITK", "scipy"):
        assert f" {library}\n" not in done.stderr


def test_a_scan_is_analyzed_without_libraries_that_are_slow_to_load(phantom_dicom, tmp_path):
    """Loading scipy takes a quarter of a second, a twentieth of the whole command."""
    command = ["-X", "importtime", "-m", "covid19net.cli", "analyze", str(phantom_dicom), "-o", str(tmp_path)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " imagecodecs\n" in done.stderr or " pydicom\n" in done.stderr
    for library in ("torch", "scipy", "SimpleITK", "matplotlib", "pandas"):
        assert f" {library}\n" not in done.stderr


def test_missing_scan_is_exit_2_and_one_line(capsys, tmp_path):
    code, out, err = run(capsys, "analyze", tmp_path / "nothing", "-o", tmp_path / "out")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "nothing" in err
    assert not (tmp_path / "out").exists()


def test_a_box_of_water_is_no_chest_and_exit_3(capsys, tmp_path):
    rng = np.random.default_rng(0)
    hu = rng.normal(0, 10, (12, 64, 64)).round().astype(np.int16)
    write_volume(CTVolume(hu, AFFINE), tmp_path / "water.nii.gz")
    code, _, err = run(capsys, "analyze", tmp_path / "water.nii.gz", "-o", tmp_path / "out")
    assert code == 3
    assert err.count("\n") == 1
    assert "error: water.nii.gz: " in err
    assert not (tmp_path / "out" / "result.json").exists()


def test_unknown_weights_are_exit_4_and_the_known_are_listed(capsys, tmp_path):
    code, _, err = run(capsys, "analyze", tmp_path, "-o", tmp_path / "out", "--weights", "nobodys")
    assert code == 4
    assert "bundled" in err


def test_unknown_options_are_exit_2(capsys, tmp_path):
    assert run(capsys, "analyze", tmp_path, "--no-such-option")[0] == 2


def test_impossible_age_is_refused_before_any_work(capsys, tmp_path):
    code, _, err = run(capsys, "analyze", tmp_path, "-o", tmp_path / "o", "--age", 430)
    assert code == 2
    assert "age" in err


def test_clinical_values_of_several_scans_are_refused(capsys, tmp_path):
    code, _, err = run(capsys, "analyze", tmp_path, tmp_path, "-o", tmp_path / "o", "--age", 43)
    assert code == 2
    assert "one patient" in err


def test_install_asks_first(capsys, tmp_path):
    code, _, err = run(capsys, "weights", "install", "wang2020", "--home", tmp_path)
    assert code == 2
    assert "licence" in err


def test_convert_writes_the_volume_as_read(capsys, tmp_path):
    import nibabel

    hu = np.random.default_rng(1).integers(-1000, 400, (6, 40, 50)).astype(np.int16)
    write_volume(CTVolume(hu, AFFINE), tmp_path / "in.mha")
    code, out, _ = run(capsys, "convert", tmp_path / "in.mha", tmp_path / "out.nii.gz")
    assert code == 0
    assert "6 x 40 x 50" in out
    image = nibabel.load(tmp_path / "out.nii.gz")
    assert (np.asarray(image.dataobj).transpose(2, 1, 0) == hu).all()


def test_convert_refuses_another_ending(capsys, tmp_path):
    assert run(capsys, "convert", tmp_path, tmp_path / "out.png")[0] == 2


def test_weights_list_and_card_name_the_licence(capsys, tmp_path):
    code, out, _ = run(capsys, "weights", "list", "--home", tmp_path)
    assert code == 0
    assert "bundled: bundled" in out
    assert "wang2020: published" in out
    code, out, _ = run(capsys, "weights", "card", "bundled", "--home", tmp_path)
    assert code == 0
    assert "licence" in out


def test_analyze_goes_on_after_a_bad_scan(capsys, tmp_path, phantom_dicom: Path):
    bad = tmp_path / "empty"
    bad.mkdir()
    code, out, err = run(capsys, "analyze", bad, phantom_dicom, "-o", tmp_path / "out", *BASIC)
    assert code == 2
    assert err.startswith("scan 1 of 2: error:")
    assert "COVID-19 probability" in out
    assert not (tmp_path / "out" / "001").exists()
    record = json.loads((tmp_path / "out" / "002" / "result.json").read_text())
    assert 0 <= record["probability"] <= 1


def test_an_unforeseen_fault_is_one_line_and_the_next_scan_is_still_done(
    capsys, tmp_path, phantom_dicom: Path, monkeypatch
):
    from covid19net import pipeline

    genuine, calls = pipeline.check_hounsfield, []

    def fails_once(volume, *more):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("SECRET")
        return genuine(volume, *more)

    monkeypatch.setattr(pipeline, "check_hounsfield", fails_once)
    code, out, err = run(capsys, "analyze", phantom_dicom, phantom_dicom, "-o", tmp_path / "out", *BASIC)
    assert code == 2
    assert err.count("\n") == 1
    assert "ZeroDivisionError" in err
    assert "SECRET" not in err
    assert (tmp_path / "out" / "002" / "result.json").is_file()
    assert not (tmp_path / "out" / "001").exists()
    assert "probability" in out


def test_no_identifying_text_reaches_results_or_messages(capsys, tmp_path, phantom):
    """Row 13: names in elements, folders and files; only errors may name the file a user gave."""
    folder = tmp_path / "ROE_RICHARD_1950"
    names = {
        "PatientName": "ROE^RICHARD",
        "PatientID": "ROE-77",
        "StudyDescription": "CHEST ROE",
        "InstitutionName": "ROE HOSPITAL",
        "ReferringPhysicianName": "ROE^DOC",
    }
    write_dicom_series(phantom.volume, folder, names)
    code, out, err = run(capsys, "analyze", folder, "-o", tmp_path / "out")
    assert code == 0
    assert "ROE" not in out + err
    for name in ("result.json", "report.html"):
        text = (tmp_path / "out" / name).read_text()
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)  # pictures, in which any three letters turn up
        assert "ROE" not in text


def test_a_report_names_the_patient_where_that_is_asked_for_and_nothing_else_does(capsys, tmp_path, phantom):
    names = {"PatientName": "ROE^RICHARD", "PatientID": "ROE-77", "InstitutionName": "ROE HOSPITAL"}
    write_dicom_series(phantom.volume, tmp_path / "scan", names)
    code, out, err = run(capsys, "analyze", tmp_path / "scan", "-o", tmp_path / "out", "--identify", *BASIC)
    assert code == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert "ROE, RICHARD" in report
    assert "ROE-77" in report
    assert "HOSPITAL" not in report
    assert "ROE" not in out + err
    assert "ROE" not in (tmp_path / "out" / "result.json").read_text()


def test_a_scan_that_names_nobody_cannot_be_identified_and_is_not_analyzed(capsys, tmp_path, phantom_dicom):
    code, out, err = run(capsys, "analyze", phantom_dicom, "-o", tmp_path / "out", "--identify", *BASIC)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "does not say whose it is" in err
    assert not (tmp_path / "out").exists()


def test_a_second_demo_replaces_the_patient_of_the_first(capsys, tmp_path, phantom, monkeypatch):
    """With a coarse patient; `.ci/run` makes the real one."""
    monkeypatch.setattr("covid19net.phantom.demo_case", lambda _seed: phantom)
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "slice-9999.dcm").write_bytes(b"of an earlier, taller patient")
    code, _, err = run(capsys, "demo", "--out", tmp_path)
    assert (code, err) == (0, "")
    assert not (tmp_path / "dicom" / "slice-9999.dcm").exists()
