"""The whole way from a scan to a result, with the networks that ship."""

from dataclasses import replace
from pathlib import Path
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from covid19net.errors import InputError, NotChestCTError
from covid19net.models import Models, load_models
from covid19net.pipeline import Clinical, analyze
from covid19net.report.montage import BANNERS
from covid19net.volume import CTVolume, Finding, Scan
from covid19net.weights import load_tensors, write_weights
from covid19net.weights.reference import Reference


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_lungs_of_the_phantom_are_found(case, phantom):
    truth, found = phantom.lungs.values, case.lungs.values
    assert found.shape == truth.shape
    assert (case.lungs.affine == phantom.volume.affine).all()
    assert dice(found > 0, truth > 0) > 0.93  # coarse 8 mm slices
    for side in (1, 2):
        assert dice(found == side, truth == side) > 0.9


def test_lung_volume_is_the_planted_one(case, phantom):
    voxel = np.prod(phantom.volume.spacing) / 1000
    for given, side in zip(case.lung_millilitres, (1, 2), strict=True):
        assert given == pytest.approx(float((phantom.lungs.values == side).sum() * voxel), rel=0.12)


def test_one_lung_has_one_volume(case):
    regions = case.quantification.regions
    voxel = np.prod(case.scan.volume.spacing) / 1000
    for given, side, name in zip(case.lung_millilitres, (1, 2), ("right", "left"), strict=True):
        assert given == regions[name].millilitres == pytest.approx((case.lungs.values == side).sum() * voxel)


def test_the_result_is_complete_and_finite(case):
    assert 0 <= case.probability <= 1
    assert case.features.shape == (64,)
    assert np.isfinite(case.features).all()
    assert case.heatmap.values.max() in (0, 100)
    assert any(f.code == "weights-demonstration" for f in case.findings)
    weights = case.provenance["weights"]
    assert len(weights["lungs"]["sha256"]) == len(weights["diagnosis"]["sha256"]) == 64
    assert set(case.seconds) == {"check", "lungs", "lung-image", "diagnosis", "maps", "stability"}


def test_the_same_scan_gives_the_same_bits_again(case, phantom, models):
    again = analyze(Scan(phantom.volume), models, full_evidence=False)
    assert again.probability == case.probability
    assert (again.features == case.features).all()
    assert (again.lungs.values == case.lungs.values).all()
    assert (again.heatmap.values == case.heatmap.values).all()


def test_float_hu_give_the_same_bits(case, phantom, models):
    volume = CTVolume(phantom.volume.hu.astype(np.float32), phantom.volume.affine)
    assert analyze(volume, models, full_evidence=False).probability == case.probability


def test_every_slice_stays_close_to_the_default(case, phantom, models):
    # 8 mm slices: both modes use every slice, so the result must be the same.
    assert (
        analyze(phantom.volume, models, every_slice=True, full_evidence=False).probability == case.probability
    )


def test_clinical_values_travel_with_the_result(phantom, models):
    clinical = Clinical(age=70, sex="F", comorbidity=True)
    assert analyze(phantom.volume, models, clinical=clinical, full_evidence=False).clinical == clinical
    with pytest.raises(InputError, match="sex"):
        Clinical(sex="X")


