"""A case on disk: every file, or none."""

from dataclasses import replace
import json

import nibabel
import numpy as np
import pytest

from covid19net.diagnose import Distance
from covid19net.errors import InputError
from covid19net.report import case as case_module
from covid19net.report.case import FILES, SCHEMA, case_record, write_case
from covid19net.volume import Finding
from tests.cases import AFFINE, made_up_case


def test_the_record_says_what_was_found_in_plain_json():
    record = json.loads(json.dumps(case_record(made_up_case(Finding("coverage", "cut"))), allow_nan=False))
    assert record["schema"] == SCHEMA
    assert record["probability"] == 0.37
    assert record["decision"] == {"call": "negative", "threshold": 0.8}
    assert record["findings"] == [{"code": "coverage", "message": "cut"}]
    assert len(record["features"]) == 64
    assert record["lung_millilitres"] == {"right": 2500.0, "left": 2300.0, "both": 4800.0}
    assert record["geometry"]["spacing_mm_zyx"] == [5.0, 1.5, 1.5]
    assert record["geometry"]["lung_box_voxels_zyx"] == {"start": [5, 20, 15], "stop": [35, 90, 115]}
    assert record["clinical"] == {"age": 61, "sex": "F", "comorbidity": False}
    assert "not a medical device" in record["intended_use"]


def test_the_distance_from_the_training_images_is_recorded_where_it_is_known():
    known = replace(made_up_case(), feature_distance=Distance(7.5, 11.25))
    assert SCHEMA == "covid19net-result/1.4"  # 1.0: no distance, 1.1: no prognosis, 1.2: no quantification,
    # 1.3: no sources of the weights
    assert json.loads(json.dumps(case_record(known)))["feature_distance"] == {"value": 7.5, "limit": 11.25}
    assert case_record(made_up_case())["feature_distance"] is None


def test_the_lungs_are_measured_apart_from_the_network():
    record = json.loads(json.dumps(case_record(made_up_case()), allow_nan=False))["quantification"]
    assert record["windows_hu"] == {"ground_glass": [-700, -300], "consolidation": [-300, 100]}
    # Each lung 30 x 70 x 40 voxels of 5 x 1.5 x 1.5 mm, at -850 HU throughout.
    whole = {"millilitres": 945.0, "mean_hu": -850.0, "ground_glass": 0.0, "consolidation": 0.0}
    assert record["regions"]["right"] == whole
    assert record["regions"]["left-upper"] == whole | {"millilitres": 315.0}
    unknown = case_record(made_up_case(Finding("orientation-unknown", "no side is certain")))
    assert set(unknown["quantification"]["regions"]) == {"both", "upper", "middle", "lower"}


def test_masks_overlay_the_ct_for_another_library(tmp_path):
    case = made_up_case()
    write_case(case, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(FILES)
    for name, overlay in (("lungs.nii.gz", case.lungs), ("heatmap.nii.gz", case.heatmap)):
        image = nibabel.load(tmp_path / "out" / name)
        assert (np.asarray(image.dataobj) == overlay.values.transpose(2, 1, 0)).all()
        lps = np.diag([-1, -1, 1, 1]) @ image.affine  # NIfTI is RAS, indices (x, y, z)
        assert np.abs(lps[:, [2, 1, 0, 3]] - AFFINE).max() < 1e-4


def test_a_failed_picture_leaves_no_file_behind(tmp_path, monkeypatch):
    def broken(_):
        raise InputError("no picture today")

    monkeypatch.setattr(case_module, "montage", broken)
    with pytest.raises(InputError, match="no picture"):
        write_case(made_up_case(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_earlier_result_stays_until_the_new_one_is_complete(tmp_path, monkeypatch):
    write_case(made_up_case(), tmp_path)
    before = (tmp_path / "result.json").read_bytes()

    def broken(_):
        raise InputError("no picture today")

    monkeypatch.setattr(case_module, "montage", broken)
    with pytest.raises(InputError):
        write_case(made_up_case(Finding("x", "y")), tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)


def test_a_file_where_the_folder_should_be_is_one_clear_line(tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(InputError, match=r"out: cannot be written"):
        write_case(made_up_case(), tmp_path / "out")


def test_no_side_is_named_in_the_record_when_the_orientation_is_unknown():
    """Row 25."""
    record = case_record(made_up_case(Finding("orientation-unknown", "no side is certain")))
    assert record["lung_millilitres"] == {"right": None, "left": None, "both": 4800.0}
    assert record["files"]["lungs.nii.gz"].startswith("1 lung; sides are not known")


def test_a_stop_between_the_files_never_leaves_an_old_record(tmp_path, monkeypatch):
    write_case(made_up_case(), tmp_path)
    monkeypatch.setattr(case_module, "FILES", ("lungs.nii.gz", "gone"))
    with pytest.raises(InputError):
        write_case(made_up_case(), tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_a_file_in_the_way_of_a_folder_loses_no_earlier_result(tmp_path):
    write_case(made_up_case(), tmp_path)
    (tmp_path / "dicom").write_text("notes of mine")
    write_case(made_up_case(), tmp_path)  # needs no such folder
    before = (tmp_path / "result.json").read_bytes()

    def also(folder):
        (folder / "dicom").mkdir()
        (folder / "dicom" / "lungs.seg.dcm").write_bytes(b"1")

    with pytest.raises(InputError, match="cannot be written"):
        write_case(made_up_case(), tmp_path, also)
    assert (tmp_path / "result.json").read_bytes() == before
    assert (tmp_path / "dicom").read_text() == "notes of mine"
