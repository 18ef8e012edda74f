"""The verdict on a cohort: every planted leak, confounder and unusable scan is exposed, peace is peace."""

from collections.abc import Sequence
from pathlib import Path
import re

import numpy as np
import pytest
from scipy.stats import norm

from covid19net.cli import main
from covid19net.cohort import read_manifest, write_table
from covid19net.io import read_ct, write_dicom_series, write_volume
from covid19net.phantom import Scanner, draw_patient, scan_patient
from covid19net.study.fingerprint import ALIKE, fingerprint, near
from covid19net.study.guard import guard
from covid19net.study.scans import scan_facts
from covid19net.volume import CTVolume


def rows(count: int = 300, seed: int = 1) -> list[dict[str, object]]:
    """Two sets, two classes; the scanner knows nothing of either."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(count) < count // 2)
    return [
        {
            "patient_id": f"p{i:03d}",
            "set": ("training", "validation")[i % 3 == 0],
            "label": "covid" if label[i] else "other",
            "centre": f"c{rng.integers(4)}",
            "vendor": "AB"[rng.integers(2)],
            "thickness": (1.0, 2.0, 5.0)[rng.integers(3)],
            "kernel": ("soft", "sharp", "")[rng.integers(3)],
        }
        for i in range(count)
    ]


def verdict_of(folder: Path, **tables: Sequence[dict[str, object]]):
    manifests = {}
    for name, table in tables.items():
        path = write_table(folder / f"{name}.csv", table)
        manifests[name] = read_manifest(path, needs=["patient_id"])
    return guard(manifests)


def test_a_table_without_confounding_has_peace(tmp_path):
    verdict = verdict_of(tmp_path, a=rows())
    assert not verdict.warns
    assert len(verdict.judged) == 3  # all, and each set
    assert all("no sign" in line for line in verdict.lines()[:3])
    assert "no patient stands twice" in verdict.lines()[3]
    assert "source, collection, year, contrast" in verdict.lines()[4]


def test_a_class_equal_to_the_vendor_is_named(tmp_path):
    table = [row | {"vendor": "A" if row["label"] == "covid" else "B"} for row in rows()]
    verdict = verdict_of(tmp_path, a=table)
    assert verdict.is_severe
    assert verdict.lines()[0] == "all rows: label equals vendor: A (150) against B (150)"


@pytest.mark.parametrize(
    "column", ["source", "collection", "year", "contrast", "kernel", "thickness", "centre"]
)
def test_a_class_equal_to_any_fact_is_named(tmp_path, column):
    table = [row | {column: 2 if row["label"] == "covid" else 3} for row in rows(60)]
    assert f"label equals {column}" in verdict_of(tmp_path, a=table).lines()[0]


def test_confounding_in_one_set_only_is_seen(tmp_path):
    """In training the vendor is the class, in validation its opposite: together it tells little."""
    table = rows()
    for row in table:
        same = row["set"] == "training"
        row["vendor"] = "A" if (row["label"] == "covid") == same else "B"
    verdict = verdict_of(tmp_path, a=table)
    assert "set training: label equals vendor" in "\n".join(verdict.lines()[:2])


def test_a_label_that_the_thickness_predicts_has_its_area(tmp_path):
    """Thickness normal, 1.19 standard deviations apart: AUC Phi(1.19 / sqrt 2) = 0.80."""
    table = rows(600)
    for name, shift in (("covid", 1.19), ("other", 0.0)):
        members = [row for row in table if row["label"] == name]
        normal = np.random.default_rng(2).permutation(norm.ppf((np.arange(300) + 0.5) / 300))
        for row, value in zip(members, normal.tolist(), strict=True):
            row["thickness"] = round(5 + shift + value, 3)
    verdict = verdict_of(tmp_path, a=table)
    found = verdict.judged[0].found
    assert found.alone["thickness"].value == pytest.approx(0.80, abs=0.02)
    assert found.together.low < 0.80 < found.together.high
    assert found.named == ("thickness",)
    assert verdict.warns
    assert not verdict.is_severe
    assert "predictable from the acquisition: AUC 0." in verdict.lines()[0]


def test_classes_that_come_from_different_manifests(tmp_path):
    table = [{k: v for k, v in row.items() if k != "set"} for row in rows()]
    ill = [row for row in table if row["label"] == "covid"]
    well = [row for row in table if row["label"] == "other"]
    verdict = verdict_of(tmp_path, sick=ill, healthy=well)
    text = "\n".join(verdict.lines()[:2])
    assert "no set holds both classes" in text
    assert "label equals manifest: sick (150) against healthy (150)" in text
    assert verdict.is_severe


def test_a_class_that_one_set_alone_holds_is_noted(tmp_path):
    table = rows()
    for row in table:
        row["label"] = "covid" if row["set"] == "validation" else row["label"]
    assert "all rows: label: other only in set training" in verdict_of(tmp_path, a=table).lines()


def test_one_id_in_two_manifests(tmp_path):
    """In another set, under another label, and the same once more."""
    first, second = rows(60), rows(3, seed=9)
    first[0] |= {"set": "training", "label": "covid"}
    first[1] |= {"set": "training", "label": "covid"}
    first[2] |= {"set": "training", "label": "covid"}
    second[0] |= {"patient_id": "P000", "set": "validation", "label": "covid"}
    second[1] |= {"set": "training", "label": "other"}
    second[2] |= {"set": "training", "label": "covid"}
    verdict = verdict_of(tmp_path, a=first, b=second)
    assert [(k.kind, k.second.patient.row) for k in verdict.leaks] == [
        ("two labels", 3),
        ("two sets", 2),
        ("twice", 4),
    ]
    assert verdict.lines()[0].startswith(
        "LEAK: a row 3 (p001) and b row 3 (p001): one patient under two labels"
    )
    assert verdict.is_severe


def test_a_table_that_says_nothing_is_told_so(tmp_path):
    table = [{"patient_id": row["patient_id"], "label": row["label"]} for row in rows(40)]
    verdict = verdict_of(tmp_path, a=table)
    assert "cannot be judged" in verdict.lines()[0]
    assert "not recorded, hence not judged: centre, source, collection, vendor" in verdict.lines()[-1]
    assert not verdict.warns
    only_ids = verdict_of(tmp_path, b=[{"patient_id": "x"}])
    assert only_ids.judged == ()


@pytest.fixture(scope="module")
def patients():
    """Three people, the first scanned twice on different scanners."""
    scans = []
    for seed, noise in ((1, 15.0), (2, 15.0), (3, 15.0), (1, 30.0)):
        patient = draw_patient(np.random.default_rng(seed), disease="covid")
        fov = 400.0 if noise > 20 else 380.0
        scanner = Scanner(spacing=5.0, thickness=5.0, matrix=128, noise=noise, fov=fov)
        scans.append(scan_patient(patient, scanner, np.random.default_rng(50 + len(scans))).volume)
    return scans


def thinned(volume: CTVolume, every: int) -> CTVolume:
    affine = np.array(volume.affine)
    affine[:3, 0] *= every
    return CTVolume(volume.hu[::every].copy(), affine)


def turned(volume: CTVolume) -> CTVolume:
    """The same voxels in the same place, the array's axes reversed and exchanged."""
    affine = np.array(volume.affine)[:, [2, 0, 1, 3]]
    hu = volume.hu.transpose(2, 0, 1)[::-1]
    affine[:3, 3] += affine[:3, 0] * (hu.shape[0] - 1)
    affine[:3, 0] *= -1
    return CTVolume(np.ascontiguousarray(hu), affine)


