"""One case of a batch: when its result is the result, what is stored, what the table says; and manifests."""

import csv
from dataclasses import replace
from functools import partial
import json
import os
from pathlib import Path
import shutil
import sys

import numpy as np
import pytest

from covid19net.batch import Plan
from covid19net.batch.cases import case_name, cases_of, check_manifest
from covid19net.batch.plan import identity_of
from covid19net.batch.rows import Spool, kind_of, write_csv, write_parquet
from covid19net.batch.store import folder_of, read_stored
from covid19net.errors import InputError, ResourceError
from covid19net.features import read_features
from covid19net.io import write_dicom_series, write_volume
from covid19net.volume import CTVolume
from covid19net.weights.registry import BUNDLED_FOLDER
from tests.batch_stand_in import Quick, logged
from tests.pacs import orthanc


def small_scan(folder, seed=0, **headers):
    """Six slices of noise; Quick calls anything a chest."""
    hu = np.random.default_rng(seed).integers(-900, 100, (6, 32, 32), np.int16)
    write_dicom_series(CTVolume(hu, np.diag([5.0, 8.0, 8.0, 1.0])[:, [2, 1, 0, 3]]), folder, headers)
    return folder


@pytest.fixture
def place(tmp_path):
    """A folder with one scan, and its manifest."""
    small_scan(tmp_path / "scans" / "one")
    (tmp_path / "m.csv").write_text("patient_id,scan,age,sex,comorbidity\nP_1,scans/one,61,F,0\n")
    return tmp_path


def plan_in(folder, **options):
    return Plan(out=folder / "out", keep="result", prognosis="none", **options)


def do(place, **options):
    """What a new worker makes of the manifest's first case."""
    plan = plan_in(place, **options)
    check_manifest(place / "m.csv")
    case = next(cases_of(place / "m.csv"))
    return Quick(plan, identity_of(plan))(case)


def test_a_result_is_kept_while_nothing_has_changed(place):
    first, second = do(place), do(place)
    assert (first.again, second.again) == (False, True)
    assert first.row == second.row
    assert logged(place / "out", "analyzed") == ["P_1"]
    assert first.row["status"] == "done"
    folder = folder_of(place / "out", "P_1")
    assert sorted(p.name for p in folder.iterdir()) == ["batch.json", "result.json"]
    assert json.loads((folder / "result.json").read_text())["clinical"]["age"] == 61


def change_a_byte(place):
    """One pixel, and the time of change set back."""
    path = next((place / "scans" / "one").iterdir())
    data, times = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def add_a_slice(place):
    one = place / "scans" / "one"
    other = small_scan(place / "other", 1)
    shutil.copy(next(other.iterdir()), one / "another.dcm")


def change_the_age(place):
    manifest = place / "m.csv"
    manifest.write_text(manifest.read_text().replace("61", "62"))


def lose_a_file(place):
    (folder_of(place / "out", "P_1") / "result.json").unlink()


def cut_a_file(place):
    path = folder_of(place / "out", "P_1") / "result.json"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("change", [change_a_byte, add_a_slice, change_the_age, lose_a_file, cut_a_file])
def test_a_stale_or_incomplete_result_is_made_again(place, change):
    do(place)
    change(place)
    assert not do(place).again
    assert do(place).again


@pytest.mark.parametrize(
    "options", [{"every_slice": True}, {"allow_irregular": True}, {"full_evidence": False}]
)
def test_other_options_make_a_result_stale(place, options):
    do(place)
    assert not do(place, **options).again
    assert not do(place).again


def test_another_version_or_other_weights_make_a_result_stale(place, monkeypatch):
    do(place)
    folder = place / "weights"
    folder.mkdir()
    for name in ("diagnosis.safetensors", "diagnosis.json", "lungs.safetensors", "lungs.json"):
        shutil.copy(BUNDLED_FOLDER / name, folder)
    assert do(place, weights=f"{folder}/").again  # the same under another name
    card = json.loads((folder / "diagnosis.json").read_text())
    card["options"]["threshold"] = 0.25
    (folder / "diagnosis.json").write_text(json.dumps(card))
    assert not do(place, weights=f"{folder}/").again
    monkeypatch.setattr("covid19net.batch.plan.__version__", "99")
    assert not do(place).again


