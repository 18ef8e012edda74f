"""What `examine` tells about a folder."""

import pytest

from covid19net.io.doctor import examine
from tests import dicom_files as make

HU = make.chest()


def test_a_cd_with_two_series(tmp_path):
    thin = [make.with_preamble(d) for d in make.ct_slices(HU, PatientName="Doe^Jane")]
    thick = [make.with_preamble(d) for d in make.ct_slices(HU[::2], place=make.affine((5.0, 0.7, 0.8)))]
    for dataset in thick:
        dataset.StudyInstanceUID = thin[0].StudyInstanceUID
    make.write(thin + thick, tmp_path)
    (tmp_path / "readme.txt").write_text("hello")
    found = examine(tmp_path)
    assert (found.files, found.skipped, found.modalities, found.fault) == (19, 1, {"CT": 18}, None)
    by_uid = {series["uid"]: series for series in found.series}
    one = by_uid[thick[0].SeriesInstanceUID]
    assert (one["slices"], one["spacing_mm"], one["height_mm"], one["axial"]) == (6, 5.0, 25.0, True)
    assert {finding.code for finding in found.findings} == {"files-skipped", "series-chosen"}
    text = "\n".join(found.lines())
    assert "read: 12 x 48 x 40 voxels of 2.500 x 0.700 x 0.800 mm" in text
    assert "Doe" not in text


def test_a_refusal_is_told_not_raised(tmp_path):
    make.series(HU, tmp_path)
    (tmp_path / "0003").write_bytes((tmp_path / "0003").read_bytes()[:2000])
    found = examine(tmp_path)
    assert found.scan is None
    assert found.fault.exit_code == 2
    assert f"{tmp_path.name}: 0003: " in str(found.fault)
    assert "CT series" in found.lines()[-1]


@pytest.mark.parametrize("name", ["nothing", "a.zip"])
def test_unreadable_paths(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(b"PK")
    found = examine(tmp_path / name)
    assert found.fault.exit_code == 2
    assert name in str(found.fault)


def test_too_little_memory_is_told_not_raised(tmp_path, monkeypatch):
    def survey(_):
        raise MemoryError

    make.series(HU, tmp_path)
    monkeypatch.setattr("covid19net.io.doctor.survey", survey)
    found = examine(tmp_path)
    assert found.fault.exit_code == 5
    assert "not enough memory" in str(found.fault)