def test_copies_are_alike_and_people_are_not(patients):
    first, *others, again = patients
    rng = np.random.default_rng(0)
    copies = {
        "every second slice": thinned(first, 2),
        "other axes": turned(first),
        "cropped": CTVolume(first.hu[2:-2, 3:-3, 3:-3], first.affine),
        "noise": CTVolume((first.hu + rng.normal(0, 40, first.hu.shape)).astype(np.int16), first.affine),
        "scanned anew": again,
    }
    mark = fingerprint(first)
    for name, copy in copies.items():
        assert mark @ fingerprint(copy) > ALIKE, name
    assert near([mark, *(fingerprint(other) for other in others), None]) == []


def test_a_scan_without_lungs_has_no_fingerprint():
    assert fingerprint(CTVolume(np.full((20, 64, 64), 40, np.int16), np.diag([5.0, 5.0, 5.0, 1.0]))) is None


def write_nifti(path: Path, hu: np.ndarray, like: CTVolume) -> None:
    write_volume(CTVolume(hu, like.affine), path)


def test_unusable_scans_say_why(patients, tmp_path):
    volume = patients[0]
    window = np.clip((volume.hu + 1000.0) / 1400 * 255, 0, 255).astype(np.uint8)
    write_nifti(tmp_path / "bytes.nii.gz", window, volume)
    write_nifti(tmp_path / "scaled.nii.gz", (window.astype(np.int16) * 5 - 1000).astype(np.int16), volume)
    write_nifti(tmp_path / "cut.nii.gz", np.minimum(volume.hu, 60), volume)
    files = write_dicom_series(volume, tmp_path / "gap")
    files[20].unlink()
    (tmp_path / "torn.nii.gz").write_bytes(b"\x1f\x8b")
    write_nifti(tmp_path / "good.nii.gz", volume.hu, volume)
    expected = {
        "bytes.nii.gz": "8-bit picture of a window",
        "scaled.nii.gz": "256 different values|only 2.. different values",
        "cut.nii.gz": "cut off by a window",
        "gap": "1 slice is missing",
        "torn.nii.gz": "torn",
    }
    for name, reason in expected.items():
        found = scan_facts(tmp_path / name)
        assert found.faults, name
        assert re.search(reason, found.faults[0]), name
    good = scan_facts(tmp_path / "good.nii.gz")
    assert good.faults == ()
    assert good.facts["slice distance"] == 5.0