def test_the_same_bytes_elsewhere_are_not_analyzed_again(place):
    do(place)
    one, other = place / "scans" / "one", place / "scans" / "two"
    shutil.copytree(one, other)
    shutil.rmtree(one)
    (place / "m.csv").write_text((place / "m.csv").read_text().replace("scans/one", "scans/two"))
    assert do(place).again
    assert logged(place / "out", "analyzed") == ["P_1"]


def test_untouched_inputs_are_not_read_again_unless_asked(place, monkeypatch):
    do(place)
    hashed = []
    monkeypatch.setattr("covid19net.batch.inputs.content_of", lambda *_, **__: hashed.append(1) or "other")
    assert do(place).again
    assert hashed == []
    assert not do(place, verify=True).again
    assert hashed == [1]


def test_what_a_killed_run_left_is_removed_and_that_of_others_is_not(place):
    folder = folder_of(place / "out", "P_1")
    left, other = folder.parent / ".P_1~12ab", folder.parent / ".P_1.b~12ab"
    for each in (left, other):
        each.mkdir(parents=True)
        (each / "lungs.nii.gz").write_bytes(b"half")
    do(place)
    assert sorted(p.name for p in folder.parent.iterdir()) == [".P_1.b~12ab", "P_1"]


def test_a_record_that_is_damaged_is_none(place):
    do(place)
    folder = folder_of(place / "out", "P_1")
    for text in ("", "{", "[]", "{}", '{"schema": "covid19net-batch/0"}'):
        (folder / "batch.json").write_text(text)
        assert read_stored(folder) is None
    assert not do(place).again


def test_a_failure_is_a_row_kept_until_asked_to_try_again(place):
    moved = place / "elsewhere"
    (place / "scans" / "one").rename(moved)
    first = do(place)
    assert (first.row["status"], first.row["exit_code"]) == ("failed", 2)
    assert do(place).again
    assert not do(place, retry_failed=True).again
    moved.rename(place / "scans" / "one")  # it is there now: the failure is stale
    assert do(place).row["status"] == "done"
    assert do(place, retry_failed=True).again


def test_a_reason_names_no_file(place):
    one = place / "scans" / "one"
    one.rename(place / "scans" / "DOE_JANE")
    for path in sorted((place / "scans" / "DOE_JANE").iterdir()):
        path.rename(path.with_name(f"DOE_{path.name}"))
    damaged = sorted((place / "scans" / "DOE_JANE").iterdir())[2]
    damaged.write_bytes(damaged.read_bytes()[:400])
    (place / "m.csv").write_text("patient_id,scan\nP_1,scans/DOE_JANE\n")
    row = do(place).row
    assert row["exit_code"] == 2
    assert "DOE" not in json.dumps(row)
    assert row["reason"].startswith("a file: ")


def test_a_full_disk_stops_and_is_no_row(place, monkeypatch):
    def full(*_, **__):
        raise ResourceError("disk is full") from OSError(28, "No space left on device")

    monkeypatch.setattr(Quick, "_write", full)
    with pytest.raises(ResourceError, match="disk is full"):
        do(place)
    assert read_stored(folder_of(place / "out", "P_1")) is None
    assert list(folder_of(place / "out", "P_1").parent.iterdir()) == []


def test_a_disk_that_fills_up_with_the_record_stops_too(place, monkeypatch):
    real = Path.write_text

    def full(path, *words, **options):
        if "result.json" in path.name:
            raise OSError(28, "No space left on device")
        return real(path, *words, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ResourceError, match="no space left"):
        do(place)
    assert read_stored(folder_of(place / "out", "P_1")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="a device that is always full")
