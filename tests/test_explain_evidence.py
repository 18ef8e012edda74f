"""What speaks for a heat map: shares counted by hand, and maps that must fail."""

from dataclasses import replace

import numpy as np
import pytest

from covid19net.engine import Evidence
from covid19net.explain import Stability, check_map, map_evidence, stability
from covid19net.explain.evidence import COARSE, normal_range_end, similarity
from covid19net.pipeline import analyze
from covid19net.report.case import case_record
from covid19net.report.montage import STRUCK, montage
from covid19net.volume import Box, CTVolume, Overlay
from tests.cases import made_up_case

BOX = Box((0, 0, 0), (6, 1, 8))


def made_up():
    """Two lungs of six slices, two voxels wide, the right one at low x with a dense voxel in each slice."""
    hu = np.full((6, 1, 8), 40, np.int16)
    lungs, heat = np.zeros(hu.shape, np.uint8), np.zeros(hu.shape, np.uint8)
    lungs[:, 0, 1:3], lungs[:, 0, 5:7] = 1, 2
    hu[:, 0, 1], hu[:, 0, 2], hu[:, 0, 5:7] = -400, -850, -850
    heat[0, 0, 1], heat[2, 0, 2], heat[5, 0, 5], heat[3, 0, 0] = 100, 40, 20, 40
    overlay = [Overlay(a, np.eye(4)) for a in (heat, lungs)]
    return *overlay, CTVolume(hu, np.eye(4)), BOX


def test_every_share_by_hand():
    found = map_evidence(*made_up())
    assert found.inside_lungs == 160 / 200
    assert found.inside_lungs_over_chance == pytest.approx(0.8 / 0.5)  # half the box is lung
    assert (found.right, found.left) == (140 / 160, 20 / 160)
    assert (found.lower, found.middle, found.upper) == (100 / 160, 40 / 160, 20 / 160)
    assert found.dense_lung == 0.25
    assert found.dense_over_chance == pytest.approx((100 / 160) / 0.25)
    assert found.failures == ()


def test_the_summary_says_it_in_one_line():
    found = replace(map_evidence(*made_up()), stability=Stability(0.8, 0.9))
    assert found.summary() == (
        "Heat map: 80 % in the lungs (1.6 x chance); right 88 %, left 12 %; upper 12 %, middle 25 %, "
        "lower 62 %; in dense lung 2.5 x chance; stability 0.80"
    )
    assert "right" not in map_evidence(*made_up(), sides_known=False).summary()


def test_no_side_is_named_where_none_is_known():
    found = map_evidence(*made_up(), sides_known=False)
    assert found.right is found.left is None
    assert found.lower == 100 / 160


def test_a_map_without_energy_has_no_evidence():
    heat, *rest = made_up()
    assert map_evidence(Overlay(0 * heat.values, np.eye(4)), *rest) is None
    assert check_map(None) == ()


def test_a_map_beside_the_lungs_fails():
    heat, lungs, volume, box = made_up()
    beside = Overlay(np.where(lungs.values > 0, heat.values, 100).astype(np.uint8), np.eye(4))
    found = map_evidence(beside, lungs, volume, box)
    assert found.inside_lungs_over_chance < 1
    assert "lies in the lungs" in found.failures[0]
    (finding,) = check_map(found)
    assert finding.code == "map-unreliable"


def test_an_unstable_map_fails_and_says_why():
    found = replace(map_evidence(*made_up()), stability=Stability(flip=0.1, noise=0.9))
    (reason,) = found.failures
    assert "left and right are exchanged (correlation 0.10)" in reason


@pytest.mark.parametrize(("mode", "sd"), [(-860, 40), (-820, 60)])
def test_the_normal_range_ends_three_sd_above_the_mode_whatever_the_disease(mode, sd):
    # scipy's normal quantiles as a lung without noise; a fifth of it replaced by consolidation.
    from scipy.stats import norm

    healthy = norm.ppf(np.linspace(0.0005, 0.9995, 20_000), mode, sd)
    ill = np.concatenate([healthy, np.linspace(-400, 50, 5_000)])
    for hu in (healthy, ill):
        # The mode of a smoothed histogram is uncertain by some HU, and so is what lies below it.
        assert normal_range_end(hu) == pytest.approx(mode + 3 * sd, abs=0.35 * sd)


def test_similarity_is_numpys_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 3, 4, 5))
    assert similarity(a, b) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert similarity(a, np.ones_like(a)) == 0


def evidence_of(maps):
    return Evidence(0.0, np.zeros(64), maps[None].astype(np.float32), np.ones((1, *maps.shape), np.float32))


def test_a_map_that_follows_the_picture_is_stable_and_one_that_does_not_is_not():
    image = np.random.default_rng(0).random((48, 240, 360), np.float32)
    image[:, 100:140, 60:120] += 9

    def follows(x):  # means of the cells' own blocks: the map's cell i lies at 8 i + 3.5 and 16 i + 8
        return evidence_of(
            x[:, :, :].reshape(6, 8, 15, 16, -1)[..., :352].reshape(6, 8, 15, 16, 22, 16).mean((1, 3, 5))
        )

    def stuck(_):  # always the same corner
        maps = np.zeros((6, 15, 23))
        maps[0, 0, 0] = 1
        return evidence_of(maps)

    good = stability(image, follows, follows(image))
    assert good.flip > 0.9
    assert good.noise > 0.99
    bad = stability(image, stuck, stuck(image))
    assert bad.flip < 0.1
    assert bad.noise == pytest.approx(1)
    assert all(2 * n >= c for n, c in zip(COARSE, (6, 15, 23), strict=True))


def test_the_evidence_is_in_the_record_of_a_case(case, phantom, models):
    record = case_record(case)["map_evidence"]
    inside, lungs = case.heatmap.values.astype(int), case.lungs.values > 0
    assert record["inside_lungs"] == pytest.approx(inside[lungs].sum() / inside.sum(), abs=1e-4)
    assert record["right"] + record["left"] == pytest.approx(1, abs=1e-3)
    assert record["upper"] + record["middle"] + record["lower"] == pytest.approx(1, abs=1e-3)
    assert -1 <= record["stability"]["flip"] <= 1
    assert record["stability"]["noise"] > 0.9
    basic = analyze(phantom.volume, models, full_evidence=False)
    assert basic.map_evidence == replace(case.map_evidence, stability=None)
    assert case_record(basic)["map_evidence"]["stability"] is None


def test_a_failed_map_is_struck_through():
    good = made_up_case()
    bad = replace(good, map_evidence=replace(good.map_evidence, inside_lungs_over_chance=0.5))
    assert not (np.asarray(montage(good)) == STRUCK).all(-1).any()
    struck = (np.asarray(montage(bad)) == STRUCK).all(-1)
    assert struck[:, 14 + 400 + 7 : 14 + 807].any()  # heat maps
    assert not struck[:, : 14 + 400].any()  # not the slices beside them