def test_a_block_of_lungs_cut_off_is_flagged_and_never_negative(phantom, models):
    z = np.flatnonzero(phantom.lungs.values.any(axis=(1, 2)))
    low, high = z[len(z) // 3], z[2 * len(z) // 3]
    affine = np.array(phantom.volume.affine)
    affine[:3, 3] = (affine @ [low, 0, 0, 1])[:3]
    result = analyze(CTVolume(phantom.volume.hu[low : high + 1], affine), models, full_evidence=False)
    assert any(f.code == "coverage" for f in result.findings)
    assert result.decision.call != "negative"


def test_a_body_without_lungs_is_refused(phantom, models):
    lungs = ndimage.binary_dilation(phantom.lungs.values > 0, iterations=2)
    hu = np.where(lungs, 40, phantom.volume.hu).astype(np.int16)
    hu[phantom.volume.hu > 300] = 40
    with pytest.raises(NotChestCTError):
        analyze(CTVolume(hu, phantom.volume.affine), models, full_evidence=False)


def test_a_bare_volume_lying_anyhow_gives_the_same_score(case, phantom, models):
    hu = np.flip(phantom.volume.hu.transpose(2, 0, 1), 1)
    affine = phantom.volume.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (hu.shape[1] - 1)
    affine[:3, 1] *= -1
    hu = np.where(hu == hu.min(), np.int16(-3024), hu)  # padding, which reading would have made air
    result = analyze(CTVolume(np.ascontiguousarray(hu), affine), models, full_evidence=False)
    assert result.probability == pytest.approx(case.probability, abs=1e-6)
    assert "padding" in {finding.code for finding in result.findings}
    np.testing.assert_allclose(result.lungs.affine, case.lungs.affine)


def test_no_side_is_told_apart_when_the_orientation_is_unknown(phantom, models):
    """Row 25."""
    doubt = Finding("orientation-unknown", "no side is certain")
    result = analyze(Scan(phantom.volume, findings=(doubt,)), models, full_evidence=False)
    assert not result.sides_known
    assert set(np.unique(result.lungs.values)) == {0, 1}
    assert sum(result.lung_millilitres) == pytest.approx(result.quantification.regions["both"].millilitres)
    assert set(result.quantification.regions) == {"both", "upper", "middle", "lower"}


LIMIT = 1.0


@pytest.fixture(scope="module")
def knowing(case, models, tmp_path_factory) -> Path:
    """The networks that ship, with a reference: one image, the phantom's, and variances of 1/4."""
    folder = tmp_path_factory.mktemp("knowing")
    reference = Reference(case.features, np.eye(64, dtype=np.float32) / 4, LIMIT)
    write_weights(
        folder,
        "diagnosis",
        load_tensors(models.weights.diagnosis) | reference.tensors(),
        name="knowing",
        licence="Apache-2.0",
        origin="a test",
        training_data="the phantom",
        intended_use="tests",
        options={"distance_limit": LIMIT},
    )
    return folder


@pytest.fixture(scope="module")
def knowing_models(knowing) -> Models:
    return load_models(knowing, device="cpu")


def codes(result):
    return {finding.code for finding in result.findings}


def test_a_scan_like_the_training_images_is_not_flagged(case, phantom, knowing_models):
    result = analyze(phantom.volume, knowing_models, full_evidence=False)
    assert result.probability == pytest.approx(case.probability, abs=1e-5)
    assert result.feature_distance.value < 1e-3
    assert result.feature_distance.limit == LIMIT
    assert "out-of-distribution" not in codes(result)


def test_a_scan_unlike_the_training_images_is_flagged_with_its_distance(case, phantom, knowing_models):
    # Lungs of chequered cubes of air and soft tissue, as no patient has them.
    z, y, x = np.indices(phantom.volume.shape)
    chequered = np.where((z // 2 + y // 6 + x // 6) % 2, -950, -300)
    hu = np.where(phantom.lungs.values > 0, chequered, phantom.volume.hu).astype(np.int16)
    result = analyze(CTVolume(hu, phantom.volume.affine), knowing_models, full_evidence=False)
    by_hand = 2 * np.linalg.norm(result.features.astype(float) - case.features)  # sd 1/2 in every direction
    assert result.feature_distance.value == pytest.approx(by_hand, rel=1e-9)
    assert result.feature_distance.value > LIMIT
    assert "out-of-distribution" in codes(result) & BANNERS


def test_without_a_reference_there_is_no_distance_and_no_flag(phantom, models):
    result = analyze(phantom.volume, replace(models, reference=None), full_evidence=False)
    assert result.feature_distance is None
    assert "out-of-distribution" not in codes(result)


@pytest.mark.usefixtures("knowing_models")  # converted, which needs torch
def test_the_reference_is_read_without_torch(knowing):
    code = (
        "import sys; from pathlib import Path; from covid19net.models import load_models\n"
        f"models = load_models(Path({str(knowing)!r}), device='cpu')\n"
        f"assert models.reference.limit == {LIMIT}\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