def test_a_full_disk_is_told_while_rows_are_kept(tmp_path, monkeypatch):
    full = partial(open, "/dev/full", "r+b")
    monkeypatch.setattr("covid19net.batch.rows.TemporaryFile", lambda **_: full())
    with Spool(tmp_path, 2) as spool:
        spool.add(0, {"patient_id": "A"})  # still in memory
        with pytest.raises(ResourceError, match="No space left"):
            spool.add(1, {"patient_id": "B"})


def test_a_worker_of_another_version_refuses(place):
    with pytest.raises(ValueError, match="other weights or another version"):
        Quick(plan_in(place), "other")


def test_a_series_comes_from_dicomweb_once(place):
    from pydicom import dcmread

    with orthanc(place) as pacs:
        pacs.add(place / "scans" / "one")
        headers = dcmread(next((place / "scans" / "one").iterdir()))
        address = f"{pacs.url}/studies/{headers.StudyInstanceUID}/series/{headers.SeriesInstanceUID}"
        (place / "m.csv").write_text(f"patient_id,scan\nP_1,dicomweb:{address}\n")
        first = do(place)
        assert first.row["status"] == "done"
        assert do(place, verify=True).again  # fetched again, and the same bytes, in whatever order
        wrong = f"{pacs.url}/studies/1.2/series/3.4"
        (place / "m.csv").write_text(f"patient_id,scan\nP_2,dicomweb:{wrong}\n")
        assert do(place).row["status"] == "failed"
    (place / "m.csv").write_text(f"patient_id,scan\nP_1,dicomweb:{address}\n")
    assert do(place).again  # the server is gone: nothing is asked of it
    assert do(place, verify=True).row["status"] == "failed"


def test_no_address_of_a_series_is_a_row(place):
    (place / "m.csv").write_text("patient_id,scan\nP_1,dicomweb:ftp://here\n")
    assert "dicomweb:https://SERVER/studies/UID/series/UID" in do(place).row["reason"]


@pytest.mark.parametrize(
    ("patient", "scan", "name"),
    [
        ("P-001", "", "P-001"),
        ("P-001", "2020-01", "P-001+2020-01"),
        ("../up", "", None),
        ("a/b", "", None),
        (".hidden", "", None),
        ("con", "", None),
        ("COM1.x", "", None),
        ("trailing.", "", None),
        ("Jürgen", "", None),
        ("x" * 65, "", None),
        ("a~b", "", None),
    ],
)
def test_names_of_folders_are_safe(patient, scan, name):
    found = case_name(patient, scan)
    assert found == name if name else found.startswith("case-") and len(found) == 21


def test_names_of_our_own_differ():
    assert len({case_name(p, s) for p, s in [("a/", "b"), ("a", "/b"), ("a/b", ""), ("", "a/b")]}) >= 3


def test_a_manifest_is_read_as_excel_writes_it(tmp_path):
    text = 'sep=;\r\nPatient_ID;scan;Age;sex;diabetes;note\r\nA;one;61,5;m;1;"a;b"\r\n\r\nB;/two;;;;\r\n'
    for coding in ("utf-8-sig", "utf-16"):
        (tmp_path / "m.csv").write_bytes(text.encode(coding))
        assert check_manifest(tmp_path / "m.csv") == 2
        first, second = cases_of(tmp_path / "m.csv")
        assert (first.place, first.patient_id, first.scan) == (0, "A", str(tmp_path / "one"))
        assert (first.age, first.sex, first.comorbidity) == (61.5, "M", True)
        assert (second.place, second.scan, second.age, second.comorbidity) == (1, "/two", None, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("patient_id\nA\n", "column scan is missing"),
        ("patient_id,scan,scan\nA,b,c\n", "column scan stands more than once"),
        ("patient_id,scan\n", "the table has no rows"),
        (
            "patient_id,scan,age\nA,b,old\nB,c,400\n",
            "row 2 column age: 'old' is not a number; row 3 column age",
        ),
        ("patient_id,scan\n,b\n", "row 2 column patient_id: is empty"),
        ("patient_id,scan\nA,b,c\n", "row 2: 3 cells under 2 columns"),
        ("patient_id,scan\nP1,a\nX,c\np1,b\n", "rows 2 and 4 name the same patient and scan"),
        ("patient_id,scan,scan_id\nP,a,1\nP,b,1\n", "rows 2 and 3 name the same patient and scan"),
        ("", "empty, or without a header"),
        ("\0\1\2\xff", "empty, or without a header|not text|column patient_id is missing"),
    ],
)
def test_a_manifest_at_fault_is_refused_at_once(tmp_path, text, fault):
    (tmp_path / "m.csv").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=fault):
        check_manifest(tmp_path / "m.csv")


