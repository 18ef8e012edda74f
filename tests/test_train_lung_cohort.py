"""Training the lung network from a manifest: tuning patients apart, validation left out, slices on disk."""

import numpy as np
import pytest

from covid19net.cohort import write_table
from covid19net.cohort.sources import LEARNED, MEASURED
from covid19net.errors import InputError
from covid19net.io import write_volume
from covid19net.train.fit import Schedule
from covid19net.train.lung_cohort import mean_dice, slices_of, train_lungs_from
from covid19net.train.lung_data import Source
from covid19net.volume import CTVolume, Overlay

AFFINE = np.array([[0, 0, 4.0, -150], [0, 4.0, 0, -150], [5.0, 0, 0, 0], [0, 0, 0, 1]])
SHORT = Schedule(steps=2, batch=2, judge_every=1, save_every=1)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Six patients to learn from and one of a validation set, two lungs each as 1 and 2."""
    out = tmp_path_factory.mktemp("lungs")
    rng, rows = np.random.default_rng(0), []
    for k in range(7):
        hu = rng.normal(40, 20, (10, 64, 64))
        mask = np.zeros(hu.shape, np.uint8)
        mask[2:8, 16:48, 8:28], mask[2:8, 16:48, 36:56] = 1, 2
        hu[mask > 0] -= 890
        write_volume(CTVolume(hu.astype(np.int16), AFFINE), out / f"{k}.nii.gz")
        write_volume(Overlay(mask, AFFINE), out / f"{k}-lungs.nii.gz")
        rows.append({
            "patient_id": k, "scan": f"{k}.nii.gz", "lungs": f"{k}-lungs.nii.gz",
            "set": "training" if k < 6 else "validation 1", "synthetic": 1,
        })  # fmt: skip
    return write_table(out / "manifest.csv", rows)


def test_slices_are_kept_with_their_masks_and_neighbours(manifest, tmp_path):
    from covid19net.cohort import read_manifest

    patient = read_manifest(manifest)[0]
    source = slices_of(patient, tmp_path)
    assert source.hu.shape == (10, 3, 256, 256)
    assert set(np.unique(source.mask)) == {0, 1}  # right and left lung are lung
    assert not source.mask[[0, 1, 8, 9]].any()
    assert np.array_equal(source.hu[4, 2], source.hu[5, 1])
    before = [p.stat().st_mtime_ns for p in sorted(tmp_path.iterdir())]
    slices_of(patient, tmp_path)
    assert [p.stat().st_mtime_ns for p in sorted(tmp_path.iterdir())] == before


def test_a_weight_set_comes_out_that_says_what_it_saw(manifest, tmp_path):
    done = []
    weights = train_lungs_from(
        manifest, tmp_path, SHORT, progress=lambda i, n: done.append((i, n)), name="toy", licence="CC0-1.0",
        origin="a test", training_command="none",
    )  # fmt: skip
    assert weights is not None
    assert done[-1] == (7, 7)
    assert weights.card.task == "lungs"
    assert weights.card.demonstration
    assert "5 synthetic patients (phantoms)" in weights.card.training_data
    assert 0 <= weights.card.metrics["dice_tuning"] <= 1
    assert weights.card.metrics["validation"]["validation 1"]["patients"] == 1  # scored, not learned from


def test_the_card_names_the_sources_it_learned_from(manifest, tmp_path):
    table = tmp_path / "m.csv"
    rows = [
        {"patient_id": k, "scan": manifest.parent / f"{k}.nii.gz",
         "lungs": manifest.parent / f"{k}-lungs.nii.gz",
         "set": "training" if k < 6 else "validation", "collection": "a" if k < 6 else "b"}
        for k in range(7)
    ]  # fmt: skip
    write_table(table, rows)
    table.with_name("m.source.json").write_text(
        '[{"collection": "a", "title": "A", "licence": "CC BY-NC 3.0"},'
        ' {"collection": "b", "title": "B", "licence": "CC0"}]'
    )
    about = {"name": "toy", "licence": "none stated", "origin": "a test", "training_command": "none"}
    weights = train_lungs_from(table, tmp_path / "out", SHORT, **about)
    roles = {source["collection"]: source["role"] for source in weights.card.sources}
    assert roles == {"a": LEARNED, "b": MEASURED}
    assert weights.card.licence == "none stated; made from data under CC BY-NC 3.0 (a)"
    assert "Non-commercial" in weights.card.limits


def test_too_few_patients_are_refused(manifest):
    lines = manifest.read_text().splitlines()
    few = manifest.with_name("few.csv")
    few.write_text("\n".join([*lines[:4], lines[7]]))
    with pytest.raises(InputError, match="3 patients; at least 5"):
        train_lungs_from(few, manifest.parent / "few", SHORT)
    assert not (manifest.parent / "few").exists()


def test_a_scan_that_cannot_be_used_stops_or_is_left_out_and_named(manifest, tmp_path):
    """A mask with a slice less among six to learn from: a fault by its row, or five patients and a table."""
    lines = manifest.read_text().splitlines()
    table = tmp_path / "m.csv"
    rows = [
        line.replace(f",{k}.", f",{manifest.parent}/{k}.").replace(f",{k}-", f",{manifest.parent}/{k}-")
        for k, line in enumerate(lines[1:])
    ]
    rows[3] = rows[3].replace(f"{manifest.parent}/3-lungs.nii.gz", "short.nii.gz")
    table.write_text("\n".join([lines[0], *rows]))
    write_volume(Overlay(np.ones((9, 64, 64), np.uint8), AFFINE), tmp_path / "short.nii.gz")
    card = {"name": "toy", "licence": "none", "origin": "a test", "training_command": "none"}
    with pytest.raises(InputError, match=r"row 5: .*grid"):
        train_lungs_from(table, tmp_path / "out", SHORT, **card)
    weights = train_lungs_from(table, tmp_path / "out", SHORT, leave_out=True, **card)
    assert weights is not None
    assert weights.card.metrics["patients left out, their scans being unusable"] == 1
    assert "4 synthetic patients" in weights.card.training_data
    (_, left) = (tmp_path / "out" / "left-out.csv").read_text().splitlines()
    assert left.startswith("3,training,row 5: short.nii.gz: the lung mask is not on its scan's grid")


def test_dice_is_that_of_known_pixels_averaged_over_patients():
    """One patient found to one half exactly, one wholly: by hand 2 * 2 / (2 + 4) = 2/3 and 1."""
    import torch

    class LeftHalf(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            out = torch.full_like(x[:, :1], -1.0)
            out[..., :1] = 1  # the first of four columns is called lung
            return out

    hu = np.random.default_rng(0).normal(size=(1, 3, 2, 4)).astype(np.int16) * 100
    half = np.array([[[1, 1, 0, 255], [1, 1, 0, 0]]], np.uint8)
    whole = np.array([[[1, 0, 0, 0], [1, 0, 255, 0]]], np.uint8)
    sources = [Source("a", hu, half, 1.0), Source("b", hu, whole, 1.0)]
    assert mean_dice(LeftHalf(), sources) == pytest.approx((2 / 3 + 1) / 2)


def test_training_may_go_on_from_a_lung_network(manifest, tmp_path):
    """From the bundled one: the card says so, and another start does not resume its checkpoint."""
    from dataclasses import replace

    from covid19net.train.fit import Site
    from covid19net.train.lung_cohort import Start
    from covid19net.weights import lung_weights

    start = Start(lungs=lung_weights("bundled", None))
    site = Site(checkpoint=tmp_path / "lungs.safetensors")
    card = {"name": "toy", "licence": "none", "origin": "a test", "training_command": "none"}
    weights = train_lungs_from(manifest, tmp_path, SHORT, start=start, site=site, **card)
    assert weights is not None
    assert weights.card.metrics["started from"].startswith("lung network of bundled, SHA-256 da88e9273049")
    with pytest.raises(InputError, match=r"lungs\.safetensors"):
        train_lungs_from(manifest, tmp_path, SHORT, site=site, **card)
    with pytest.raises(InputError, match="not both"):
        replace(start, encoder=tmp_path / "encoder.safetensors").network(0)