@pytest.fixture
def cohort(patients, tmp_path) -> Path:
    """Five rows: the first patient as DICOM, copied to NIfTI under another id, thinned, and two others."""
    first, second, third, _ = patients
    write_dicom_series(first, tmp_path / "p1", {"Manufacturer": "Maker A"})
    write_volume(read_ct(tmp_path / "p1").volume, tmp_path / "copy.nii.gz")
    write_volume(thinned(first, 2), tmp_path / "thin.nii.gz")
    write_volume(second, tmp_path / "p2.nii.gz")
    write_volume(third, tmp_path / "p3.nii.gz")
    table = [
        {"patient_id": "p1", "scan": "p1", "set": "training", "label": "covid"},
        {"patient_id": "q1", "scan": "copy.nii.gz", "set": "training", "label": "other"},
        {"patient_id": "r1", "scan": "thin.nii.gz", "set": "validation", "label": "covid"},
        {"patient_id": "p2", "scan": "p2.nii.gz", "set": "validation", "label": "other"},
        {"patient_id": "p3", "scan": "p3.nii.gz", "set": "training", "label": "other"},
    ]
    return write_table(tmp_path / "cohort.csv", table)


def run(capsys, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return int(stop.value.code or 0), capsys.readouterr().out


def test_the_command_finds_copies_of_a_scan_under_other_ids(cohort, tmp_path, capsys):
    code, out = run(capsys, "cohort", "check", cohort, "--strict")
    assert code == 0
    assert "ids and files, not the images" in out
    code, out = run(capsys, "cohort", "check", cohort, "--scans", "--strict", "-o", tmp_path / "out")
    assert code == 1
    leaks = [line for line in out.splitlines() if line.startswith("LEAK")]
    assert len(leaks) == 3
    assert (
        "row 2 (p1) and cohort row 3 (q1): one patient under two labels: the same image, voxel by voxel"
        in out
    )
    assert "row 2 (p1) and cohort row 4 (r1): one patient in two sets, training and validation: nearly" in out
    assert not any("p2" in line or "p3" in line for line in leaks)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".html", ".tex", ".txt"}
    assert (tmp_path / "out" / "cohort-check.csv").read_text().count("LEAK") == 3


def test_the_command_keeps_naming_faults(tmp_path, capsys):
    path = write_table(tmp_path / "bad.csv", [{"patient_id": "a", "label": "ill", "age": 500}])
    with pytest.raises(SystemExit) as stop:
        main(["cohort", "check", str(path), "--needs", "label"])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert "row 2 column label" in error
    assert "row 2 column age" in error