def test_scans_of_one_patient_are_told_apart(tmp_path):
    (tmp_path / "m.csv").write_text("patient_id,scan,scan_id\nP,a,first\nP,b,second\n")
    check_manifest(tmp_path / "m.csv")
    assert [case.name for case in cases_of(tmp_path / "m.csv")] == ["P+first", "P+second"]


def test_the_table_is_in_the_order_of_the_manifest_and_a_study_reads_it(place):
    row = do(place).row
    failed = {
        "patient_id": "=1+1",
        "scan_id": "",
        "case": "x",
        "status": "failed",
        "exit_code": 3,
        "reason": "r",
    }
    with Spool(place, 4) as spool:
        spool.add(3, failed)
        spool.add(0, row)
        written = write_csv(spool, place / "results.csv")
        parquet = write_parquet(spool, place / "results.parquet")
    lines = list(csv.DictReader(written.read_text().splitlines()))
    assert [line["patient_id"] for line in lines] == ["P_1", "'=1+1"]
    assert [line["exit_code"] for line in lines] == ["0", "3"]
    found = read_features(written)
    assert list(found) == ["P_1"]
    assert found["P_1"].features.tolist() == [row[f"f{i:02d}"] for i in range(64)]
    from pyarrow import parquet as pq

    table = pq.read_table(parquet).to_pylist()
    assert [line["patient_id"] for line in table] == ["P_1", "=1+1"]
    assert table[0]["f63"] == row["f63"]
    assert table[1]["probability"] is None


def test_reasons_of_one_kind_are_counted_together():
    assert kind_of("slices are 2.00 mm apart but 4,5 mm between slices 3 and 4") == (
        "slices are # mm apart but # mm between slices # and #"
    )


def test_keep_decides_what_is_written(place):
    do(place)
    plan = replace(plan_in(place), keep="maps")
    case = next(cases_of(place / "m.csv"))
    assert not Quick(plan, identity_of(plan))(case).again
    folder = folder_of(place / "out", "P_1")
    assert sorted(p.name for p in folder.iterdir()) == [
        "batch.json", "heatmap.nii.gz", "lungs.nii.gz", "result.json",
    ]  # fmt: skip
    record = json.loads((folder / "result.json").read_text())
    assert sorted(record["files"]) == ["heatmap.nii.gz", "lungs.nii.gz"]
    with pytest.raises(InputError, match="choose result, maps, all"):
        Plan(out=place, keep="nothing")
    with pytest.raises(InputError, match="with all files only"):
        Plan(out=place, keep="maps", pdf=True)


def test_one_file_of_a_series_and_a_header_with_its_numbers_are_watched_whole(place):
    (place / "m.csv").write_text(
        f"patient_id,scan\nP_1,scans/one/{sorted((place / 'scans' / 'one').iterdir())[0].name}\n"
    )
    assert do(place).row["status"] == "done"
    last = sorted((place / "scans" / "one").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-1] + bytes([last.read_bytes()[-1] ^ 1]))
    assert not do(place).again


def test_one_image_file_is_watched_alone(place):
    volume = CTVolume(np.full((6, 32, 32), -500, np.int16), np.diag([5.0, 8, 8, 1])[:, [2, 1, 0, 3]])
    write_volume(volume, place / "scans" / "a.nii.gz")
    (place / "m.csv").write_text("patient_id,scan\nP_1,scans/a.nii.gz\n")
    assert do(place).row["status"] == "done"
    (place / "scans" / "b.txt").write_text("beside it")
    assert do(place).again
